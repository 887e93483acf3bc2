import { Decoder } from "cbor-x/decode-no-eval";

import { LimitError, MalformedError } from "#protocol";

/** Values found in attestation documents and NSM messages. Maps keep the type of their keys. */
export type HardwareValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly HardwareValue[]
  | ReadonlyMap<number | string, HardwareValue>;

/** Documents nest two deep and NSM messages three; nothing here needs more than this. */
export const CBOR_DEPTH_MAX = 8;
/** Items in one message, keys included. The largest genuine document has about 60. */
export const CBOR_ITEMS_MAX = 1024;

const decoder = new Decoder({ mapsAsObjects: false, useRecords: false, copyBuffers: true });
const strictText = new TextDecoder("utf-8", { fatal: true });

/**
 * Decodes one CBOR item written by hardware: an attestation document's payload or an NSM message.
 *
 * Genuine documents use indefinite-length maps and are not sorted, so the canonical decoder of `protocol`
 * does not apply. A walk over the bytes comes first and refuses what cbor-x would let pass: duplicate keys,
 * keys that are no integer or text, longer-than-needed heads, tags, floats, `undefined`, text that is not
 * UTF-8, indefinite strings, bytes left over, more than {@link CBOR_DEPTH_MAX} levels or
 * {@link CBOR_ITEMS_MAX} items. No length is trusted beyond the bytes that are there.
 *
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE above `maxBytes`.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED
 * @see RFC 8949 § 3
 */
export function decodeHardwareCbor(bytes: Uint8Array, maxBytes: number): HardwareValue {
  if (bytes.length > maxBytes) {
    throw new LimitError(
      { code: "TEE_DOCUMENT_TOO_LARGE", bytes: bytes.length, maxBytes },
      `cbor: expected at most ${maxBytes} bytes, got ${bytes.length}`,
    );
  }
  const scan: Scan = { bytes, at: 0, items: 0 };
  walk(scan, 0);
  if (scan.at !== bytes.length) throw fault("one item", `${bytes.length - scan.at} bytes more`);
  try {
    const value: HardwareValue = decoder.decode(bytes);
    return value;
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_DOCUMENT_MALFORMED" },
      "cbor: expected one decodable item",
      { cause },
    );
  }
}

interface Scan {
  readonly bytes: Uint8Array;
  at: number;
  items: number;
}

interface Head {
  readonly major: number;
  /** The argument, or null for an indefinite length. */
  readonly argument: number | null;
}

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, simple: 7 } as const;
const BREAK = 0xff;
const INDEFINITE = 31;
/** false, true and null (RFC 8949 § 3.3). */
const SIMPLE_VALUES: readonly number[] = [20, 21, 22];

function walk(scan: Scan, depth: number): void {
  if (depth > CBOR_DEPTH_MAX) throw fault(`at most ${CBOR_DEPTH_MAX} levels`, "more");
  scan.items += 1;
  if (scan.items > CBOR_ITEMS_MAX) throw fault(`at most ${CBOR_ITEMS_MAX} items`, "more");
  const { major, argument } = readHead(scan);
  switch (major) {
    case MAJOR.unsigned:
    case MAJOR.negative:
      return;
    case MAJOR.bytes:
      take(scan, definite(argument));
      return;
    case MAJOR.text:
      expectText(take(scan, definite(argument)));
      return;
    case MAJOR.array:
      repeat(scan, argument, () => walk(scan, depth + 1));
      return;
    case MAJOR.map:
      walkMap(scan, argument, depth);
      return;
    case MAJOR.simple:
      if (argument === null || !SIMPLE_VALUES.includes(argument)) {
        throw fault("false, true or null", "a float or another simple value");
      }
      return;
    default:
      throw fault("no tags", "a tag");
  }
}

/** Heads are shortest-form, so equal keys have equal bytes. */
function walkMap(scan: Scan, pairs: number | null, depth: number): void {
  const keys = new Set<string>();
  repeat(scan, pairs, () => {
    const start = scan.at;
    const major = (scan.bytes[start] ?? 0) >> 5;
    if (major !== MAJOR.unsigned && major !== MAJOR.negative && major !== MAJOR.text) {
      throw fault("map keys that are integers or text", `major type ${major}`);
    }
    walk(scan, depth + 1);
    const key = Buffer.from(scan.bytes.subarray(start, scan.at)).toString("hex");
    if (keys.has(key)) throw fault("each map key once", "one repeated");
    keys.add(key);
    walk(scan, depth + 1);
  });
}

function repeat(scan: Scan, count: number | null, each: () => void): void {
  if (count === null) {
    while (scan.bytes[scan.at] !== BREAK) each();
    scan.at += 1;
    return;
  }
  if (count > scan.bytes.length - scan.at) throw fault("as many items as announced", "fewer");
  for (let i = 0; i < count; i++) each();
}

function readHead(scan: Scan): Head {
  const first = take(scan, 1)[0] ?? 0;
  const major = first >> 5;
  const info = first & 0x1f;
  if (info < 24) return { major, argument: info };
  if (info === INDEFINITE && (major === MAJOR.array || major === MAJOR.map)) {
    return { major, argument: null };
  }
  if (info > 27 || major === MAJOR.simple) throw fault("a plain head", `0x${first.toString(16)}`);
  const size = 1 << (info - 24);
  let argument = 0n;
  for (const byte of take(scan, size)) argument = argument * 256n + BigInt(byte);
  if (argument < (size === 1 ? 24n : 1n << BigInt(4 * size))) {
    throw fault("the shortest head", "a longer one");
  }
  const isLength = major !== MAJOR.unsigned && major !== MAJOR.negative;
  if (isLength && argument > BigInt(scan.bytes.length)) {
    throw fault("a length within the message", `${argument}`);
  }
  return { major, argument: Number(argument) };
}

function definite(argument: number | null): number {
  if (argument === null) throw fault("a definite length", "an indefinite one");
  return argument;
}

function take(scan: Scan, count: number): Uint8Array {
  const end = scan.at + count;
  if (end > scan.bytes.length) throw fault("a complete item", "a truncated one");
  const part = scan.bytes.subarray(scan.at, end);
  scan.at = end;
  return part;
}

function expectText(bytes: Uint8Array): void {
  try {
    strictText.decode(bytes);
  } catch {
    throw fault("text in UTF-8", "other bytes");
  }
}

function fault(expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_DOCUMENT_MALFORMED" },
    `cbor: expected ${expected}, got ${got}`,
  );
}
