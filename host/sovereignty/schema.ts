import { actorLogStatements, type ActorLogSchema } from "../evidence/actor-log.ts";
import type { Generated, Migration, SchemaWords } from "../store/index.ts";
import { backupStatements, type BackupTables } from "./backup/tables.ts";
import { recordsStatements, type RecordsTables } from "./records/tables.ts";
import { ledgerStatements, type LedgerTables } from "./ledger/tables.ts";
import {
  custodyStatements,
  type BatchCustodyColumns,
  type CustodyTables,
  type ExecutionCustodyColumns,
} from "./custody/tables.ts";
import {
  keptStatements,
  localStatements,
  shareStatements,
  type LocalTables,
} from "./local/tables.ts";
import { tasksStatements, type TasksTables } from "./tasks/tables.ts";
import { witnessStatements, type WitnessTables } from "./witness/tables.ts";
import { operatorStatements, type OperatorTables } from "./operator/tables.ts";

/** Tables of a Vault's store. Sets of subjects are ordinals; nothing names a subject but `subject`. */
export interface VaultSchema
  extends
    ActorLogSchema,
    RecordsTables,
    LedgerTables,
    CustodyTables,
    TasksTables,
    WitnessTables,
    OperatorTables,
    BackupTables,
    LocalTables {
  vault_meta: { name: string; value: Uint8Array };
  /** The pseudonym behind each ordinal. */
  subject: { ordinal: number; subject_id: Uint8Array };
  ingest: { source_digest: Uint8Array; record_scope: string; report: string; at_ms: number };
  /** A sealed batch. Staged until its ingest is published; staged ones are removed at start. */
  batch: {
    batch_id: Uint8Array;
    position: Generated<number>;
    ingest_id: string;
    record_scope: string;
    published: number;
    root: Uint8Array;
    record_count: number;
    protected_key: Uint8Array;
    /** 32 bytes for each record: subject ids while staged, empty afterwards. */
    subject_ids: Uint8Array;
    /** Ordinal of each record's subject, u32 little endian; empty while staged. */
    ordinals: Uint8Array;
    /** 32 bytes for each record. */
    commitments: Uint8Array;
    created_ms: number;
  } & BatchCustodyColumns;
  access_grant: {
    grant_id: string;
    actor_id: string;
    task_class: string;
    domain_id: string;
    record_scope: string | null;
    usage_scope: string | null;
    not_before_ms: number | null;
    not_after_ms: number | null;
    created_ms: number;
    revoked_ms: number | null;
    revoked_reason: string | null;
  };
  consent_event: {
    position: Generated<number>;
    usage_scope: string;
    state: "granted" | "withdrawn";
    expires_ms: number | null;
    subjects: Uint8Array;
    /** The last ledger entry before it; null before version 3. */
    after_ledger: number | null;
    at_ms: number;
  };
  subject_set: { digest: Uint8Array; subjects: Uint8Array };
  /** Append-only: the privacy budget ledger. */
  ledger: {
    position: Generated<number>;
    kind: "reserve" | "executing" | "commit" | "release" | "replenish" | "write_off";
    reservation_id: string;
    task_id: string;
    record_scope: string;
    usage_scope: string;
    set_digest: Uint8Array | null;
    round: number | null;
    epsilon_micro: number;
    /** Of a write-off, for each record scope as a whole. */
    record_scope_micro: number | null;
    privacy_class: number;
    epoch_id: number | null;
    expires_ms: number | null;
    at_ms: number;
  };
  decision: {
    request_digest: Uint8Array;
    task_id: string;
    signed: Uint8Array;
    decision_digest: Uint8Array;
    decided_ms: number;
    /** CBOR of a DecisionPlan; null when declined. */
    plan: Uint8Array | null;
    /** The version it was judged by; null before version 3, when every network had only that of its genesis. */
    policy_version: string | null;
  };
  execution: {
    request_digest: Uint8Array;
    round: number;
    attempt: number;
    envelope_digest: Uint8Array;
    order_digest: Uint8Array;
    executor_manifest: Uint8Array;
    result_signing_key: Uint8Array;
    at_ms: number;
    /** The enclave sessions it was for, see `Beginning`; null before version 2. */
    sessions: Uint8Array | null;
  } & ExecutionCustodyColumns;
  settled: {
    request_digest: Uint8Array;
    envelope_digest: Uint8Array;
    record: Uint8Array;
    record_digest: Uint8Array;
    /** Of the verified final bundle; null when the task gave no result. */
    output_commitment: Uint8Array | null;
    /** Digests of the verified bundles, 32 bytes for each round. */
    bundles: Uint8Array;
    at_ms: number;
  };
  released: { request_digest: Uint8Array; output_commitment: Uint8Array; share: Uint8Array };
}

