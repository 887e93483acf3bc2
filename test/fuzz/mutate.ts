import { concat } from "../../protocol/index.ts";
import type { Random } from "./random.ts";

/** Octets at which encodings change their meaning. */
const EDGES = [
  0, 1, 2, 4, 5, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x30, 0x31, 0x3f, 0x40, 0x5f, 0x7f, 0x80, 0x81,
  0x82, 0x83, 0x84, 0x9f, 0xa0, 0xa3, 0xbf, 0xc0, 0xd2, 0xdf, 0xe0, 0xf4, 0xf6, 0xf7, 0xf9, 0xfb,
  0xff,
] as const;
const INTEGERS = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  (1n << 53n) - 1n,
  1n << 53n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
] as const;

/** An octet at which encodings change their meaning, or any. */
export function edgeOctet(random: Random): number {
  return random.once(3) ? random.below(256) : random.pick(EDGES);
}

/** An integer at a boundary of 8 to 64 bits, or near one. */
export function edgeInteger(random: Random): bigint {
  const integer = random.pick(INTEGERS);
  return random.once(3) ? BigInt.asUintN(64, integer + BigInt(random.between(-2, 2))) : integer;
}

/**
 * `bytes` with one to four edits: flipped bits, boundary octets and integers, changed lengths, parts taken out, put
 * twice, moved, or taken from another of `pool`, and cut ends.
 */
export function mutate(
  random: Random,
  bytes: Uint8Array,
  pool: readonly Uint8Array[] = [bytes],
): Uint8Array {
  let changed: Uint8Array = Uint8Array.from(bytes);
  const edits = random.pick([1, 1, 1, 2, 2, 4]);
  for (let edit = 0; edit < edits; edit++) changed = editOnce(random, changed, pool);
  return changed;
}

function editOnce(random: Random, bytes: Uint8Array, pool: readonly Uint8Array[]): Uint8Array {
  const { length } = bytes;
  if (length === 0) return random.bytes(random.length(64));
  const at = random.below(length);
  switch (random.below(12)) {
    case 0:
    case 1:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 2:
    case 3:
      bytes[at] = edgeOctet(random);
      return bytes;
    case 4:
      bytes[at] = (bytes[at] ?? 0) + random.between(-2, 2);
      return bytes;
    case 5:
      return writeInteger(random, bytes, at);
    case 6:
      return bytes.slice(0, at);
    case 7:
      return concat(bytes.subarray(0, at), bytes.subarray(at + random.length(length - at)));
    case 8:
      return repeatPart(random, bytes, at);
    case 9:
      return concat(bytes.subarray(0, at), random.bytes(random.length(64)), bytes.subarray(at));
    case 10:
      return splice(random, bytes, pool);
    default:
      return concat(bytes, random.bytes(random.length(64)));
  }
}

function writeInteger(random: Random, bytes: Uint8Array, at: number): Uint8Array {
  const width = random.pick([1, 2, 4, 8]);
  const isLittle = random.once(2);
  let value = edgeInteger(random);
  for (let step = 0; step < width; step++) {
    const position = isLittle ? at + step : at + width - 1 - step;
    if (position < bytes.length) bytes[position] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

function repeatPart(random: Random, bytes: Uint8Array, at: number): Uint8Array {
  const part = bytes.subarray(at, at + 1 + random.length(Math.min(256, bytes.length - at)));
  const times = random.once(8) ? random.length(Math.ceil(4096 / part.length)) : 1;
  const copies = Array.from({ length: times }, () => part);
  return concat(bytes.subarray(0, at), ...copies, bytes.subarray(at));
}

function splice(random: Random, bytes: Uint8Array, pool: readonly Uint8Array[]): Uint8Array {
  const other = random.pick(pool);
  const from = random.below(other.length + 1);
  const part = other.subarray(from, from + random.length(other.length - from));
  const at = random.below(bytes.length + 1);
  return concat(
    bytes.subarray(0, at),
    part,
    bytes.subarray(at + (random.once(2) ? part.length : 0)),
  );
}
