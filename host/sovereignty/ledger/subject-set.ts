import { MalformedError, compareBytes, digestOfBytes } from "#protocol";

import { FORMS, isMember, lowsOf, ones, type PageMembers } from "./page-members.ts";

/*
 * A set is encoded as a form byte and its pages in ascending order. A page holds the ordinals that share their upper
 * 16 bits, as the shortest of three forms; of two of one length, the one named first:
 *
 *   field    size       meaning (all integers little endian)
 *   page     u16        upper 16 bits
 *   form     u8         0 list, 1 runs, 2 bitmap
 *   last     u16        number of values less one
 *   values   u16 each   list: lower 16 bits, ascending; runs: first and last of each run; bitmap: 4,096 words,
 *                       bit 0 of word 0 is the page's first
 *
 * Schema versions 1 and 2 wrote a list of u32 (form byte 0) or one bitmap (form byte 1); those are still read, and
 * keep their bytes and so their digest.
 */
const OLD_LIST = 0;
const OLD_BITMAP = 1;
const PAGES = 2;

/** Ordinals of one page. */
export const PAGE_ORDINALS = 65_536;
const PAGE_HEADER_BYTES = 5;
const BITMAP_WORDS = PAGE_ORDINALS / 16;

/** Subjects of a Vault as ordinals, [0, 2^32): distinct, immutable, with one encoding and one digest each. */
class Subjects {
  readonly size: number;
  readonly #pages: ReadonlyMap<number, PageMembers>;
  #encoded: Uint8Array | undefined;
  #digest: Uint8Array | undefined;

  constructor(pages: readonly PageMembers[], encoded?: Uint8Array) {
    this.#pages = new Map(pages.map((each) => [each.page, each]));
    this.size = pages.reduce((sum, { size }) => sum + size, 0);
    this.#encoded = encoded;
  }

  has(ordinal: number): boolean {
    const page = this.#pages.get(Math.floor(ordinal / PAGE_ORDINALS));
    return page !== undefined && isMember(page, ordinal % PAGE_ORDINALS);
  }

  /** In ascending order. */
  forEach(visit: (ordinal: number) => void): void {
    for (const members of this.pages()) {
      const first = members.page * PAGE_ORDINALS;
      for (const low of lowsOf(members)) visit(first + low);
    }
  }

  /** Page by page, ascending. Not to be changed. */
  pages(): Iterable<PageMembers> {
    return this.#pages.values();
  }

  /** The pages that have a member, ascending. */
  pageNumbers(): number[] {
    return [...this.#pages.keys()];
  }

  /** The canonical bytes, or those that {@link decodeSubjectSet} was given. Not to be changed. */
  get encoded(): Uint8Array {
    return (this.#encoded ??= encodePages([...this.#pages.values()]));
  }

  /** Names the set: digest of {@link encoded}. */
  get digest(): Uint8Array {
    return (this.#digest ??= digestOfBytes("subject-set", this.encoded));
  }
}

export type SubjectSet = Subjects;

/** The set of `ordinals`, in any order and with repetitions. @throws MalformedError SCHEMA_MALFORMED for no ordinal */
export function subjectSetOf(ordinals: Iterable<number>): SubjectSet {
  return setOf(bitmapsOf(ordinals));
}

/** The set [0, count). */
export function firstSubjects(count: number): SubjectSet {
  const bitmaps = new Map<number, Uint16Array>();
  for (let page = 0; page * PAGE_ORDINALS < count; page += 1) {
    const bitmap = new Uint16Array(BITMAP_WORDS);
    setRun(bitmap, 0, Math.min(count - page * PAGE_ORDINALS, PAGE_ORDINALS) - 1);
    bitmaps.set(page, bitmap);
  }
  return setOf(bitmaps);
}

/**
 * Reads an encoded set. Only the one encoding of a set is accepted, and what schema versions 1 and 2 wrote.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED
 */
export function decodeSubjectSet(bytes: Uint8Array): SubjectSet {
  const [form] = bytes;
  const rest = bytes.subarray(1);
  if (form === OLD_LIST) return oldSet(bytes, oldList(rest));
  if (form === OLD_BITMAP) return oldSet(bytes, oldBitmap(rest));
  const set = form === PAGES ? setOf(decodePages(rest)) : setOf(new Map());
  if (compareBytes(set.encoded, bytes) !== 0) throw malformed(bytes);
  return set;
}

/** Ordinals in the given order, repetitions kept, as u32 little endian: the subjects of a batch's rows. */
export function ordinalBytes(ordinals: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(ordinals.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, ordinal] of ordinals.entries()) view.setUint32(index * 4, ordinal, true);
  return bytes;
}

/** Reverses {@link ordinalBytes}. */
export function ordinalsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const ordinals = new Uint32Array(bytes.length >>> 2);
  for (let index = 0; index < ordinals.length; index += 1) {
    ordinals[index] = view.getUint32(index * 4, true);
  }
  return ordinals;
}

/** Sets bit `index` of a bitmap: bit 0 is the lowest of byte 0. */
export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >>> 3] = (bitmap[index >>> 3] ?? 0) | (1 << (index & 7));
}

