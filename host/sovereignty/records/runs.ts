import { ConflictError, RefusedError, equalBytes, hex } from "#protocol";

import type { Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import type { RowReport, SealedBatch } from "./batch-build.ts";
import { indexDocuments } from "./document-index.ts";
import { tooMany, type RunKey } from "./running-runs.ts";

/** Open runs of a Vault, and how long one may go without a new batch: 7 days. */
export const OPEN_RUNS_MAX = 64;
export const RUN_IDLE_MS_MAX = 7 * 24 * 60 * 60 * 1000;
/** Rows that one run may leave out. More are no accident of single rows. */
export const QUARANTINED_MAX = 100_000;
/** Batches of one run: a task takes no more of a scope. */
export const RUN_BATCHES_MAX = 4096;
/** The longest name of a source. */
export const SOURCE_NAME_MAX = 512;

const INGEST_ID_BYTES = 16;

/** A staged stretch of a source. */
export interface Segment {
  readonly sequence: number;
  readonly endOffset: number;
  readonly rows: number;
  readonly records: number;
  readonly quarantined: number;
  readonly prefixDigest: Uint8Array;
  readonly batchId: Uint8Array | null;
  readonly fileDigest: Uint8Array | null;
}

/** A segment that is about to be staged. */
export interface NewSegment {
  readonly endOffset: number;
  readonly rows: number;
  readonly prefixDigest: Uint8Array;
  /** Whether the records are asked for one by one, see {@link holdsDocuments}. */
  readonly documents: boolean;
  readonly batch: (SealedBatch & { readonly batchId: Uint8Array; readonly key: Uint8Array }) | null;
  readonly faults: readonly RowReport[];
}

/** An open run, taken by one ingest until it is released. */
export interface Run {
  readonly ingestId: string;
  readonly recordScope: string;
  readonly createdMs: number;
  /** In order. Changed by {@link stage} and {@link truncate} alone. */
  readonly segments: readonly Segment[];
}

/**
 * The open run of `key`, marked as running and begun when there is none. What it has staged is looked at: from the first batch on whose file
 * is gone or altered, everything is forgotten and has to come again. Runs that nobody continued are removed.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link OPEN_RUNS_MAX} open runs.
 */
export async function openRun(context: VaultContext, key: RunKey): Promise<Run> {
  await removeExpired(context);
  const { store, random, nowMs } = context;
  const row = await store.write(async (trx) => {
    const known = await trx
      .selectFrom("ingest_run")
      .select(["ingest_id", "created_ms"])
      .where("record_scope", "=", key.recordScope)
      .where("source_name", "=", key.sourceName)
      .where("mapping_digest", "=", key.mappingDigest)
      .executeTakeFirst();
    if (known !== undefined) return known;
    const open = await trx.selectFrom("ingest_run").select("ingest_id").execute();
    if (open.length >= OPEN_RUNS_MAX) throw tooMany("open ingests", OPEN_RUNS_MAX);
    const created = { ingest_id: hex(random(INGEST_ID_BYTES)), created_ms: nowMs() };
    await trx
      .insertInto("ingest_run")
      .values({
        ...created,
        record_scope: key.recordScope,
        source_name: key.sourceName,
        mapping_digest: key.mappingDigest,
        touched_ms: created.created_ms,
        ...{ source_digest: null, report: null, observation: null },
      })
      .execute();
    return created;
  });
  const { ingest_id: ingestId, created_ms: createdMs } = row;
  context.running.report(ingestId, null);
  const segments = await segmentsOf(context, ingestId);
  const run: Run = { ingestId, recordScope: key.recordScope, createdMs, segments };
  const broken = await firstBroken(context, segments);
  return broken === undefined ? run : await truncate(context, run, broken);
}

async function firstBroken(
  { files }: VaultContext,
  segments: readonly Segment[],
): Promise<number | undefined> {
  for (const { sequence, batchId, fileDigest } of segments) {
    if (batchId === null || fileDigest === null) continue;
    const present = await files.digest(batchId);
    if (present === null || !equalBytes(present, fileDigest)) return sequence;
  }
  return undefined;
}

/** Stages the next stretch of a run: durable when this returns. @returns The run with it. */
export async function stage(context: VaultContext, run: Run, segment: NewSegment): Promise<Run> {
  const { batch, faults, endOffset, rows, prefixDigest } = segment;
  const sequence = run.segments.length;
  if (sequence >= RUN_BATCHES_MAX) throw tooMany("batches of an ingest", RUN_BATCHES_MAX);
  const left = run.segments.reduce((sum, each) => sum + each.quarantined, faults.length);
  if (left > QUARANTINED_MAX) throw tooMany("rows left out of an ingest", QUARANTINED_MAX);
  const staged: Segment = {
    ...{ sequence, endOffset, rows, prefixDigest },
    records: batch?.recordCount ?? 0,
    quarantined: faults.length,
    batchId: batch?.batchId ?? null,
    fileDigest: batch?.fileDigest ?? null,
  };
  // A rotation destroys no key between the look at a batch's key and the row that has it.
  await context.gate.use(async () => {
    const key = batch === null ? null : await currentKeyOf(context, batch.key);
    if (batch !== null) await context.files.write(batch.batchId, batch.sealed);
    try {
      await context.store.write((trx) =>
        insertSegment(context, trx, { run, staged, segment, key }),
      );
    } catch (cause) {
      if (batch !== null) context.files.remove([batch.batchId]);
      throw cause;
    }
  });
  return { ...run, segments: [...run.segments, staged] };
}

/** The protected key, wrapped again when a rotation has begun since it was made. */
async function currentKeyOf({ custody }: VaultContext, key: Uint8Array): Promise<Uint8Array> {
  return custody.keyOf(key) === custody.currentKey() ? key : await custody.rewrap(key);
}

async function insertSegment(
  { nowMs }: VaultContext,
  trx: Writing,
  args: {
    readonly run: Run;
    readonly staged: Segment;
    readonly segment: NewSegment;
    readonly key: Uint8Array | null;
  },
): Promise<void> {
  const { run, staged, segment, key } = args;
  const { ingestId: ingest_id } = run;
  const { sequence } = staged;
  const { batch, faults } = segment;
  if (batch !== null && key !== null) {
    await trx
      .insertInto("batch")
      .values({
        batch_id: batch.batchId,
        ingest_id,
        record_scope: run.recordScope,
        published: 0,
        root: batch.root,
        record_count: batch.recordCount,
        protected_key: key,
        subject_ids: batch.subjectIds,
        ordinals: new Uint8Array(0),
        commitments: batch.commitments,
        created_ms: nowMs(),
      })
      .execute();
    if (segment.documents) {
      const { batchId, commitments } = batch;
      await indexDocuments(trx, { recordScope: run.recordScope, batchId, commitments });
    }
  }
  await trx
    .insertInto("ingest_segment")
    .values({
      ...{ ingest_id, sequence, rows: staged.rows, records: staged.records },
      end_offset: staged.endOffset,
      prefix_digest: staged.prefixDigest,
      batch_id: staged.batchId,
      file_digest: staged.fileDigest,
    })
    .execute();
  for (let at = 0; at < faults.length; at += FAULTS_PER_INSERT) {
    const values = faults.slice(at, at + FAULTS_PER_INSERT).map(({ line, column, expected }) => ({
      ...{ ingest_id, line, sequence, expected },
      column_name: column,
    }));
    await trx.insertInto("ingest_fault").values(values).execute();
  }
  await trx
    .updateTable("ingest_run")
    .set({ touched_ms: nowMs() })
    .where("ingest_id", "=", ingest_id)
    .execute();
}

const FAULTS_PER_INSERT = 100;

/** Forgets what a run has staged from segment `sequence` on. @returns The run without it. */
export async function truncate(context: VaultContext, run: Run, sequence: number): Promise<Run> {
  const { store, files } = context;
  const batchIds = await store.write((trx) => deleteStaged(trx, run.ingestId, sequence));
  files.remove(batchIds);
  return { ...run, segments: run.segments.slice(0, sequence) };
}

/** Removes a run and everything staged of it. Removing it twice is once. */
export async function discard({ store, files }: VaultContext, ingestId: string): Promise<void> {
  const batchIds = await store.write(async (trx) => {
    const removed = await deleteStaged(trx, ingestId, 0);
    await trx.deleteFrom("ingest_run").where("ingest_id", "=", ingestId).execute();
    return removed;
  });
  files.remove(batchIds);
}

async function deleteStaged(
  trx: Writing,
  ingestId: string,
  sequence: number,
): Promise<Uint8Array[]> {
  const gone = await trx
    .selectFrom("ingest_segment")
    .select("batch_id")
    .where("ingest_id", "=", ingestId)
    .where("sequence", ">=", sequence)
    .execute();
  const batchIds = gone.map(({ batch_id }) => batch_id).filter((batchId) => batchId !== null);
  for (const batchId of batchIds) {
    await trx.deleteFrom("document_record").where("batch_id", "=", batchId).execute();
    await trx
      .deleteFrom("batch")
      .where("batch_id", "=", batchId)
      .where("published", "=", 0)
      .execute();
  }
  for (const table of ["ingest_fault", "ingest_segment"] as const) {
    await trx
      .deleteFrom(table)
      .where("ingest_id", "=", ingestId)
      .where("sequence", ">=", sequence)
      .execute();
  }
  return batchIds;
}

/** Removes runs that nobody continued. */
export async function removeExpired(context: VaultContext): Promise<void> {
  const expired = await context.store.db
    .selectFrom("ingest_run")
    .select("ingest_id")
    .where("touched_ms", "<", context.nowMs() - RUN_IDLE_MS_MAX)
    .where("source_digest", "is", null)
    .execute();
  for (const { ingest_id: ingestId } of expired) {
    if (!context.running.isRunning(ingestId)) await discard(context, ingestId);
  }
}

/**
 * Removes an open run at the operator's word.
 *
 * @throws {@link RefusedError} SCHEMA_INGEST_UNKNOWN; {@link ConflictError} SCHEMA_INGEST_RUNNING for one that takes
 * rows or is being published.
 */
export async function abandon(context: VaultContext, ingestId: string): Promise<void> {
  const run = await context.store.db
    .selectFrom("ingest_run")
    .select("source_digest")
    .where("ingest_id", "=", ingestId)
    .executeTakeFirst();
  if (run === undefined) {
    throw new RefusedError(
      { code: "SCHEMA_INGEST_UNKNOWN", ingest_id: ingestId.slice(0, 64) },
      `ingest ${ingestId.slice(0, 64)}: expected an open one`,
    );
  }
  if (context.running.isRunning(ingestId) || run.source_digest !== null) {
    throw new ConflictError(
      { code: "SCHEMA_INGEST_RUNNING", ingest_id: ingestId },
      `ingest ${ingestId}: expected one that waits for its source, got one that is running`,
    );
  }
  await discard(context, ingestId);
}

async function segmentsOf({ store }: VaultContext, ingestId: string): Promise<Segment[]> {
  const rows = await store.db
    .selectFrom("ingest_segment")
    .selectAll()
    .where("ingest_id", "=", ingestId)
    .orderBy("sequence")
    .execute();
  return rows.map((row) => ({
    sequence: row.sequence,
    endOffset: row.end_offset,
    rows: row.rows,
    records: row.records,
    quarantined: row.rows - row.records,
    prefixDigest: row.prefix_digest,
    batchId: row.batch_id,
    fileDigest: row.file_digest,
  }));
}
