import type { Kysely, Store, Transaction } from "../store/index.ts";
import { ordinalsOf } from "./ledger/subject-set.ts";
import type { VaultSchema } from "./schema.ts";

export type Reading = Kysely<VaultSchema>;
export type Writing = Transaction<VaultSchema>;

/** Value of a name in `vault_meta`. */
export async function metaOf(db: Reading, name: string): Promise<Uint8Array | undefined> {
  const row = await db
    .selectFrom("vault_meta")
    .select("value")
    .where("name", "=", name)
    .executeTakeFirst();
  return row?.value;
}

/** Number of subjects that have an ordinal; ordinals are [0, count). */
export async function subjectCount(db: Reading): Promise<number> {
  const row = await db
    .selectFrom("subject")
    .select((select) => select.fn.max("ordinal").as("last"))
    .executeTakeFirst();
  return (row?.last ?? -1) + 1;
}

/** What a task needs of a published batch; no record is read. */
export interface StoredBatch extends BatchHead {
  readonly protected_key: Uint8Array;
  readonly ordinals: Uint8Array;
}

const BATCH_COLUMNS = [
  "batch_id",
  "sealed_id",
  "root",
  "record_count",
  "protected_key",
  "ordinals",
] as const;

/** What tells a published batch from any other, and from what it was before it was sealed anew. */
export interface BatchHead {
  readonly batch_id: Uint8Array;
  readonly sealed_id: Uint8Array | null;
  readonly root: Uint8Array;
  readonly record_count: number;
}

/** The published batches of a record scope, in their order. */
export async function batchHeads(db: Reading, recordScope: string): Promise<BatchHead[]> {
  return await db
    .selectFrom("batch")
    .select(["batch_id", "sealed_id", "root", "record_count"])
    .where("record_scope", "=", recordScope)
    .where("published", "=", 1)
    .orderBy("position")
    .execute();
}

/** The subject of each record of a batch, u32 little endian; empty when there is no such batch. */
export async function batchOrdinals(db: Reading, batchId: Uint8Array): Promise<Uint8Array> {
  const batch = await db
    .selectFrom("batch")
    .select("ordinals")
    .where("batch_id", "=", batchId)
    .executeTakeFirst();
  return batch?.ordinals ?? new Uint8Array(0);
}

/** What a slice is handed of a published batch. */
export interface SealedBatch {
  readonly batch_id: Uint8Array;
  /** Id in the header and the name of its file. */
  readonly sealed_id: Uint8Array;
  readonly root: Uint8Array;
  readonly record_count: number;
  readonly protected_key: Uint8Array;
  /** Rows whose subject was erased, ascending. */
  readonly erased_rows: Uint32Array;
}

/** Everything about one batch that sealing it anew needs. */
export interface StoredSealing {
  readonly position: number;
  readonly batch_id: Uint8Array;
  readonly record_scope: string;
  readonly published: number;
  readonly sealed_id: Uint8Array;
  readonly root: Uint8Array;
  readonly protected_key: Uint8Array;
  /** u32 little endian. */
  readonly ordinals: Uint8Array;
  readonly subject_ids: Uint8Array;
  readonly commitments: Uint8Array;
  readonly erased_rows: Uint8Array;
}

/** The first batch after position `after` up to `until`, both counted from 1; staged ones unless `published`. */
export async function batchAfter(
  db: Reading,
  args: { readonly after: number; readonly until: number; readonly published: boolean },
): Promise<StoredSealing | undefined> {
  const row = await db
    .selectFrom("batch")
    .select(["position", "batch_id", "record_scope", "published", "sealed_id", "root"])
    .select(["protected_key", "ordinals", "subject_ids", "commitments", "erased_rows"])
    .where("position", ">", args.after)
    .where("position", "<=", args.until)
    .where("published", ">=", args.published ? 1 : 0)
    .orderBy("position")
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { sealed_id, erased_rows } = row;
  return {
    ...row,
    sealed_id: sealed_id ?? row.batch_id,
    erased_rows: erased_rows ?? new Uint8Array(0),
  };
}

