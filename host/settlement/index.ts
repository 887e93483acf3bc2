export type { EndedChallenge } from "./challenge-steps.ts";
export {
  openSettlement,
  type FinalizedEpoch,
  type Settlement,
  type SettlementDependencies,
  type SettlementStore,
} from "./service.ts";
export { settlementStatements, type SettlementSchema, type SettlementTables } from "./queries.ts";
export {
  verifyExecution,
  type ExecutionClaim,
  type Observe,
  type VerifiedExecution,
} from "./verification.ts";
export { verifyEnvelope } from "./verify-envelope.ts";
export { expectSame, required } from "./reject.ts";
export { verifyConsumption } from "./consumption.ts";
export { requireDisputed, verifyChallenge } from "./challenges.ts";
export { UNDECIDED, applyChallenge, type AccountingEntry } from "./accounting.ts";
export { composeEntry, composeSettlement } from "./settle.ts";
export {
  collectRounds,
  reduceMessage,
  type RoundEvidence,
  type SliceEvidence,
} from "./round-evidence.ts";
