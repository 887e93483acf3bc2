import { MalformedError } from "#protocol";

/** One BER element. A constructed one has `parts`, a primitive one `content`, a view into the input. */
export interface BerElement {
  /** The identifier octet (X.690 § 8.1.2): class, constructed bit, number. */
  readonly tag: number;
  readonly content: Uint8Array;
  readonly parts: readonly BerElement[];
}

/** A genuine CMS blob nests eleven deep. */
export const BER_DEPTH_MAX = 16;
const CONSTRUCTED = 0x20;
const INDEFINITE = 0x80;
const NO_BYTES = new Uint8Array(0);

/**
 * Reads the one BER element that fills `bytes`, with all elements in it.
 *
 * Lengths are definite, in their shortest form, or indefinite, for constructed elements. Identifiers have one
 * octet. Each octet is looked at once; nothing is allocated on the word of a length.
 *
 *     identifier  1    class (2 bits), constructed (1), number (5)
 *     length      1    below 0x80; 0x80: until end of contents; 0x81..0xfe: so many octets of length follow
 *     contents    n
 *     end         2    0x0000, after an indefinite length only
 *
 * @throws {@link MalformedError} TEE_KMS_MALFORMED
 * @see X.690 § 8.1
 */
export function parseBer(bytes: Uint8Array): BerElement {
  const cursor: Cursor = { bytes, at: 0 };
  const element = readElement(cursor, { end: bytes.length, depth: 0 });
  if (cursor.at !== bytes.length) throw berFault("one element", "bytes after it");
  return element;
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

/** Where the innermost definite length ends, and how deep it is. */
interface Bounds {
  readonly end: number;
  readonly depth: number;
}

function readElement(cursor: Cursor, { end, depth }: Bounds): BerElement {
  if (depth > BER_DEPTH_MAX) throw berFault(`at most ${BER_DEPTH_MAX} levels`, "more");
  const tag = octet(cursor, end);
  const length = readLength(cursor, end);
  const inside = { end: length === null ? end : cursor.at + length, depth: depth + 1 };
  if (inside.end > end) throw berFault("a complete element", "a truncated one");
  if ((tag & CONSTRUCTED) !== 0) {
    const parts = length === null ? untilEnd(cursor, inside) : filling(cursor, inside);
    return { tag, content: NO_BYTES, parts };
  }
  if (length === null) throw berFault("a definite length of a primitive element", "none");
  const content = cursor.bytes.subarray(cursor.at, inside.end);
  cursor.at = inside.end;
  return { tag, content, parts: [] };
}

function filling(cursor: Cursor, inside: Bounds): BerElement[] {
  const parts: BerElement[] = [];
  while (cursor.at < inside.end) parts.push(readElement(cursor, inside));
  return parts;
}

function untilEnd(cursor: Cursor, inside: Bounds): BerElement[] {
  const parts: BerElement[] = [];
  for (;;) {
    if (cursor.at === inside.end) throw berFault("an end of contents", "the end of the bytes");
    if (cursor.bytes[cursor.at] === 0) break;
    parts.push(readElement(cursor, inside));
  }
  cursor.at += 1;
  if (octet(cursor, inside.end) !== 0) throw berFault("an end of contents", "half of one");
  return parts;
}

/** Null for an indefinite length. The value is exact as far as any input can be long. */
function readLength(cursor: Cursor, end: number): number | null {
  const first = octet(cursor, end);
  if (first < INDEFINITE) return first;
  if (first === INDEFINITE) return null;
  let length = 0;
  for (let left = first - INDEFINITE; left > 0; left--) length = length * 256 + octet(cursor, end);
  const octets = length < 0x80 ? 0 : Math.ceil(Math.log2(length + 1) / 8);
  if (octets !== first - INDEFINITE) throw berFault("the shortest length", "a longer one");
  return length;
}

function octet(cursor: Cursor, end: number): number {
  const value = cursor.bytes[cursor.at];
  if (value === undefined || cursor.at >= end) {
    throw berFault("a complete element", "a truncated one");
  }
  cursor.at += 1;
  return value;
}

function berFault(expected: string, got: string): MalformedError {
  return new MalformedError({ code: "TEE_KMS_MALFORMED" }, `cms: expected ${expected}, got ${got}`);
}
