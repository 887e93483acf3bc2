import { SUBJECT_ID_BYTES } from "#protocol";

import { allocateSorted, rankSubjects, subjectsAt } from "../ledger/queries.ts";
import { ordinalBytes } from "../ledger/subject-set.ts";
import type { VaultContext } from "../vault-context.ts";

/** Batches whose subjects are ranked at once: at most 320 000 subjects, some 18 MiB. */
export const BATCHES_RANKED = 32;
/** Subjects that get their ordinals in one write, and batches that take theirs: 100 ms for which other writes wait. */
const SUBJECTS_PER_WRITE = 40_000;
const BATCHES_PER_WRITE = 8;

/** Memory for the subjects of some batches, used again for those of others: they are most of what is held meanwhile. */
export interface SubjectMemory {
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Gives the subjects of staged batches their ordinals, in writes of bounded length. Batches that have theirs are passed
 * over, so that what a crash has interrupted is gone on with.
 *
 * Goes through the subjects of all these batches in the order of their pseudonyms: each page of the index is written
 * once, not once for every batch.
 *
 * @param batchIds - At most {@link BATCHES_RANKED}.
 * @param memory - Nobody else's until this returns.
 */
export async function giveOrdinals(
  context: VaultContext,
  batchIds: readonly Uint8Array[],
  memory: SubjectMemory,
): Promise<void> {
  const { store } = context;
  const { waiting, subjectIds } = await waitingSubjects(context, batchIds, memory);
  const { firsts, ranks } = rankSubjects(subjectIds);
  const ordinals = await ordinalsOf(context, subjectIds, firsts);
  let from = 0;
  const rows = waiting.map(({ batch_id, record_count }) => {
    const own = ranks.subarray(from, from + record_count).map((rank) => ordinals[rank] ?? 0);
    from += record_count;
    return { batch_id, ordinals: ordinalBytes(own) };
  });
  for (let at = 0; at < rows.length; at += BATCHES_PER_WRITE) {
    await store.write(async (trx) => {
      for (const { batch_id, ordinals: own } of rows.slice(at, at + BATCHES_PER_WRITE)) {
        await trx
          .updateTable("batch")
          .set({ ordinals: own, subject_ids: new Uint8Array(0) })
          .where("batch_id", "=", batch_id)
          .where("published", "=", 0)
          .execute();
      }
    });
  }
}

/** The batches that have no ordinals yet, and their subjects one after the other; reads them one batch at a time. */
async function waitingSubjects(
  { store }: VaultContext,
  batchIds: readonly Uint8Array[],
  memory: SubjectMemory,
) {
  const batches = await store.db
    .selectFrom("batch")
    .select(["batch_id", "record_count"])
    .where("batch_id", "in", batchIds)
    .where("published", "=", 0)
    .where("subject_ids", "!=", new Uint8Array(0))
    .orderBy("position")
    .execute();
  const count = batches.reduce((sum, { record_count }) => sum + record_count, 0);
  const needed = count * SUBJECT_ID_BYTES;
  if (memory.bytes.length < needed) memory.bytes = new Uint8Array(needed);
  const subjectIds = memory.bytes;
  let bytes = 0;
  const waiting: typeof batches = [];
  for (const batch of batches) {
    const { subject_ids } = await store.db
      .selectFrom("batch")
      .select("subject_ids")
      .where("batch_id", "=", batch.batch_id)
      .executeTakeFirstOrThrow();
    // Another ingest may end the same publication meanwhile.
    if (subject_ids.length === 0) continue;
    subjectIds.set(subject_ids, bytes);
    bytes += subject_ids.length;
    waiting.push(batch);
  }
  return { waiting, subjectIds: subjectIds.subarray(0, bytes) };
}

/** The ordinals of the subjects at some places, in the order of their bytes; those not seen before get the next free ones. */
async function ordinalsOf(
  { store }: VaultContext,
  subjectIds: Uint8Array,
  places: Uint32Array,
): Promise<Uint32Array<ArrayBuffer>> {
  const ordinals = new Uint32Array(places.length);
  for (let at = 0; at < places.length; at += SUBJECTS_PER_WRITE) {
    const some = subjectsAt(subjectIds, places.subarray(at, at + SUBJECTS_PER_WRITE));
    ordinals.set(await store.write((trx) => allocateSorted(trx, some)), at);
  }
  return ordinals;
}
