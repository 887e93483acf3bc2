export { type BackupApi } from "./backup/backup-api.ts";
export { registerFileOf } from "./backup/register.ts";
export { restoreBackup, type Restored } from "./backup/restore.ts";
export { CONSENT_SUBJECTS_MAX, type ConsentChange } from "./consent/set-consent.ts";
export { openVault, type Vault, type VaultOptions } from "./vault.ts";
export { der, sealForRecipient } from "./custody/cms.ts";
export { type KeyCustody, type Recipient } from "./custody/key-custody.ts";
export { type CustodyApi } from "./custody/custody-api.ts";
export { type ErasureReport } from "./custody/erasure.ts";
export { type CustodyProgress, type KeyRunReport } from "./custody/key-runs.ts";
export { type Replayability } from "./custody/replayable.ts";
export { kmsCustody } from "./custody/kms-custody.ts";
export { openLocalCustody } from "./custody/local-custody.ts";
export { type ReleasedBatch, type SliceInputs } from "./custody/slice-inputs.ts";
export { type Beginning, type SlicePlan } from "./tasks/execution.ts";
export { type RoundReference } from "./tasks/dispatch.ts";
export { type AttributesApi } from "./local/attributes-api.ts";
export { type ShareReference, type WaitingShare } from "./local/share.ts";
export { type ConsentDecision } from "./consent/consent.ts";
export { revocationReason, type AccessGrant } from "./access/grants.ts";
export { GRANTS_PAGE_MAX, grantState, type GrantState } from "./access/list-grants.ts";
export { AUDIT_PAGE_MAX } from "./operator/audit.ts";
export { INGEST_BATCH_ROWS_MAX } from "./records/ingest.ts";
export { type IngestReport } from "./records/publish.ts";
export { QUARANTINE_PAGE_MAX, type OpenIngest, type RecordsApi } from "./records/records-api.ts";
export { SOURCE_NAME_MAX } from "./records/runs.ts";
export { type RunProgress } from "./records/running-runs.ts";
export { INGEST_FORMATS, type IngestFormat, type SourceIngest } from "./records/ingest-source.ts";
export { MAPPING_BYTES_MAX, parseMapping, type IngestMapping } from "./records/mapping-file.ts";
export { documentFrames, type IngestDocument } from "./records/documents.ts";
export { IMAGE_BYTES_MAX } from "./records/document-image.ts";
export { openCsv } from "./records/csv.ts";
export { RECORDS_PAGE_MAX, type RecordCommitment } from "./operator/list-records.ts";
export { type VaultStatus } from "./operator/operator-view.ts";
export {
  type DeclineLine,
  type LedgerLine,
  type SubjectLine,
  type SubjectStatement,
} from "./ledger/statements.ts";
export { type DraftRequest, type DryRun } from "./tasks/dry-run.ts";
export { type LedgerApi } from "./tasks/ledger-api.ts";
export { type BudgetSummary } from "./ledger/ledger.ts";
export { type Release } from "./tasks/release.ts";
export { type GovernanceHead as VaultGovernanceHead } from "./tasks/governance-head.ts";
export { type WitnessApi, type WitnessStatus } from "./witness/witness.ts";
export {
  type Carried,
  type CosignedHead,
  type HeadAsked,
  type Standing,
} from "./witness/own-head.ts";
