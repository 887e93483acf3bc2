import { decode, encode, rfc8949EncodeOptions } from "cborg";

import { equalBytes } from "./bytes.ts";
import { LimitError, MalformedError } from "./errors.ts";

/** The largest CBOR item accepted unless a caller gives its own limit: 64 MiB. */
export const CBOR_BYTES_MAX = 64 * 1024 * 1024;

/** Most levels of arrays and maps in one item. */
export const CBOR_DEPTH_MAX = 64;

/** Values that canonical CBOR carries here. Floats are absent on purpose (design, section 3). */
export type CborValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly CborValue[]
  | { readonly [key: string]: CborValue };

const DECODE_OPTIONS = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowNaN: false,
  allowInfinity: false,
  allowBigInt: true,
  rejectDuplicateMapKeys: true,
  useMaps: false,
} as const;

/** A COSE header: integer labels, and values as everywhere else. */
export type CborHeader = ReadonlyMap<number, CborValue>;

/** ASCII text is always NFC; asking is cheaper than normalizing. */
const ASCII = /^[\u0020-\u007e]*$/;

/** Integers that CBOR has a head for. RFC 8949 § 3.1 */
const BIGINT_MAX = 2n ** 64n - 1n;

interface Fault {
  readonly expected: string;
  /** From the innermost key outwards. */
  readonly path: string[];
}

function refuseUncommittable(value: CborValue, subject: string): void {
  const fault = faultIn(value, 0);
  if (fault === null) return;
  const path = [subject, ...fault.path.reverse()].join(".");
  throw new MalformedError(
    { code: "SCHEMA_CBOR_MALFORMED", path },
    `${path}: expected ${fault.expected}`,
  );
}

/** The first thing in `value` that has no canonical bytes; its path is gathered on the way back only. */
function faultIn(value: CborValue, depth: number): Fault | null {
  switch (typeof value) {
    case "boolean":
      return null;
    case "number":
      return Number.isSafeInteger(value) ? null : fault("a safe integer, got another number");
    case "bigint":
      return value <= BIGINT_MAX && value >= -BIGINT_MAX - 1n
        ? null
        : fault("an integer of 64 bits");
    case "string":
      return isCanonicalText(value) ? null : fault("well-formed text in normalization form NFC");
    case "object":
      if (value === null || value instanceof Uint8Array) return null;
      if (depth === CBOR_DEPTH_MAX) return fault(`at most ${CBOR_DEPTH_MAX} levels`);
      return faultWithin(value, depth + 1);
    default:
      return fault(`a value, got ${typeof value}`);
  }
}

function faultWithin(value: object & CborValue, depth: number): Fault | null {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) {
    return fault("a plain object, got another one");
  }
  const entries = Object.entries(value);
  if (Array.isArray(value) && entries.length !== value.length)
    return fault("an array without holes");
  for (const [key, item] of entries) {
    const inner = isKey(key) ? faultIn(item, depth) : fault("an ordinary key in NFC");
    if (inner === null) continue;
    inner.path.push(key);
    return inner;
  }
  return null;
}

/** `__proto__` is refused, because schemas and object literals drop it without a word. */
function isKey(key: string): boolean {
  return key !== "__proto__" && isCanonicalText(key);
}

/**
 * Refuses text that has no canonical bytes; `path` names it.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function requireCanonicalText(text: string, path: string): void {
  if (!isCanonicalText(text)) refuseUncommittable(text, path);
}

function isCanonicalText(text: string): boolean {
  return ASCII.test(text) || (text.isWellFormed() && text.normalize("NFC") === text);
}

function fault(expected: string): Fault {
  return { expected, path: [] };
}

/**
 * Encodes `value` as deterministic CBOR: the `Serialize` of SCP.
 *
 * Refuses floats, `undefined`, text that is not well-formed NFC, and objects that are not plain, so that equal
 * values have equal bytes and different ones different bytes. At most {@link CBOR_DEPTH_MAX} levels.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 * @see RFC 8949 § 4.2.1
 */
export function encodeCbor(value: CborValue): Uint8Array {
  refuseUncommittable(value, "$");
  return encode(value, rfc8949EncodeOptions);
}

/**
 * Decodes one item of deterministic CBOR; anything not byte-for-byte canonical is refused.
 *
 * The result is untrusted: parse it with a schema before use.
 *
 * @param maxBytes - Size limit of `bytes`, checked first.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function decodeCbor(bytes: Uint8Array, maxBytes: number = CBOR_BYTES_MAX): unknown {
  if (bytes.length > maxBytes) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes: bytes.length, maxBytes },
      `cbor: expected at most ${maxBytes} bytes, got ${bytes.length}`,
    );
  }
  let value: CborValue;
  let again: Uint8Array;
  try {
    value = decode(bytes, DECODE_OPTIONS);
    again = encodeCbor(value);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_CBOR_MALFORMED" },
      "cbor: expected one item of deterministic CBOR",
      { cause },
    );
  }
  if (!equalBytes(again, bytes)) {
    throw new MalformedError(
      { code: "SCHEMA_CBOR_MALFORMED" },
      "cbor: expected the canonical encoding, got a longer or reordered one",
    );
  }
  return value;
}

/**
 * Encodes a COSE header map as deterministic CBOR. The only maps with integer keys are headers.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 * @see RFC 9052 § 3, RFC 8949 § 4.2.1
 */
export function encodeCborHeader(header: CborHeader): Uint8Array {
  for (const [label, value] of header) {
    refuseUncommittable(label, "header");
    refuseUncommittable(value, `header.${label}`);
  }
  return encode(header, rfc8949EncodeOptions);
}

/**
 * Decodes a COSE header map; anything but canonical CBOR with integer labels is refused.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function decodeCborHeader(bytes: Uint8Array): ReadonlyMap<number, unknown> {
  let header: ReadonlyMap<number, CborValue> | undefined;
  try {
    const decoded: unknown = decode(bytes, { ...DECODE_OPTIONS, useMaps: true });
    if (isHeader(decoded) && equalBytes(encodeCborHeader(decoded), bytes)) header = decoded;
  } catch (cause) {
    throw headerMalformed(cause);
  }
  if (header === undefined) throw headerMalformed();
  return header;
}

function isHeader(value: unknown): value is CborHeader {
  return value instanceof Map && [...value.keys()].every((label) => Number.isSafeInteger(label));
}

function headerMalformed(cause?: unknown): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CBOR_MALFORMED" },
    "cbor header: expected one canonical map with integer labels",
    { cause },
  );
}
