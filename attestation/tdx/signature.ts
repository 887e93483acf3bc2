import { createPublicKey, type KeyObject } from "node:crypto";

import { MalformedError, concat, fromHex } from "#protocol";

const HALF_BYTES = 32;
/** SubjectPublicKeyInfo of an uncompressed P-256 point, up to x (RFC 5480 § 2). */
const SPKI_HEAD = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

/**
 * An ECDSA signature with P-256 in DER, from `signature`: 64 bytes, r then s.
 *
 * node:crypto does the same when asked to, at half the cost of verifying the signature.
 *
 * @see RFC 3279 § 2.2.3
 */
export function derSignature(signature: Uint8Array): Uint8Array {
  const r = derInteger(signature.subarray(0, HALF_BYTES));
  const s = derInteger(signature.subarray(HALF_BYTES));
  return concat(Uint8Array.of(0x30, r.length + s.length), r, s);
}

/**
 * The public key of an attestation key: x then y, 64 bytes.
 *
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED when it is no point of the curve.
 */
export function importPoint(point: Uint8Array): KeyObject {
  try {
    const key = Buffer.from(concat(SPKI_HEAD, point));
    return createPublicKey({ key, format: "der", type: "spki" });
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_DOCUMENT_MALFORMED", field: "attestation key" },
      "quote attestation key: expected a point of P-256, got another one",
      { cause },
    );
  }
}

function derInteger(bytes: Uint8Array): Uint8Array {
  const from = bytes.findIndex((octet) => octet !== 0);
  const digits = bytes.subarray(from < 0 ? bytes.length - 1 : from);
  const pad = (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0);
  return concat(Uint8Array.of(0x02, pad.length + digits.length), pad, digits);
}
