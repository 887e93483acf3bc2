import { sql, type RawBuilder } from "kysely";

import { subjectCount, type Reading, type Writing } from "../queries.ts";

/** Subject ids that one statement looks up or adds. */
const IDS_PER_STATEMENT = 10_000;
const SUBJECT_ID_BYTES = 32;

/**
 * The ordinal of each subject id in order; subjects not seen before get the next free ones.
 *
 * Works in the order of the ids: pseudonyms are random, and an index that is met in its own order is written several
 * times faster.
 *
 * @param subjectIds - 32 bytes each, one after the other.
 */
export async function allocateOrdinals(
  trx: Writing,
  subjectIds: Uint8Array,
): Promise<Uint32Array<ArrayBuffer>> {
  const { distinct, ranks } = ranked(subjectIds);
  const count = distinct.length / SUBJECT_ID_BYTES;
  const ordinals = await findOrdinals(trx, distinct);
  const first = await subjectCount(trx);
  const added = Buffer.alloc(distinct.length);
  let addedCount = 0;
  for (let rank = 0; rank < count; rank += 1) {
    if (ordinals[rank] !== UNKNOWN) continue;
    const from = rank * SUBJECT_ID_BYTES;
    distinct.copy(added, addedCount * SUBJECT_ID_BYTES, from, from + SUBJECT_ID_BYTES);
    ordinals[rank] = first + addedCount;
    addedCount += 1;
  }
  for (let at = 0; at < addedCount; at += IDS_PER_STATEMENT) {
    const ids = idsFrom(added.subarray(0, addedCount * SUBJECT_ID_BYTES), at);
    await sql`insert into subject (ordinal, subject_id)
      ${placesOf(ids)}
      select cast(${first + at} as bigint) + i, ${idAt(ids)} from place`.execute(trx);
  }
  return Uint32Array.from(ranks, (rank) => ordinals[rank] ?? UNKNOWN);
}

const UNKNOWN = -1;

/** Each id once, in the order of their bytes; and for each id given, which of these it is. */
function ranked(subjectIds: Uint8Array): { distinct: Buffer; ranks: Uint32Array<ArrayBuffer> } {
  const ids = Buffer.from(subjectIds.buffer, subjectIds.byteOffset, subjectIds.length);
  const count = ids.length / SUBJECT_ID_BYTES;
  const prefixes = new Float64Array(count);
  for (let at = 0; at < count; at += 1) prefixes[at] = ids.readUIntBE(at * SUBJECT_ID_BYTES, 6);
  const compare = (left: number, right: number): number =>
    (prefixes[left] ?? 0) - (prefixes[right] ?? 0) || idOf(left).compare(idOf(right));
  const idOf = (place: number): Buffer =>
    ids.subarray(place * SUBJECT_ID_BYTES, (place + 1) * SUBJECT_ID_BYTES);
  const ranks = new Uint32Array(count);
  const distinct = Buffer.alloc(ids.length);
  let rank = -1;
  let last = -1;
  for (const place of new Uint32Array(count).map((_, at) => at).sort(compare)) {
    if (last === -1 || compare(last, place) !== 0) {
      rank += 1;
      distinct.set(idOf(place), rank * SUBJECT_ID_BYTES);
    }
    ranks[place] = rank;
    last = place;
  }
  return { distinct: distinct.subarray(0, (rank + 1) * SUBJECT_ID_BYTES), ranks };
}

/** For each id its ordinal, or {@link UNKNOWN}. */
async function findOrdinals(db: Reading, subjectIds: Uint8Array): Promise<Float64Array> {
  const count = subjectIds.length / SUBJECT_ID_BYTES;
  const ordinals = new Float64Array(count).fill(UNKNOWN);
  for (let at = 0; at < count; at += IDS_PER_STATEMENT) {
    const ids = idsFrom(subjectIds, at);
    // A cross join keeps its order in SQLite, which else reads all subjects to find these.
    const { rows } = await sql<{ i: number; ordinal: number }>`
      ${placesOf(ids)}
      select i, ordinal from place cross join subject where subject_id = ${idAt(ids)}`.execute(db);
    for (const { i, ordinal } of rows) ordinals[at + i] = ordinal;
  }
  return ordinals;
}

function idsFrom(subjectIds: Uint8Array, at: number): Uint8Array {
  const from = at * SUBJECT_ID_BYTES;
  return subjectIds.subarray(from, from + IDS_PER_STATEMENT * SUBJECT_ID_BYTES);
}

/** The places [0, n) of ids that are bound as one value: a value for each costs more than looking it up. */
function placesOf(ids: Uint8Array): RawBuilder<unknown> {
  const last = ids.length / SUBJECT_ID_BYTES - 1;
  return sql`with recursive place (i) as (select 0 union all select i + 1 from place where i < ${last})`;
}

/** The id at place `i`. The select of nothing says that the value is bytes; PostgreSQL would take it for text. */
function idAt(ids: Uint8Array): RawBuilder<unknown> {
  return sql`substr(coalesce((select subject_id from subject where 1 = 0), ${ids}),
    i * ${sql.lit(SUBJECT_ID_BYTES)} + 1, ${sql.lit(SUBJECT_ID_BYTES)})`;
}