/** Where the key of a batch is kept. */
export interface ProtectedKey {
  readonly position: number;
  readonly batch_id: Uint8Array;
  readonly protected_key: Uint8Array;
}

/** Protected keys of the batches after position `after`, staged ones too, in order. */
export async function protectedKeys(
  db: Reading,
  args: { readonly after: number; readonly limit: number },
): Promise<ProtectedKey[]> {
  return await db
    .selectFrom("batch")
    .select(["position", "batch_id", "protected_key"])
    .where("position", ">", args.after)
    .orderBy("position")
    .limit(args.limit)
    .execute();
}

/** Puts one protected key in the place of another; does nothing when the batch has changed meanwhile. */
export async function replaceKey(
  store: Store<VaultSchema>,
  key: {
    readonly batch_id: Uint8Array;
    readonly old: Uint8Array;
    readonly protected_key: Uint8Array;
  },
): Promise<void> {
  await store.write((trx) =>
    trx
      .updateTable("batch")
      .set({ protected_key: key.protected_key })
      .where("batch_id", "=", key.batch_id)
      .where("protected_key", "=", key.old)
      .execute(),
  );
}

/** Position of the newest batch; 0 when there is none. */
export async function lastPosition(db: Reading): Promise<number> {
  const row = await db
    .selectFrom("batch")
    .select((select) => select.fn.max("position").as("last"))
    .executeTakeFirst();
  return row?.last ?? 0;
}

/** The run over all keys that is not done. */
export async function openKeyRun(db: Reading, kind: "rotate" | "reencrypt") {
  return await db
    .selectFrom("key_run")
    .selectAll()
    .where("kind", "=", kind)
    .where("done_ms", "is", null)
    .orderBy("run_id")
    .executeTakeFirst();
}

/** The ordinal behind a pseudonym. */
export async function ordinalOf(db: Reading, subjectId: Uint8Array): Promise<number | undefined> {
  const row = await db
    .selectFrom("subject")
    .select("ordinal")
    .where("subject_id", "=", subjectId)
    .executeTakeFirst();
  return row?.ordinal;
}

/** The newest erasure of a subject. */
export async function lastErasure(db: Reading, ordinal: number) {
  return await db
    .selectFrom("erasure")
    .select(["erasure_id", "ordinal", "done_ms"])
    .where("ordinal", "=", ordinal)
    .orderBy("erasure_id", "desc")
    .executeTakeFirst();
}

/** Erasures that are not done, with the pseudonyms of their subjects, oldest first. */
export async function openErasures(db: Reading) {
  return await db
    .selectFrom("erasure")
    .innerJoin("subject", "subject.ordinal", "erasure.ordinal")
    .select(["erasure_id", "erasure.ordinal as ordinal", "subject_id as subjectId"])
    .where("done_ms", "is", null)
    .orderBy("erasure_id")
    .execute();
}

/** Rows that one statement deletes. */
const ROWS_PER_STATEMENT = 500;

/** Takes rows of a batch out of the index of documents. */
export async function forgetDocuments(
  trx: Writing,
  batchId: Uint8Array,
  rows: readonly number[],
): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_PER_STATEMENT) {
    await trx
      .deleteFrom("document_record")
      .where("batch_id", "=", batchId)
      .where("row_index", "in", rows.slice(at, at + ROWS_PER_STATEMENT))
      .execute();
  }
}

/** What an erasure has destroyed, by batch. */
export async function erasedBatches(db: Reading, erasureId: number) {
  return await db
    .selectFrom("erasure_batch")
    .select(["batch_id", "root", "records", "destroyed_key", "destroyed_file"])
    .where("erasure_id", "=", erasureId)
    .orderBy("batch_id")
    .execute();
}

