import type { VaultContext } from "../vault-context.ts";
import type { RowReport } from "./batch-build.ts";
import { declaredMapping, type SourceIngest } from "./ingest-source.ts";
import { sourceDigestOf } from "./ingest.ts";
import { IDENTITY_MAPPING } from "./mapping-file.ts";
import { parseReport, publishedReport, type IngestReport } from "./publish.ts";
import { abandon } from "./runs.ts";
import type { RunProgress } from "./running-runs.ts";

const PUBLISHED_LISTED_MAX = 100;
/** Most rows of one answer of {@link RecordsApi.quarantined}. */
export const QUARANTINE_PAGE_MAX = 1_000;

/** An ingest that is not published yet. */
export interface OpenIngest {
  readonly ingest_id: string;
  readonly record_scope: string;
  readonly source_name: string;
  /** `interrupted` waits for its source to be sent again; `publishing` has all it needs. */
  readonly state: "running" | "interrupted" | "publishing";
  /** What is staged: rows of the source, records and bytes of the source that they came from. */
  readonly staged: {
    readonly rows: number;
    readonly records: number;
    readonly batches: number;
    readonly bytes: number;
  };
  /** How far a running one is; null for others. */
  readonly progress: RunProgress | null;
  readonly created_ms: number;
  readonly touched_ms: number;
}

/** What a Vault's operator may ask of its ingests. */
export interface RecordsApi {
  /** Open ingests, oldest first, and the last 100 published ones, newest first. */
  runs(): Promise<{
    readonly open: readonly OpenIngest[];
    readonly published: readonly IngestReport[];
  }>;
  /**
   * The report of a source that is published already, told by the SHA-256 of its bytes and how they are read; null for
   * any other. One look into an index: whoever asks first need not send it again.
   */
  published(
    args: Pick<SourceIngest, "recordScope" | "attributes" | "format" | "mapping"> & {
      readonly digest: Uint8Array;
    },
  ): Promise<IngestReport | null>;
  /** Rows that an ingest left out, after line `after`; at most 1 000 at a time. */
  quarantined(args: {
    readonly ingestId: string;
    readonly after: number;
    readonly limit: number;
  }): Promise<readonly RowReport[]>;
  /** Removes an interrupted ingest and what it has staged; see `abandon` in runs.ts. */
  abandon(ingestId: string): Promise<void>;
}

/** See {@link RecordsApi}. */
export function recordsOf(context: VaultContext): RecordsApi {
  return {
    runs: async () => ({
      open: await openIngests(context),
      published: await publishedIngests(context),
    }),
    published: async ({ format, mapping = IDENTITY_MAPPING, digest, ...scope }) => {
      const { record_scope_id: recordScope } = scope.recordScope;
      const sourceDigest = sourceDigestOf(digest, declaredMapping({ format, mapping, scope }));
      return (await publishedReport(context.store.db, { recordScope, sourceDigest })) ?? null;
    },
    quarantined: (args) => quarantinedRows(context, args),
    abandon: (ingestId) => abandon(context, ingestId),
  };
}

async function openIngests({ store, running }: VaultContext): Promise<OpenIngest[]> {
  const runs = await store.db
    .selectFrom("ingest_run")
    .leftJoin("ingest_segment", "ingest_segment.ingest_id", "ingest_run.ingest_id")
    .select(["ingest_run.ingest_id", "record_scope", "source_name", "source_digest"])
    .select(["created_ms", "touched_ms"])
    .select(({ fn }) => [
      fn.sum<number | null>("rows").as("rows"),
      fn.sum<number | null>("records").as("records"),
      fn.count<number>("batch_id").as("batches"),
      fn.max<number | null>("end_offset").as("bytes"),
    ])
    .groupBy(["ingest_run.ingest_id", "record_scope", "source_name", "source_digest"])
    .groupBy(["created_ms", "touched_ms"])
    .orderBy("created_ms")
    .execute();
  return runs.map(({ rows, records, batches, bytes, source_digest: complete, ...run }) => ({
    ...run,
    state: complete !== null ? "publishing" : stateOf(running.isRunning(run.ingest_id)),
    staged: {
      rows: Number(rows ?? 0),
      records: Number(records ?? 0),
      batches: Number(batches),
      bytes: Number(bytes ?? 0),
    },
    progress: running.progressOf(run.ingest_id),
  }));
}

function stateOf(isRunning: boolean): "running" | "interrupted" {
  return isRunning ? "running" : "interrupted";
}

async function publishedIngests({ store }: VaultContext): Promise<IngestReport[]> {
  const rows = await store.db
    .selectFrom("ingest")
    .select("report")
    .orderBy("at_ms", "desc")
    .limit(PUBLISHED_LISTED_MAX)
    .execute();
  return rows.map(({ report }) => parseReport(report));
}

async function quarantinedRows(
  { store }: VaultContext,
  args: { readonly ingestId: string; readonly after: number; readonly limit: number },
): Promise<RowReport[]> {
  const rows = await store.db
    .selectFrom("ingest_fault")
    .select(["line", "column_name", "expected"])
    .where("ingest_id", "=", args.ingestId)
    .where("line", ">", args.after)
    .orderBy("line")
    .limit(Math.min(Math.max(0, args.limit), QUARANTINE_PAGE_MAX))
    .execute();
  return rows.map(({ line, column_name: column, expected }) => ({ line, column, expected }));
}
