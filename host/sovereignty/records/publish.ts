import { ConflictError, SymphonyError } from "#protocol";
import { z } from "zod";

import { observationSchema, type Observation } from "../local/column-tallies.ts";
import { noteKept } from "../local/kept.ts";
import { addToPool } from "../local/pool.ts";
import type { Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { noteChange } from "./folder-state.ts";
import { BATCHES_RANKED, giveOrdinals } from "./give-ordinals.ts";
import { discard } from "./runs.ts";

const quarantinedRowSchema = z.strictObject({
  line: z.int(),
  column: z.string().nullable(),
  expected: z.string(),
});

const ingestReportSchema = z.strictObject({
  ingest_id: z.string(),
  record_scope: z.string(),
  records: z.int(),
  batches: z.int(),
  commitments: z.int(),
  quarantined_count: z.int(),
  /** The first 100. Says where and what was expected, never a value. */
  quarantined: z.array(quarantinedRowSchema),
});

/** What an ingest did. The same source for the same scope gives the same report and no second copy. */
export type IngestReport = z.infer<typeof ingestReportSchema>;

/** Reads a stored report. */
export function parseReport(json: string): IngestReport {
  return ingestReportSchema.parse(JSON.parse(json));
}

/** The report of the published ingest of this source, if there is one. */
export async function publishedReport(
  db: VaultContext["store"]["db"],
  source: { readonly recordScope: string; readonly sourceDigest: Uint8Array },
): Promise<IngestReport | undefined> {
  const known = await db
    .selectFrom("ingest")
    .select("report")
    .where("source_digest", "=", source.sourceDigest)
    .where("record_scope", "=", source.recordScope)
    .executeTakeFirst();
  return known === undefined ? undefined : parseReport(known.report);
}

/**
 * Publishes a run whose source is staged to its end: from then on tasks see all of its records, before none.
 *
 * First it is recorded that all is there; a crash from then on ends in publication when the Vault is next opened.
 * Then the subjects get their ordinals, see {@link giveOrdinals}. One last write makes the batches visible.
 *
 * @param run.report - What the ingest is to answer.
 * @param run.observation - What goes into the pool of local attributes with it; null for nothing.
 * @returns The report; an earlier one, and nothing published, when the source is there already.
 */
export async function publishRun(
  context: VaultContext,
  run: {
    readonly report: IngestReport;
    readonly observation: Observation | null;
    readonly sourceDigest: Uint8Array;
  },
): Promise<IngestReport> {
  const { report, observation, sourceDigest } = run;
  const { ingest_id: ingestId, record_scope: recordScope } = report;
  const earlier = await publishedReport(context.store.db, { recordScope, sourceDigest });
  if (earlier !== undefined) {
    await discard(context, ingestId);
    return earlier;
  }
  await context.store.write((trx) =>
    trx
      .updateTable("ingest_run")
      .set({
        ...{ source_digest: sourceDigest, report: JSON.stringify(report) },
        observation: observation === null ? null : JSON.stringify(observation),
      })
      .where("ingest_id", "=", ingestId)
      .execute(),
  );
  return await finishPublication(context, ingestId);
}

/** Ends every publication that a crash or a full disk has interrupted. */
export async function finishPublications(context: VaultContext): Promise<void> {
  const complete = await context.store.db
    .selectFrom("ingest_run")
    .select("ingest_id")
    .where("source_digest", "is not", null)
    .orderBy("created_ms")
    .execute();
  for (const { ingest_id: ingestId } of complete) {
    if (context.running.isRunning(ingestId)) continue;
    try {
      await finishPublication(context, ingestId);
    } catch (error) {
      // Its sender learned of it, or will when the source is sent again; all else goes on.
      if (!isRefusedKeeping(error)) throw error;
    }
  }
}

/**
 * Whether a run could not be published because of what it keeps: a column as another type than one that came before it,
 * or with them too many. It never can be.
 */
function isRefusedKeeping(error: unknown): boolean {
  return error instanceof SymphonyError && error.details["field"] === "keep";
}

async function finishPublication(context: VaultContext, ingestId: string): Promise<IngestReport> {
  const staged = await context.store.db
    .selectFrom("ingest_segment")
    .select("batch_id")
    .where("ingest_id", "=", ingestId)
    .where("batch_id", "is not", null)
    .orderBy("sequence")
    .execute();
  const batchIds = staged.flatMap(({ batch_id: batchId }) => (batchId === null ? [] : [batchId]));
  const memory = { bytes: new Uint8Array(0) };
  for (let at = 0; at < batchIds.length; at += BATCHES_RANKED) {
    await giveOrdinals(context, batchIds.slice(at, at + BATCHES_RANKED), memory);
  }
  const published = await context.store
    .write((trx) => flip(context, trx, { ingestId, batchIds }))
    .catch(async (error: unknown) => {
      if (isRefusedKeeping(error)) await discard(context, ingestId);
      throw error;
    });
  if (!published.isNew) await discard(context, ingestId);
  return published.report;
}

interface Publication {
  readonly ingestId: string;
  readonly batchIds: readonly Uint8Array[];
}

async function flip(
  context: VaultContext,
  trx: Writing,
  { ingestId, batchIds }: Publication,
): Promise<{ readonly report: IngestReport; readonly isNew: boolean }> {
  const run = await trx
    .selectFrom("ingest_run")
    .selectAll()
    .where("ingest_id", "=", ingestId)
    .executeTakeFirst();
  if (run === undefined || run.source_digest === null || run.report === null) {
    throw notWhole(ingestId, "a run that is staged to its end");
  }
  const { source_digest: sourceDigest, record_scope: recordScope } = run;
  const earlier = await publishedReport(trx, { recordScope, sourceDigest });
  if (earlier !== undefined) return { report: earlier, isNew: false };
  const batches = await trx
    .selectFrom("batch")
    .select(["batch_id", "root"])
    .where("ingest_id", "=", ingestId)
    .where("published", "=", 0)
    .orderBy("position")
    .execute();
  if (batches.length !== batchIds.length) {
    throw notWhole(ingestId, `${batchIds.length} staged batches, got ${batches.length}`);
  }
  await noteChange(context, trx);
  await trx
    .updateTable("batch")
    .set({ published: 1 })
    .where("ingest_id", "=", ingestId)
    .where("published", "=", 0)
    .execute();
  const row = { source_digest: sourceDigest, record_scope: recordScope, report: run.report };
  await trx
    .insertInto("ingest")
    .values({ ...row, at_ms: context.nowMs() })
    .execute();
  if (run.observation !== null) {
    const observation = observationSchema.parse(JSON.parse(run.observation));
    await addToPool(trx, recordScope, observation);
    await noteKept(context, trx, { recordScope, columns: observation.kept });
  }
  await trx.deleteFrom("ingest_segment").where("ingest_id", "=", ingestId).execute();
  await trx.deleteFrom("ingest_run").where("ingest_id", "=", ingestId).execute();
  await context.log.append(trx, {
    type: "ingest.published",
    taskId: null,
    body: { ingest_id: ingestId, record_scope: recordScope, batches },
  });
  return { report: parseReport(run.report), isNew: true };
}

function notWhole(ingestId: string, expected: string): ConflictError {
  return new ConflictError(
    { code: "INTERNAL_UNEXPECTED", ingest_id: ingestId },
    `ingest ${ingestId}: expected ${expected}`,
  );
}
