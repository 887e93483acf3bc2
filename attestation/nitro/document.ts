import { LimitError, MalformedError, equalBytes, fromHex } from "#protocol";

import { decodeHardwareCbor, type HardwareValue } from "../cbor.ts";
import { NITRO_PROFILE } from "../profile.ts";

/** The largest NSM response, and so the largest document: 0x3000 bytes (nsm-api, src/driver). */
export const NITRO_DOCUMENT_BYTES_MAX = 0x3000;
/** Certificates in `cabundle`, root first. Genuine documents have 4; AWS gives no bound. */
export const CABUNDLE_MAX = 8;
/** Longest `public_key`, `user_data` and `nonce` seen in genuine documents; the text says 512, the NSM 1024. */
export const OPTIONAL_FIELD_BYTES_MAX = 1024;

const CABUNDLE_MIN = 2;
const PCR_BYTES = 48;
const PCR_COUNT_MAX = 32;

/**
 * A Nitro attestation document taken apart. Nothing in it is authentic: `verifyNitroDocument` decides that.
 *
 * @see aws-nitro-enclaves-nsm-api docs/attestation_process.md § 2.2
 */
export interface NitroDocument {
  readonly moduleId: string;
  readonly timestampMs: number;
  /** 1 to 32 values of 48 bytes, by index in [0, 32). */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** The leaf certificate, DER. */
  readonly certificate: Uint8Array;
  /** Root first, then each certificate signed by the one before it. */
  readonly cabundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly nonce: Uint8Array | null;
  readonly payload: Uint8Array;
  /** The payload with the head of its byte string, as received: what the signature covers. */
  readonly payloadItem: Uint8Array;
  /** 96 bytes, r then s. */
  readonly signature: Uint8Array;
  /** A copy of the whole document. */
  readonly document: Uint8Array;
}

/** The protected header, `{1: -35}` (ES384), as the NSM encodes it. No other encoding is accepted. */
export const COSE_PROTECTED_HEADER = fromHex("a1013822");

/** An untagged array of four, the header in its byte string, an empty unprotected map. */
const ENVELOPE_START = fromHex("8444a1013822a0");
/** CBOR tag 18, COSE_Sign1; allowed once (RFC 9052 § 4.2). */
const TAG_COSE_SIGN1 = 0xd2;
const SIGNATURE_HEAD = fromHex("5860");
const SIGNATURE_BYTES = 96;

/**
 * Takes a Nitro attestation document apart and judges its shape.
 *
 *     [d2] 84                         COSE_Sign1, tag 18 optional
 *     44 a1 01 38 22                  protected header {1: -35}
 *     a0                              unprotected header, empty
 *     59 nn nn          payload       byte string, 256 to 12 288 bytes: five certificates do not fit in less
 *     58 60             signature     r then s, 48 bytes each
 *
 * Only this encoding is accepted, because every genuine document has it and any other would be a second
 * form of the same evidence. NitroTPM documents (`nitrotpm_pcrs`) are refused: they are no enclave's.
 *
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED
 * @see RFC 9052 § 4.2; attestation_process.md § 3.2
 */
export function parseNitroDocument(document: Uint8Array): NitroDocument {
  if (document.length > NITRO_DOCUMENT_BYTES_MAX) {
    throw new LimitError(
      {
        code: "TEE_DOCUMENT_TOO_LARGE",
        bytes: document.length,
        maxBytes: NITRO_DOCUMENT_BYTES_MAX,
      },
      `document: expected at most ${NITRO_DOCUMENT_BYTES_MAX} bytes, got ${document.length}`,
    );
  }
  const copy = new Uint8Array(document);
  const envelope = parseEnvelope(copy);
  return { ...parsePayload(envelope.payload), ...envelope, document: copy };
}

type Envelope = Pick<NitroDocument, "payload" | "payloadItem" | "signature">;

function parseEnvelope(document: Uint8Array): Envelope {
  const start = document[0] === TAG_COSE_SIGN1 ? 1 : 0;
  const headAt = start + ENVELOPE_START.length;
  if (!startsWith(document.subarray(start), ENVELOPE_START)) {
    throw fault("envelope", "COSE_Sign1 with ES384 and no unprotected header", "other bytes");
  }
  const { length, next } = payloadLength(document, headAt);
  const payload = document.subarray(next, next + length);
  const tail = document.subarray(next + length);
  const signature = tail.subarray(SIGNATURE_HEAD.length);
  if (payload.length !== length || !startsWith(tail, SIGNATURE_HEAD)) {
    throw fault("envelope", "a payload and a signature of 96 bytes", "other bytes");
  }
  if (signature.length !== SIGNATURE_BYTES) {
    throw fault("envelope", "a signature of 96 bytes at the end", `${signature.length} bytes`);
  }
  return { payload, payloadItem: document.subarray(headAt, next + length), signature };
}

