import { createHash, createHmac, hkdfSync } from "node:crypto";

import { encodeCbor, type CborValue } from "./cbor.ts";
import { utf8 } from "./bytes.ts";

/** SHA-256 of the concatenation of `parts`; 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** SHA-384 of the concatenation of `parts`; 48 bytes. */
export function sha384(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha384");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** HMAC-SHA-256 of `message` under `key`; 32 bytes. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac("sha256", key).update(message).digest());
}

/** HKDF-SHA-256 (RFC 5869) of `ikm` with an empty salt; `length` bytes. */
export function hkdf(ikm: Uint8Array, info: Uint8Array, length: number = 32): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", ikm, new Uint8Array(0), info, length));
}

/**
 * Digest of a committed object: SHA-256 over `"symphony/<object>/v1"`, one zero byte, and the canonical bytes.
 *
 * The domain keeps two kinds of object from ever sharing a digest (design, section 3).
 */
export function digestOf(object: string, value: CborValue): Uint8Array {
  return digestOfBytes(object, encodeCbor(value));
}

/** As {@link digestOf}, over bytes that are already canonical or are no CBOR at all. */
export function digestOfBytes(object: string, bytes: Uint8Array): Uint8Array {
  return sha256(utf8(`symphony/${object}/v1`), new Uint8Array(1), bytes);
}
