export type { ConsentChange } from "./set-consent.ts";
export { openVault, type Vault, type VaultOptions } from "./vault.ts";
export { type KeyCustody } from "./key-custody.ts";
export { type Beginning, type PlannedBatch, type SlicePlan } from "./execution.ts";
export { type RoundReference } from "./dispatch.ts";
export { type ConsentDecision } from "./consent.ts";
export { type AccessGrant } from "./grants.ts";
export {
  INGEST_BATCH_ROWS_MAX,
  type CsvIngest,
  type DocumentIngest,
  type IngestReport,
} from "./ingest.ts";
export { type LedgerLine, type RecordCommitment, type VaultStatus } from "./operator-view.ts";
export { type BudgetSummary } from "./ledger.ts";
export { type Release } from "./release.ts";
export { type GovernanceHead as VaultGovernanceHead } from "./governance-head.ts";
