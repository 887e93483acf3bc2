import { sql, type RawBuilder } from "kysely";

import { subjectCount, type Reading, type Writing } from "../queries.ts";

/** Subject ids that one statement looks up or adds. */
const IDS_PER_STATEMENT = 10_000;
const SUBJECT_ID_BYTES = 32;

/**
 * The ordinal of each subject id in order; subjects not seen before get the next free ones.
 *
 * @param subjectIds - 32 bytes each, one after the other.
 */
export async function allocateOrdinals(
  trx: Writing,
  subjectIds: Uint8Array,
): Promise<Uint32Array<ArrayBuffer>> {
  const { firsts, ranks } = rankSubjects(subjectIds);
  const ordinals = await allocateSorted(trx, subjectsAt(subjectIds, firsts));
  return ranks.map((rank) => ordinals[rank] ?? 0);
}

/**
 * As {@link allocateOrdinals}, for ids that are distinct and in the order of their bytes: pseudonyms are random, and an
 * index that is met in its own order is written several times faster.
 */
export async function allocateSorted(
  trx: Writing,
  distinct: Uint8Array,
): Promise<Uint32Array<ArrayBuffer>> {
  const count = distinct.length / SUBJECT_ID_BYTES;
  const found = await findOrdinals(trx, distinct);
  const first = await subjectCount(trx);
  const ordinals = new Uint32Array(count);
  const added = new Uint8Array(distinct.length);
  let addedCount = 0;
  for (let rank = 0; rank < count; rank += 1) {
    const known = found[rank] ?? UNKNOWN;
    ordinals[rank] = known === UNKNOWN ? first + addedCount : known;
    if (known !== UNKNOWN) continue;
    const from = rank * SUBJECT_ID_BYTES;
    added.set(distinct.subarray(from, from + SUBJECT_ID_BYTES), addedCount * SUBJECT_ID_BYTES);
    addedCount += 1;
  }
  for (let at = 0; at < addedCount; at += IDS_PER_STATEMENT) {
    const ids = idsFrom(added.subarray(0, addedCount * SUBJECT_ID_BYTES), at);
    await sql`insert into subject (ordinal, subject_id)
      ${placesOf(ids)}
      select cast(${first + at} as bigint) + i, ${idAt(ids)} from place`.execute(trx);
  }
  return ordinals;
}

const UNKNOWN = -1;

/** Distinct subject ids in the order of their bytes. */
export interface RankedSubjects {
  /** For each of them, where among those given it is first: see {@link subjectsAt}. */
  readonly firsts: Uint32Array<ArrayBuffer>;
  /** For each id given, which of `firsts` it is. */
  readonly ranks: Uint32Array<ArrayBuffer>;
}

/** @param subjectIds - 32 bytes each, one after the other; at most 2^21. */
export function rankSubjects(subjectIds: Uint8Array): RankedSubjects {
  const ids = Buffer.from(subjectIds.buffer, subjectIds.byteOffset, subjectIds.length);
  const count = ids.length / SUBJECT_ID_BYTES;
  const ranks = new Uint32Array(count);
  const firsts = new Uint32Array(count);
  const places = placesInOrder(ids);
  let rank = -1;
  let last = -1;
  for (const place of places) {
    const from = place * SUBJECT_ID_BYTES;
    if (last < 0 || !isSameId(ids, from, last)) {
      rank += 1;
      firsts[rank] = place;
    }
    ranks[place] = rank;
    last = from;
  }
  return { firsts: firsts.subarray(0, rank + 1), ranks };
}

/** The ids at some places, 32 bytes each, one after the other. */
export function subjectsAt(subjectIds: Uint8Array, places: Uint32Array): Uint8Array {
  const some = new Uint8Array(places.length * SUBJECT_ID_BYTES);
  for (let index = 0; index < places.length; index += 1) {
    const from = (places[index] ?? 0) * SUBJECT_ID_BYTES;
    const to = index * SUBJECT_ID_BYTES;
    for (let at = 0; at < SUBJECT_ID_BYTES; at += 1) some[to + at] = subjectIds[from + at] ?? 0;
  }
  return some;
}

function isSameId(ids: Uint8Array, left: number, right: number): boolean {
  for (let at = 0; at < SUBJECT_ID_BYTES; at += 1) {
    if (ids[left + at] !== ids[right + at]) return false;
  }
  return true;
}

/** A place beside the first 32 bits of its id, in one number of 53 bits, which sorts without a comparison of ours. */
const PLACES = 2 ** 21;

function placesInOrder(ids: Buffer): Uint32Array {
  const count = ids.length / SUBJECT_ID_BYTES;
  const keys = new Float64Array(count);
  for (let at = 0; at < count; at += 1)
    keys[at] = ids.readUInt32BE(at * SUBJECT_ID_BYTES) * PLACES + at;
  keys.sort();
  const places = new Uint32Array(count);
  for (let at = 0; at < count; at += 1) places[at] = (keys[at] ?? 0) - prefixAt(keys, at) * PLACES;
  const idOf = (place: number): Buffer =>
    ids.subarray(place * SUBJECT_ID_BYTES, (place + 1) * SUBJECT_ID_BYTES);
  for (let from = 0; from < count;) {
    const head = prefixAt(keys, from);
    let to = from + 1;
    while (to < count && prefixAt(keys, to) === head) to += 1;
    if (to - from > 1) {
      places.subarray(from, to).sort((left, right) => idOf(left).compare(idOf(right)));
    }
    from = to;
  }
  return places;
}

function prefixAt(keys: Float64Array, at: number): number {
  return Math.floor((keys[at] ?? 0) / PLACES);
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

/**
 * The id at place `i`. The select of nothing says that the value is bytes; PostgreSQL would take it for text. It is of a
 * table that nothing is inserted into, or SQLite would keep all ids aside first.
 */
function idAt(ids: Uint8Array): RawBuilder<unknown> {
  return sql`substr(coalesce((select value from vault_meta where 1 = 0), ${ids}),
    i * ${sql.lit(SUBJECT_ID_BYTES)} + 1, ${sql.lit(SUBJECT_ID_BYTES)})`;
}
