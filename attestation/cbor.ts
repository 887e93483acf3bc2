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

const strictText = new TextDecoder("utf-8", { fatal: true });

/**
 * Decodes one CBOR item written by hardware: an attestation document's payload or an NSM message.
 *
 * Genuine documents use indefinite-length maps and are not sorted, so the canonical decoder of `protocol`
 * does not apply. Refuses duplicate keys, keys that are no integer or text, longer-than-needed heads, tags, floats,
 * `undefined`, text that is not UTF-8, indefinite strings, bytes left over, more than {@link CBOR_DEPTH_MAX} levels or
 * {@link CBOR_ITEMS_MAX} items. No length is trusted beyond the bytes that are there, and each byte is read once.
 *
 * @returns Integers as numbers where they are exact, else as `bigint`; byte strings as copies.
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
  const reader: Reader = { bytes, at: 0, items: 0 };
  const value = readItem(reader, 0);
  if (reader.at !== bytes.length) throw fault("one item", `${bytes.length - reader.at} bytes more`);
  return value;
}

interface Reader {
  readonly bytes: Uint8Array;
  at: number;
  items: number;
}

interface Head {
  readonly major: number;
  /** The argument, or null for an indefinite length. */
  readonly argument: number | bigint | null;
}

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, simple: 7 } as const;
const BREAK = 0xff;
const INDEFINITE = 31;
/** RFC 8949 § 3.3; floats and `undefined` do not occur. */
const SIMPLE_VALUES: ReadonlyMap<number | bigint | null, boolean | null> = new Map([
  [20, false],
  [21, true],
  [22, null],
]);

function readItem(reader: Reader, depth: number): HardwareValue {
  if (depth > CBOR_DEPTH_MAX) throw fault(`at most ${CBOR_DEPTH_MAX} levels`, "more");
  reader.items += 1;
  if (reader.items > CBOR_ITEMS_MAX) throw fault(`at most ${CBOR_ITEMS_MAX} items`, "more");
  const { major, argument } = readHead(reader);
  switch (major) {
    case MAJOR.unsigned:
      return argument;
    case MAJOR.negative:
      return typeof argument === "bigint" ? -1n - argument : -1 - definite(argument);
    case MAJOR.bytes:
      return new Uint8Array(take(reader, definite(argument)));
    case MAJOR.text:
      return textOf(take(reader, definite(argument)));
    case MAJOR.array:
      return readArray(reader, argument, depth + 1);
    case MAJOR.map:
      return readMap(reader, argument, depth + 1);
    case MAJOR.simple: {
      const value = SIMPLE_VALUES.get(argument);
      if (value === undefined)
        throw fault("false, true or null", "a float or another simple value");
      return value;
    }
    default:
      throw fault("no tags", "a tag");
  }
}

function readArray(reader: Reader, count: Head["argument"], depth: number): HardwareValue {
  const items: HardwareValue[] = [];
  repeat(reader, count, () => items.push(readItem(reader, depth)));
  return items;
}

/** Heads are shortest-form, so a key has one encoding. */
function readMap(reader: Reader, count: Head["argument"], depth: number): HardwareValue {
  const map = new Map<number | string, HardwareValue>();
  repeat(reader, count, () => {
    const key = readItem(reader, depth);
    if (typeof key !== "number" && typeof key !== "string") {
      throw fault("map keys that are integers or text", "another one");
    }
    if (map.has(key)) throw fault("each map key once", "one repeated");
    map.set(key, readItem(reader, depth));
  });
  return map;
}

/** Every item takes a byte at least, and two of them make an entry. */
function repeat(reader: Reader, count: Head["argument"], each: () => void): void {
  if (count === null) {
    while (reader.bytes[reader.at] !== BREAK) each();
    reader.at += 1;
    return;
  }
  for (let i = 0; i < count; i++) each();
}

function readHead(reader: Reader): Head {
  const first = readOctets(reader, 1);
  const major = first >> 5;
  const info = first & 0x1f;
  if (info < 24) return { major, argument: info };
  if (info === INDEFINITE && (major === MAJOR.array || major === MAJOR.map)) {
    return { major, argument: null };
  }
  if (info > 27 || major === MAJOR.simple) throw fault("a plain head", `0x${first.toString(16)}`);
  const argument = info === 27 ? readLong(reader) : readOctets(reader, 1 << (info - 24));
  if (argument < (LEAST[info - 24] ?? 0)) throw fault("the shortest head", "a longer one");
  return { major, argument };
}

/** The least argument that needs a head of 1, 2, 4 and 8 octets more (RFC 8949 § 4.2.1). */
const LEAST = [24, 2 ** 8, 2 ** 16, 2 ** 32] as const;

function readLong(reader: Reader): number | bigint {
  const high = readOctets(reader, 4);
  const low = readOctets(reader, 4);
  const value = high * 2 ** 32 + low;
  return Number.isSafeInteger(value) ? value : BigInt(high) * 2n ** 32n + BigInt(low);
}

/** An unsigned integer of up to four octets, big endian. */
function readOctets(reader: Reader, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) {
    const octet = reader.bytes[reader.at];
    if (octet === undefined) throw fault("a complete item", "a truncated one");
    value = value * 256 + octet;
    reader.at += 1;
  }
  return value;
}

function definite(argument: Head["argument"]): number {
  if (argument === null) throw fault("a definite length", "an indefinite one");
  return Number(argument);
}

function take(reader: Reader, count: number): Uint8Array {
  const end = reader.at + count;
  if (end > reader.bytes.length) throw fault("a complete item", "a truncated one");
  const part = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return part;
}

function textOf(bytes: Uint8Array): string {
  try {
    return strictText.decode(bytes);
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