function payloadLength(document: Uint8Array, at: number): { length: number; next: number } {
  const [head, high = 0, low = 0] = document.subarray(at, at + 3);
  if (head === 0x59 && high > 0) return { length: high * 256 + low, next: at + 3 };
  throw fault("payload", "a byte string of 256 to 12 288 bytes", "another item");
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, start.length), start);
}

type Payload = Omit<NitroDocument, keyof Envelope | "document">;

const REQUIRED = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] as const;
const OPTIONAL = ["public_key", "user_data", "nonce"] as const;

function parsePayload(payload: Uint8Array): Payload {
  const map = decodeHardwareCbor(payload, NITRO_DOCUMENT_BYTES_MAX);
  if (!(map instanceof Map)) throw fault("payload", "a map", typeof map);
  const fields: ReadonlyMap<unknown, HardwareValue> = map;
  const known = new Set<unknown>([...REQUIRED, ...OPTIONAL]);
  for (const key of fields.keys()) {
    if (!known.has(key)) throw fault("payload", "the fields of an enclave document", "another one");
  }
  if (fields.get("digest") !== "SHA384") throw fault("digest", "SHA384", "another value");
  return {
    moduleId: parseModuleId(fields.get("module_id")),
    timestampMs: parseTimestamp(fields.get("timestamp")),
    pcrs: parsePcrs(fields.get("pcrs")),
    certificate: parseBytes("certificate", fields.get("certificate"), NITRO_PROFILE.bytesMax),
    cabundle: parseCabundle(fields.get("cabundle")),
    publicKey: parseOptional("public_key", fields.get("public_key")),
    userData: parseOptional("user_data", fields.get("user_data")),
    nonce: parseOptional("nonce", fields.get("nonce")),
  };
}

function parseModuleId(value: HardwareValue | undefined): string {
  if (typeof value !== "string" || !/^[\x21-\x7e]{1,128}$/.test(value)) {
    throw fault("module_id", "1 to 128 visible ASCII characters", describe(value));
  }
  return value;
}

/** Eight-byte integers arrive as `bigint`; the value must be exact as a number. */
function parseTimestamp(value: HardwareValue | undefined): number {
  const timestamp = typeof value === "bigint" ? Number(value) : value;
  if (typeof timestamp !== "number" || !Number.isSafeInteger(timestamp) || timestamp <= 0) {
    throw fault("timestamp", "positive milliseconds below 2^53", describe(value));
  }
  return timestamp;
}

function parsePcrs(value: HardwareValue | undefined): ReadonlyMap<number, Uint8Array> {
  if (!(value instanceof Map)) throw fault("pcrs", "a map", describe(value));
  const entries: ReadonlyMap<unknown, unknown> = value;
  if (entries.size < 1 || entries.size > PCR_COUNT_MAX) {
    throw fault("pcrs", `1 to ${PCR_COUNT_MAX} entries`, `${entries.size}`);
  }
  const pcrs = new Map<number, Uint8Array>();
  for (const [index, pcr] of entries) {
    if (typeof index !== "number" || index < 0 || index >= PCR_COUNT_MAX) {
      throw fault("pcrs", `an index in [0, ${PCR_COUNT_MAX})`, "another key");
    }
    if (!(pcr instanceof Uint8Array) || pcr.length !== PCR_BYTES) {
      throw fault(`pcrs ${index}`, `${PCR_BYTES} bytes`, "another value");
    }
    pcrs.set(index, pcr);
  }
  return pcrs;
}

function parseCabundle(value: HardwareValue | undefined): readonly Uint8Array[] {
  if (!Array.isArray(value)) throw fault("cabundle", "an array", describe(value));
  const items: readonly HardwareValue[] = value;
  if (items.length < CABUNDLE_MIN || items.length > CABUNDLE_MAX) {
    throw fault("cabundle", `${CABUNDLE_MIN} to ${CABUNDLE_MAX} certificates`, `${items.length}`);
  }
  return items.map((item) => parseBytes("cabundle", item, NITRO_PROFILE.bytesMax));
}

function parseBytes(field: string, value: HardwareValue | undefined, max: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length < 1 || value.length > max) {
    throw fault(field, `1 to ${max} bytes`, describe(value));
  }
  return value;
}

/** Absent and null mean the same; zero bytes are a value, and occur. */
function parseOptional(field: string, value: HardwareValue | undefined): Uint8Array | null {
  if (value === undefined || value === null) return null;
  if (!(value instanceof Uint8Array) || value.length > OPTIONAL_FIELD_BYTES_MAX) {
    throw fault(field, `null or at most ${OPTIONAL_FIELD_BYTES_MAX} bytes`, describe(value));
  }
  return value;
}

function describe(value: HardwareValue | undefined): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value === null ? "null" : typeof value;
}

function fault(field: string, expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_DOCUMENT_MALFORMED", field },
    `${field}: expected ${expected}, got ${got}`,
  );
}
