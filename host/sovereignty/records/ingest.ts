import { LimitError, MalformedError, RefusedError, digestOf } from "#protocol";

import type { Observation } from "../local/column-tallies.ts";
import type { VaultContext } from "../vault-context.ts";
import type { CsvSource } from "./csv.ts";
import { layoutOf, type IngestTarget, type Layout } from "./layout.ts";
import type { KeptColumn } from "./mapping.ts";
import { Pipeline } from "./pipeline.ts";
import { finishPublications, publishRun, type IngestReport } from "./publish.ts";
import { IDENTITY_ROWS, type RowMapping } from "./row-mapping.ts";
import { SOURCE_NAME_MAX, discard, openRun, type Run } from "./runs.ts";
import type { RunProgress } from "./running-runs.ts";
import type { RowSource } from "./source.ts";

/** Most records of a batch, and quarantined rows that a report names. */
export const INGEST_BATCH_ROWS_MAX = 10_000;
const QUARANTINED_NAMED_MAX = 100;

/** How an ingest goes about its rows. */
export interface IngestOptions {
  /** Which cells become which attributes; {@link IDENTITY_ROWS} when absent. */
  readonly mapping?: RowMapping;
  /**
   * What the source is called, a file's name for one: an interrupted ingest goes on when a source of this name comes
   * again for the same scope and mapping. Empty when absent.
   */
  readonly name?: string;
  /** Whether a row at fault ends the ingest, or is left out and reported. */
  readonly onError: "abort" | "quarantine";
  /** At most {@link INGEST_BATCH_ROWS_MAX}, the default. */
  readonly batchRows?: number;
  /** Called after every group of rows. */
  readonly onProgress?: (progress: RunProgress) => void;
  /** Ends the ingest within 256 KiB of the source, with the signal's reason; it can be continued. */
  readonly signal?: AbortSignal;
}

/** See {@link ingestRows}. */
export interface RowIngest extends IngestTarget, IngestOptions {
  readonly source: RowSource | CsvSource;
  /** The epoch that is open. */
  readonly epochId: number;
  /** What the source, of so many rows, had in columns that the mapping ignores. Asked once its rows have ended. */
  readonly untaken?: (rows: number) => Promise<Pick<Observation, "columns" | "dropped">>;
  /** Columns that no attribute takes and that the mapping takes under their local names; none when absent. */
  readonly kept?: readonly KeptColumn[];
}

/**
 * Ingests the rows of a source. Its records are published all at once (DS-1); the same source again gives the same
 * report and no second copy. Holds some batches in memory, whatever the size of the source.
 *
 * What is at fault in the source ends the ingest and leaves nothing. What interrupts it, be it the sender, the signal,
 * the disk or the end of the process, leaves what is staged: the source sent again continues it.
 *
 * @throws MalformedError SCHEMA_UNKNOWN_COLUMN with `column` for columns that the mapping does not take;
 * SCHEMA_ROW_MALFORMED with `line` and `column`. LimitError SCHEMA_TOO_LARGE. ConflictError SCHEMA_INGEST_RUNNING for a
 * source that is being ingested. UnavailableError from key custody or the store. What the source throws.
 */
export async function ingestRows(context: VaultContext, args: RowIngest): Promise<IngestReport> {
  const { mapping = IDENTITY_ROWS, name = "" } = args;
  if (name.length > SOURCE_NAME_MAX) throw nameTooLong(name);
  const layout = layoutOf(args, args.kept);
  const key = {
    recordScope: layout.recordScope,
    sourceName: name.normalize("NFC").toWellFormed(),
    mappingDigest: mapping.digest ?? new Uint8Array(0),
  };
  const release = await context.running.take(key);
  try {
    await finishPublications(context);
    const run = await openRun(context, key);
    try {
      return await ingestInto(context, run, { ...args, mapping, layout });
    } catch (error) {
      // What this cannot remove, the disk being full for one, is an interrupted run: it can be continued or abandoned.
      await endFailed(context, run, error).catch(() => undefined);
      throw error;
    } finally {
      context.running.ended(run.ingestId);
    }
  } finally {
    release();
  }
}

type Ingesting = RowIngest & { readonly mapping: RowMapping; readonly layout: Layout };

async function ingestInto(context: VaultContext, run: Run, args: Ingesting): Promise<IngestReport> {
  const { source, mapping, layout, signal, onProgress } = args;
  const rowsMax = Math.min(args.batchRows ?? INGEST_BATCH_ROWS_MAX, INGEST_BATCH_ROWS_MAX);
  const { onError } = args;
  const pipeline = new Pipeline(context, { layout, mapping, source, run, onError, rowsMax });
  const tell = (): void => {
    context.running.report(run.ingestId, pipeline.progress);
    onProgress?.(pipeline.progress);
  };
  const staged = await stagedWhole(pipeline, { signal, tell });
  tell();
  const report = await reportOf(context, staged);
  return await publishRun(context, {
    ...{ report, observation: await observationOf(staged, args) },
    sourceDigest: sourceDigestOf(source.digest(), mapping),
  });
}

/** The threads end before publication, which needs the memory. */
async function stagedWhole(
  pipeline: Pipeline,
  options: Parameters<Pipeline["read"]>[0],
): Promise<Run> {
  try {
    return await pipeline.read(options);
  } finally {
    await pipeline.close();
  }
}

async function observationOf(run: Run, args: Ingesting): Promise<Observation | null> {
  if (args.untaken === undefined) return null;
  const rows = run.segments.reduce((sum, segment) => sum + segment.rows, 0);
  const { domain_id } = args.recordScope;
  const kept = [...(args.kept ?? [])];
  return { epoch_id: args.epochId, domain_id, kept, ...(await args.untaken(rows)) };
}

/** What a source is known by: the SHA-256 of its bytes, and what they were read as. */
export function sourceDigestOf(bytes: Uint8Array, mapping: RowMapping): Uint8Array {
  return mapping.digest === null ? bytes : digestOf("ingest-source", [bytes, mapping.digest]);
}

async function reportOf({ store }: VaultContext, run: Run): Promise<IngestReport> {
  const named = await store.db
    .selectFrom("ingest_fault")
    .select(["line", "column_name", "expected"])
    .where("ingest_id", "=", run.ingestId)
    .orderBy("line")
    .limit(QUARANTINED_NAMED_MAX)
    .execute();
  const records = run.segments.reduce((sum, segment) => sum + segment.records, 0);
  return {
    ingest_id: run.ingestId,
    record_scope: run.recordScope,
    records,
    batches: run.segments.filter(({ batchId }) => batchId !== null).length,
    commitments: records,
    quarantined_count: run.segments.reduce((sum, segment) => sum + segment.quarantined, 0),
    quarantined: named.map(({ line, column_name: column, expected }) => ({
      line,
      column,
      expected,
    })),
  };
}

/** A source at fault would be at fault again; a run without a batch has nothing to continue. */
async function endFailed(context: VaultContext, run: Run, error: unknown): Promise<void> {
  const atFault =
    error instanceof MalformedError || error instanceof LimitError || error instanceof RefusedError;
  const staged = await context.store.db
    .selectFrom("ingest_segment")
    .select("sequence")
    .where("ingest_id", "=", run.ingestId)
    .limit(1)
    .execute();
  if (atFault || staged.length === 0) await discard(context, run.ingestId);
}

function nameTooLong(name: string): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", field: "name", max: SOURCE_NAME_MAX, actual: name.length },
    `name: expected at most ${SOURCE_NAME_MAX} characters, got ${name.length}`,
  );
}
