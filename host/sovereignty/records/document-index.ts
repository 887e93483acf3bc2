import type { Writing } from "../queries.ts";

const RECORDS_PER_INSERT = 200;
const COMMITMENT_BYTES = 32;

/** Notes where each record of a batch is, for scopes whose records are asked for one by one. */
export async function indexDocuments(
  trx: Writing,
  batch: {
    readonly recordScope: string;
    readonly batchId: Uint8Array;
    readonly commitments: Uint8Array;
  },
): Promise<void> {
  const { recordScope, batchId, commitments } = batch;
  const values = Array.from({ length: commitments.length / COMMITMENT_BYTES }, (_, row) => ({
    record_scope: recordScope,
    commitment: commitments.slice(row * COMMITMENT_BYTES, (row + 1) * COMMITMENT_BYTES),
    batch_id: batchId,
    row_index: row,
  }));
  for (let at = 0; at < values.length; at += RECORDS_PER_INSERT) {
    await trx
      .insertInto("document_record")
      .values(values.slice(at, at + RECORDS_PER_INSERT))
      .execute();
  }
}
