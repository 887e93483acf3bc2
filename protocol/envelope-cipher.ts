import { createCipheriv, createDecipheriv } from "node:crypto";

import { concat } from "./bytes.ts";
import { VerificationError } from "./errors.ts";

/**
 * Encrypts with AES-256-GCM under a key that is used once: the nonce is zero.
 *
 * @param key - 32 bytes, fresh for this message; a second message under it would break both.
 * @returns Ciphertext followed by the 16-byte tag.
 */
export function encryptOnce(key: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, new Uint8Array(12));
  cipher.setAAD(aad);
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** Reverses {@link encryptOnce}. @throws VerificationError INTERNAL_OPEN_FAILED */
export function decryptOnce(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, new Uint8Array(12));
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(sealed.length - 16));
    return concat(decipher.update(sealed.subarray(0, sealed.length - 16)), decipher.final());
  } catch {
    throw new VerificationError(
      { code: "INTERNAL_OPEN_FAILED" },
      "sealed value: expected one sealed under this key for this purpose",
    );
  }
}
