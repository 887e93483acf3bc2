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
export { readSeed } from "./run/config.ts";
export type { RunEnvironment } from "./run/environment.ts";
export { NODE_ROLES, runNode, type NodeRole } from "./run/node.ts";
export { der, documentFrames, sealForRecipient } from "./sovereignty/index.ts";
