export { createKms, recipientKeyPolicy } from "./adapters/kms.ts";
export { followTask } from "./cli/follow-task.ts";
export { networkFileSchema, type NetworkFile } from "./cli/network-files.ts";
export { resultLine, resultView } from "./cli/result-view.ts";
export { openDelivery } from "./delivery/index.ts";
export { parseTrust, verifyBundle, type VerificationReport } from "./evidence/index.ts";
export {
  EnclaveClient,
  type EnclaveExit,
  type EnclaveHandle,
  type EnclaveLauncher,
} from "./execution/index.ts";
export { createGovernanceEvent } from "./governance/index.ts";
export { TaskClient, VaultClient } from "./http/index.ts";
export { runAggregator } from "./run/aggregator.ts";
export {
  KEY_POLICY_BYTES_MAX,
  isAllowed,
  lintKeyPolicy,
  parseKeyPolicy,
  parseOperator,
  type KeyPolicy,
  type KeyPolicyReport,
  type KeyUse,
} from "./key-policy/index.ts";
export {
  aggregatorConfigSchema,
  coordinatorConfigSchema,
  readConfig,
  readSeed,
  vaultConfigSchema,
  type AggregatorConfig,
  type CoordinatorConfig,
  type VaultConfig,
} from "./run/config.ts";
export { runCoordinator } from "./run/coordinator.ts";
export type { EnclaveEnvironment, RunEnvironment } from "./run/environment.ts";
export { runVault } from "./run/vault.ts";
export { der, documentFrames, sealForRecipient } from "./sovereignty/index.ts";
