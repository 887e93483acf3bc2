import { createCipheriv, createDecipheriv } from "node:crypto";

import { concat } from "./bytes.ts";
import { VerificationError } from "./errors.ts";

/** AES-256-GCM tag, whole: a shorter one is easier to forge. NIST SP 800-38D § 5.2.1.2 */
const TAG = { authTagLength: 16 } as const;

/**
 * Encrypts with AES-256-GCM under a key that is used once: the nonce is zero.
 *
 * @param key - 32 bytes, fresh for this message; a second message under it would break both.
 * @returns Ciphertext followed by the 16-byte tag.
 */
export function encryptOnce(key: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, new Uint8Array(12), TAG);
  cipher.setAAD(aad);
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** Reverses {@link encryptOnce}. @throws VerificationError INTERNAL_OPEN_FAILED */
export function decryptOnce(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  // A negative end would count from the end: what holds no whole tag is refused before it is cut.
  const end = sealed.length - TAG.authTagLength;
  if (end < 0) throw openFailed();
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, new Uint8Array(12), TAG);
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(end));
    return concat(decipher.update(sealed.subarray(0, end)), decipher.final());
  } catch {
    throw openFailed();
  }
}

function openFailed(): VerificationError {
  return new VerificationError(
    { code: "INTERNAL_OPEN_FAILED" },
    "sealed value: expected one sealed under this key for this purpose",
  );
}
