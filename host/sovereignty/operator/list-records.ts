import type { VaultContext } from "../vault-context.ts";

const COMMITMENT_BYTES = 32;

/** Records of one page. */
export const RECORDS_PAGE_MAX = 10_000;

/** A record as a parse task names it. */
export interface RecordCommitment {
  readonly commitment: Uint8Array;
  readonly batch_id: Uint8Array;
  readonly row: number;
}

/** A place between two records: a batch and how many of its rows are behind. */
export interface RecordPlace {
  readonly position: number;
  readonly row: number;
}

/** Which records, and from where on. */
export interface RecordFilter {
  readonly recordScope: string;
  /** Where the page before ended; null for the first. */
  readonly after: RecordPlace | null;
  /** 1 to {@link RECORDS_PAGE_MAX}. */
  readonly limit: number;
}

/** See {@link listRecords}. */
export interface RecordPage {
  readonly records: readonly RecordCommitment[];
  /** Where the next page begins; null after the last. */
  readonly next: RecordPlace | null;
}

/**
 * Commitments of a scope's published records, in the order in which they were ingested, a page at a time. Reads one
 * batch after another until the page is full.
 */
export async function listRecords(
  context: VaultContext,
  { recordScope, after, limit }: RecordFilter,
): Promise<RecordPage> {
  const records: RecordCommitment[] = [];
  let place = after ?? { position: 0, row: 0 };
  for (;;) {
    const batch = await batchFrom(context, recordScope, place);
    if (batch === undefined) return { records, next: null };
    const { position, batch_id, record_count, commitments } = batch;
    const first = position === place.position ? place.row : 0;
    const end = Math.min(record_count, first + limit - records.length);
    for (let row = first; row < end; row += 1) {
      const at = row * COMMITMENT_BYTES;
      records.push({ commitment: commitments.slice(at, at + COMMITMENT_BYTES), batch_id, row });
    }
    place = end < record_count ? { position, row: end } : { position: position + 1, row: 0 };
    if (records.length >= limit) return { records, next: place };
  }
}

async function batchFrom({ store }: VaultContext, recordScope: string, { position }: RecordPlace) {
  return await store.db
    .selectFrom("batch")
    .select(["position", "batch_id", "record_count", "commitments"])
    .where("record_scope", "=", recordScope)
    .where("published", "=", 1)
    .where("position", ">=", position)
    .orderBy("position")
    .limit(1)
    .executeTakeFirst();
}
