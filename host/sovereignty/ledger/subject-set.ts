import { MalformedError, compareBytes, digestOfBytes } from "#protocol";

/**
 * Subjects of a Vault as ordinals: ascending and distinct. A set is stored as a list or a bitmap, whichever is
 * shorter, so that one set has one encoding and one digest.
 */
export type Ordinals = Uint32Array;

const LIST = 0;
const BITMAP = 1;

/** The set of `ordinals`, in any order and with repetitions. */
export function ordinalSet(ordinals: Iterable<number>): Ordinals {
  const sorted = Uint32Array.from(ordinals).sort();
  return sorted.filter((ordinal, index) => index === 0 || ordinal !== sorted[index - 1]);
}

/** The set [0, count). */
export function firstOrdinals(count: number): Ordinals {
  return Uint32Array.from({ length: count }, (_, ordinal) => ordinal);
}

/** One byte for the form, then u32 little endian each, or a bitmap whose bit 0 is the lowest of its byte 0. */
export function encodeOrdinals(set: Ordinals): Uint8Array {
  const bitmapBytes = ((set.at(-1) ?? -1) >>> 3) + 1;
  if (set.length === 0 || set.length * 4 <= bitmapBytes) {
    const list = ordinalBytes(set);
    const bytes = new Uint8Array(1 + list.length);
    bytes.set(list, 1);
    return bytes;
  }
  const bytes = new Uint8Array(1 + bitmapBytes);
  bytes[0] = BITMAP;
  for (const ordinal of set) setBit(bytes.subarray(1), ordinal);
  return bytes;
}

/** Reverses {@link encodeOrdinals}; only its own output is accepted. @throws MalformedError SCHEMA_MALFORMED */
export function decodeOrdinals(bytes: Uint8Array): Ordinals {
  const [form] = bytes;
  const rest = bytes.subarray(1);
  const set = form === BITMAP ? bitmapOrdinals(rest) : ordinalsOf(rest);
  const known = form === LIST || form === BITMAP;
  if (!known || compareBytes(encodeOrdinals(set), bytes) !== 0) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", bytes: bytes.length },
      "subject set: expected an encoded set of ordinals, got other bytes",
    );
  }
  return set;
}

/** Names an encoded set. */
export function ordinalsDigest(encoded: Uint8Array): Uint8Array {
  return digestOfBytes("subject-set", encoded);
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
  return Uint32Array.from({ length: bytes.length >>> 2 }, (_, i) => view.getUint32(i * 4, true));
}

/** Sets bit `index` of a bitmap: bit 0 is the lowest of byte 0. */
export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >>> 3] = (bitmap[index >>> 3] ?? 0) | (1 << (index & 7));
}

function bitmapOrdinals(bitmap: Uint8Array): Ordinals {
  const ordinals: number[] = [];
  for (const [at, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit += 1) {
      if ((byte & (1 << bit)) !== 0) ordinals.push(at * 8 + bit);
    }
  }
  return Uint32Array.from(ordinals);
}
