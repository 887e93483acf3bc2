import { metaOf } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { indexDocuments } from "./document-index.ts";
import { isLatestStore, noteChange } from "./folder-state.ts";
import { finishPublications } from "./publish.ts";
import { removeExpired } from "./runs.ts";

/** Name in `vault_meta` of a store whose documents are all indexed. Stores of schema version 2 have none. */
const INDEXED = "document_index";

/**
 * Brings records and files to one state after any end of the process: publishes runs whose source was staged to its
 * end, keeps what interrupted ones have staged. Files that no batch stands for are removed when the store is the one that
 * last published here, and set aside when it may be an older copy.
 *
 * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE
 */
export async function recoverRecords(context: VaultContext): Promise<void> {
  const { store, files } = context;
  await store.write((trx) =>
    trx
      .deleteFrom("batch")
      .where("published", "=", 0)
      .where((where) =>
        where.not(
          where.exists(
            where
              .selectFrom("ingest_segment")
              .select("ingest_segment.sequence")
              .whereRef("ingest_segment.batch_id", "=", "batch.batch_id"),
          ),
        ),
      )
      .execute(),
  );
  await removeExpired(context);
  const kept = await store.db.selectFrom("batch").select(["batch_id", "sealed_id"]).execute();
  const isLatest = await isLatestStore(context);
  files.tidy(
    kept.map(({ batch_id, sealed_id }) => sealed_id ?? batch_id),
    isLatest ? "left over" : "unknown",
  );
  if (!isLatest) await store.write((trx) => noteChange(context, trx));
  await finishPublications(context);
  await indexOldDocuments(context);
}

/** Indexes the documents that an earlier version published. */
async function indexOldDocuments({ store, files }: VaultContext): Promise<void> {
  if ((await metaOf(store.db, INDEXED)) !== undefined) return;
  const published = await store.db
    .selectFrom("batch")
    .select(["batch_id", "sealed_id", "record_scope"])
    .where("published", "=", 1)
    .execute();
  for (const { batch_id: batchId, sealed_id: sealedId, record_scope: recordScope } of published) {
    const header = await files.header(sealedId ?? batchId);
    if (header?.columns.some(({ type }) => type === "bytes") !== true) continue;
    await store.write(async (trx) => {
      const { commitments } = await trx
        .selectFrom("batch")
        .select("commitments")
        .where("batch_id", "=", batchId)
        .executeTakeFirstOrThrow();
      await trx.deleteFrom("document_record").where("batch_id", "=", batchId).execute();
      await indexDocuments(trx, { recordScope, batchId, commitments });
    });
  }
  const value = new Uint8Array(0);
  await store.write((trx) =>
    trx.insertInto("vault_meta").values({ name: INDEXED, value }).execute(),
  );
}