/** The published batches with these ids, in the order of `batchIds`; fewer when some are gone. */
export async function sealedBatches(
  db: Reading,
  batchIds: readonly Uint8Array[],
): Promise<SealedBatch[]> {
  const found: SealedBatch[] = [];
  for (const batchId of batchIds) {
    const batch = await db
      .selectFrom("batch")
      .select(["batch_id", "sealed_id", "root", "record_count", "protected_key", "erased_rows"])
      .where("batch_id", "=", batchId)
      .where("published", "=", 1)
      .executeTakeFirst();
    if (batch === undefined) continue;
    const { sealed_id, erased_rows, ...rest } = batch;
    found.push({
      ...rest,
      sealed_id: sealed_id ?? batch.batch_id,
      erased_rows: ordinalsOf(erased_rows ?? new Uint8Array(0)),
    });
  }
  return found;
}

/**
 * The published batch and row of the record with `commitment`, if the scope has one. A batch is looked for whatever was
 * found, so that a record that is not there takes the steps of one that is.
 */
export async function findRecord(
  db: Reading,
  recordScope: string,
  commitment: Uint8Array,
): Promise<{ readonly batch: StoredBatch; readonly row: number } | undefined> {
  const found = await db
    .selectFrom("document_record")
    .select(["batch_id", "row_index"])
    .where("record_scope", "=", recordScope)
    .where("commitment", "=", commitment)
    .executeTakeFirst();
  const batch = await db
    .selectFrom("batch")
    .select(BATCH_COLUMNS)
    .where("batch_id", "=", found?.batch_id ?? commitment)
    .where("published", "=", 1)
    .executeTakeFirst();
  const isThere = found !== undefined && batch !== undefined;
  return isThere ? { batch, row: found.row_index } : undefined;
}

/** A decision on a request, as it was signed, with its stored plan. */
export async function decisionOf(db: Reading, requestDigest: Uint8Array) {
  return await db
    .selectFrom("decision")
    .selectAll()
    .where("request_digest", "=", requestDigest)
    .executeTakeFirst();
}

/** The decision on the request behind a task. */
export async function decisionOfTask(db: Reading, taskId: string) {
  return await db
    .selectFrom("decision")
    .select(["request_digest", "plan"])
    .where("task_id", "=", taskId)
    .executeTakeFirst();
}

/** The rounds of a request that have begun, in order. */
export async function executionsOf(db: Reading, requestDigest: Uint8Array) {
  return await db
    .selectFrom("execution")
    .selectAll()
    .where("request_digest", "=", requestDigest)
    .orderBy("round")
    .execute();
}

/** Place in the Vault's log of the last round of a task that was begun; null before the first. */
export async function lastExecutingEvent(db: Reading, taskId: string): Promise<number | null> {
  const row = await db
    .selectFrom("actor_log")
    .select(({ fn }) => fn.max<number | null>("sequence").as("sequence"))
    .where("task_id", "=", taskId)
    .where("type", "=", "budget.executing")
    .executeTakeFirst();
  return row?.sequence ?? null;
}

/** What a request's task was settled as. */
export async function settledOf(db: Reading, requestDigest: Uint8Array) {
  return await db
    .selectFrom("settled")
    .selectAll()
    .where("request_digest", "=", requestDigest)
    .executeTakeFirst();
}

/** The share that was released for a request's task. */
export async function releasedOf(db: Reading, requestDigest: Uint8Array) {
  return await db
    .selectFrom("released")
    .selectAll()
    .where("request_digest", "=", requestDigest)
    .executeTakeFirst();
}

/** The grants of an actor for a task class that are not revoked, oldest first. */
export async function grantsOf(db: Reading, actorId: string, taskClass: string) {
  return await db
    .selectFrom("access_grant")
    .selectAll()
    .where("actor_id", "=", actorId)
    .where("task_class", "=", taskClass)
    .where("revoked_ms", "is", null)
    .orderBy("created_ms")
    .orderBy("grant_id")
    .execute();
}
