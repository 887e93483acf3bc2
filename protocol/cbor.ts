import { decode, encode, rfc8949EncodeOptions } from "cborg";

import { equalBytes } from "./bytes.ts";
import { LimitError, MalformedError } from "./errors.ts";

/** The largest CBOR item accepted unless a caller gives its own limit: 64 MiB. */
export const CBOR_BYTES_MAX = 64 * 1024 * 1024;

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

function refuseFloats(value: CborValue, path: string): void {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new MalformedError(
      { code: "SCHEMA_CBOR_MALFORMED", path },
      `${path}: expected a safe integer, got another number`,
    );
  }
  if (value === undefined) {
    throw new MalformedError(
      { code: "SCHEMA_CBOR_MALFORMED", path },
      `${path}: expected a value, got undefined`,
    );
  }
  if (typeof value === "string" && value.normalize("NFC") !== value) {
    throw new MalformedError(
      { code: "SCHEMA_CBOR_MALFORMED", path },
      `${path}: expected text in normalization form NFC`,
    );
  }
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return;
  for (const [key, item] of Object.entries(value)) refuseFloats(item, `${path}.${key}`);
}

/**
 * Encodes `value` as deterministic CBOR: the `Serialize` of SCP.
 *
 * Refuses floats, `undefined` and text that is not NFC, so that equal values have equal bytes.
 *
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 * @see RFC 8949 § 4.2.1
 */
export function encodeCbor(value: CborValue): Uint8Array {
  refuseFloats(value, "$");
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
    refuseFloats(label, "header");
    refuseFloats(value, `header.${label}`);
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
