export {
  runAggregatorNode,
  type AggregatorJournal,
  type AggregatorNodeContext,
} from "./aggregator-node.ts";
export type { EnclaveExit, EnclaveHandle, EnclaveLauncher } from "./enclave-launcher.ts";
export { EnclaveClient } from "./enclave-client.ts";
export { ExecutionPlane, requireEnvelope, type RoundResult } from "./execution.ts";
export type { NodeEvent, NodeSelf } from "./node-loop.ts";
export { HeldGovernance } from "./held-governance.ts";
export { readRoundMessage } from "./round-board.ts";
export { runVaultNode, type VaultNodeContext } from "./vault-node.ts";