function setOf(bitmaps: ReadonlyMap<number, Uint16Array>): SubjectSet {
  const ascending = [...bitmaps].toSorted(([left], [right]) => left - right);
  return new Subjects(ascending.map(([page, bitmap]) => pageOf(page, bitmap)));
}

function bitmapsOf(ordinals: Iterable<number>): Map<number, Uint16Array> {
  const bitmaps = new Map<number, Uint16Array>();
  let page = -1;
  let bitmap: Uint16Array = new Uint16Array(0);
  for (const ordinal of ordinals) {
    if (ordinal >>> 0 !== ordinal) throw noOrdinal();
    if (ordinal >>> 16 !== page) {
      page = ordinal >>> 16;
      bitmap = bitmaps.get(page) ?? new Uint16Array(BITMAP_WORDS);
      bitmaps.set(page, bitmap);
    }
    const word = (ordinal & 0xffff) >>> 4;
    bitmap[word] = (bitmap[word] ?? 0) | (1 << (ordinal & 15));
  }
  return bitmaps;
}

/** The page in its shortest form. */
function pageOf(page: number, bitmap: Uint16Array): PageMembers {
  let size = 0;
  let runs = 0;
  let carry = 0;
  for (const word of bitmap) {
    if (word !== 0) {
      size += ones(word);
      runs += ones(word & ~((word << 1) | carry));
    }
    carry = word >>> 15;
  }
  const whole: PageMembers = { page, size, form: "bitmap", values: bitmap };
  if (size <= 2 * runs && size <= BITMAP_WORDS) {
    return { ...whole, form: "list", values: lowsOf(whole) };
  }
  if (2 * runs > BITMAP_WORDS) return whole;
  return { ...whole, form: "runs", values: runsOf(bitmap, new Uint16Array(2 * runs)) };
}

function runsOf(bitmap: Uint16Array, runs: Uint16Array): Uint16Array {
  let at = 0;
  let carry = 0;
  for (let index = 0; index < bitmap.length; index += 1) {
    const word = bitmap[index] ?? 0;
    // A set bit of `changes` says that membership changes there.
    let changes = (word ^ ((word << 1) | carry)) & 0xffff;
    carry = word >>> 15;
    while (changes !== 0) {
      const low = index * 16 + 31 - Math.clz32(changes & -changes);
      runs[at] = at % 2 === 0 ? low : low - 1;
      at += 1;
      changes &= changes - 1;
    }
  }
  if (at < runs.length) runs[at] = PAGE_ORDINALS - 1;
  return runs;
}