/** See {@link VaultSchema}. Versions 1 and 2 are released: what a store has seen is never edited. */
export const VAULT_MIGRATIONS: readonly Migration[] = [
  { version: 1, statements: firstStatements },
  {
    version: 2,
    statements: ({ blob }) => [`alter table execution add column sessions ${blob}`],
  },
  {
    version: 3,
    statements: (words) => [
      ...recordsStatements(words),
      ...ledgerStatements(words),
      ...custodyStatements(words),
      ...tasksStatements(words),
      ...witnessStatements(words),
      ...operatorStatements(words),
      ...backupStatements(words),
    ],
  },
  { version: 4, statements: localStatements },
  { version: 5, statements: keptStatements },
  { version: 6, statements: shareStatements },
];

function firstStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, position, text, strict, appendOnly } = words;
  return [
    ...actorLogStatements(words),
    `create table vault_meta (name ${text} primary key, value ${blob} not null) ${strict}`,
    `create table subject (
       ordinal ${integer} primary key, subject_id ${blob} not null unique) ${strict}`,
    `create table ingest (
       source_digest ${blob} not null, record_scope ${text} not null, report ${text} not null,
       at_ms ${integer} not null, primary key (source_digest, record_scope)) ${strict}`,
    `create table batch (
       position ${position}, batch_id ${blob} not null unique, ingest_id ${text} not null,
       record_scope ${text} not null, published ${integer} not null, root ${blob} not null,
       record_count ${integer} not null, protected_key ${blob} not null,
       subject_ids ${blob} not null, ordinals ${blob} not null, commitments ${blob} not null,
       created_ms ${integer} not null) ${strict}`,
    `create index batch_scope on batch (record_scope, published, position)`,
    `create table access_grant (
       grant_id ${text} primary key, actor_id ${text} not null, task_class ${text} not null,
       domain_id ${text} not null, record_scope ${text}, usage_scope ${text},
       not_before_ms ${integer}, not_after_ms ${integer}, created_ms ${integer} not null,
       revoked_ms ${integer}) ${strict}`,
    `create table consent_event (
       position ${position}, usage_scope ${text} not null, state ${text} not null,
       expires_ms ${integer}, subjects ${blob} not null, at_ms ${integer} not null) ${strict}`,
    ...appendOnly("consent_event"),
    `create table subject_set (digest ${blob} primary key, subjects ${blob} not null) ${strict}`,
    `create table ledger (
       position ${position}, kind ${text} not null, reservation_id ${text} not null,
       task_id ${text} not null, record_scope ${text} not null, usage_scope ${text} not null,
       set_digest ${blob} references subject_set (digest), round ${integer},
       epsilon_micro ${integer} not null, privacy_class ${integer} not null, epoch_id ${integer},
       expires_ms ${integer}, at_ms ${integer} not null) ${strict}`,
    `create index ledger_reservation on ledger (reservation_id)`,
    ...appendOnly("ledger"),
    `create table decision (
       request_digest ${blob} primary key, task_id ${text} not null, signed ${blob} not null,
       decision_digest ${blob} not null, decided_ms ${integer} not null, plan ${blob}) ${strict}`,
    `create table execution (
       request_digest ${blob} not null references decision (request_digest),
       round ${integer} not null, attempt ${integer} not null, envelope_digest ${blob} not null,
       order_digest ${blob} not null, executor_manifest ${blob} not null,
       result_signing_key ${blob} not null, at_ms ${integer} not null,
       primary key (request_digest, round)) ${strict}`,
    ...appendOnly("execution"),
    `create table settled (
       request_digest ${blob} primary key references decision (request_digest),
       envelope_digest ${blob} not null, record ${blob} not null, record_digest ${blob} not null,
       output_commitment ${blob}, bundles ${blob} not null, at_ms ${integer} not null) ${strict}`,
    ...appendOnly("settled"),
    `create table released (
       request_digest ${blob} primary key references settled (request_digest),
       output_commitment ${blob} not null, share ${blob} not null) ${strict}`,
    ...appendOnly("released"),
  ];
}
