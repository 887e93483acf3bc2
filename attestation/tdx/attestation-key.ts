import type { KeyObject } from "node:crypto";

import { MalformedError, concat, fromHex } from "#protocol";

import { importPublicKey } from "../public-key.ts";

/** SubjectPublicKeyInfo of an uncompressed P-256 point, up to x (RFC 5480 § 2). */
const SPKI_HEAD = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

/**
 * Imports an attestation key: x then y of a point of P-256, 64 bytes.
 *
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED when it is no point of the curve.
 */
export function importAttestationKey(point: Uint8Array): KeyObject {
  try {
    return importPublicKey(concat(SPKI_HEAD, point));
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_DOCUMENT_MALFORMED", field: "attestation key" },
      "quote attestation key: expected a point of P-256, got another one",
      { cause },
    );
  }
}