function encodePages(pages: readonly PageMembers[]): Uint8Array {
  const length = pages.reduce((sum, { values }) => sum + PAGE_HEADER_BYTES + values.length * 2, 1);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = PAGES;
  let at = 1;
  for (const { page, form, values } of pages) {
    view.setUint16(at, page, true);
    view.setUint8(at + 2, FORMS.indexOf(form));
    view.setUint16(at + 3, values.length - 1, true);
    at += PAGE_HEADER_BYTES;
    bytes.set(bytesOfWords(values), at);
    at += values.length * 2;
  }
  return bytes;
}

/** Reads pages loosely: {@link decodeSubjectSet} compares what it gives with the bytes. */
function decodePages(bytes: Uint8Array): Map<number, Uint16Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bitmaps = new Map<number, Uint16Array>();
  for (let at = 0; at < bytes.length;) {
    if (at + PAGE_HEADER_BYTES > bytes.length) throw malformed(bytes);
    const page = view.getUint16(at, true);
    const form = FORMS[view.getUint8(at + 2)];
    const length = (view.getUint16(at + 3, true) + 1) * 2;
    at += PAGE_HEADER_BYTES;
    if (at + length > bytes.length || form === undefined) throw malformed(bytes);
    bitmaps.set(page, bitmapOf(form, wordsOf(bytes.subarray(at, at + length))));
    at += length;
  }
  return bitmaps;
}

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Little endian, whatever the machine is. Not to be changed. */
function bytesOfWords(words: Uint16Array): Uint8Array {
  const own = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return LITTLE_ENDIAN ? own : Buffer.from(own).swap16();
}

/** Reverses {@link bytesOfWords}. */
function wordsOf(bytes: Uint8Array): Uint16Array {
  const words = new Uint16Array(bytes.length / 2);
  const own = Buffer.from(words.buffer);
  own.set(bytes);
  if (!LITTLE_ENDIAN) own.swap16();
  return words;
}

function bitmapOf(form: PageMembers["form"], values: Uint16Array): Uint16Array {
  const bitmap = new Uint16Array(BITMAP_WORDS);
  switch (form) {
    case "bitmap":
      bitmap.set(values.subarray(0, BITMAP_WORDS));
      break;
    case "list":
      for (const low of values) setRun(bitmap, low, low);
      break;
    case "runs":
      for (let run = 0; run + 1 < values.length; run += 2) {
        setRun(bitmap, values[run] ?? 0, values[run + 1] ?? 0);
      }
  }
  return bitmap;
}

/** Sets the bits [first, last]. */
function setRun(bitmap: Uint16Array, first: number, last: number): void {
  for (let low = first; low <= last;) {
    const whole = low % 16 === 0 && low + 15 <= last;
    const word = low >>> 4;
    bitmap[word] = whole ? 0xffff : (bitmap[word] ?? 0) | (1 << (low & 15));
    low += whole ? 16 : 1;
  }
}

function oldSet(bytes: Uint8Array, ordinals: Iterable<number>): SubjectSet {
  const bitmaps = [...bitmapsOf(ordinals)].toSorted(([left], [right]) => left - right);
  return new Subjects(
    bitmaps.map(([page, bitmap]) => pageOf(page, bitmap)),
    bytes.slice(),
  );
}

function oldList(bytes: Uint8Array): Uint32Array {
  const ordinals = ordinalsOf(bytes);
  const ascending = ordinals.every(
    (each, index) => index === 0 || each > (ordinals[index - 1] ?? 0),
  );
  if (bytes.length % 4 !== 0 || !ascending) throw malformed(bytes);
  return ordinals;
}

function* oldBitmap(bitmap: Uint8Array): Generator<number> {
  if ((bitmap.at(-1) ?? 0) === 0) throw malformed(bitmap);
  for (const [at, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit += 1) {
      if ((byte & (1 << bit)) !== 0) yield at * 8 + bit;
    }
  }
}

function malformed(bytes: Uint8Array): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", bytes: bytes.length },
    "subject set: expected an encoded set of ordinals, got other bytes",
  );
}

function noOrdinal(): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "ordinal" },
    "subject set: expected ordinals in [0, 2^32), got another number",
  );
}
