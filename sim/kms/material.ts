import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPair,
  privateDecrypt,
  publicEncrypt,
  type KeyObject,
} from "node:crypto";
import { promisify } from "node:util";

import { concat, utf8 } from "#protocol";

import type { KeySpec, SimKey } from "./keys.ts";

/** Names and values that a ciphertext is bound to. */
export type EncryptionContext = Readonly<Record<string, string>>;

/** The algorithms an RSA key encrypts with, and the digest of each. */
export const RSA_ALGORITHMS = { RSAES_OAEP_SHA_256: "sha256", RSAES_OAEP_SHA_1: "sha1" } as const;
/** One of {@link RSA_ALGORITHMS}. */
export type RsaAlgorithm = keyof typeof RSA_ALGORITHMS;

/** A new asymmetric key: PKCS #8 and SubjectPublicKeyInfo, both DER. */
export interface KeyPair {
  readonly pkcs8: Uint8Array;
  readonly spki: Uint8Array;
}

const KEY_ID_BYTES = 36;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const CURVES = { ECC_NIST_P256: "P-256", ECC_NIST_P384: "P-384", ECC_NIST_P521: "P-521" } as const;
const generate = promisify(generateKeyPair);

/** Makes a key pair, off the main thread: a long RSA key takes seconds. */
export async function generatePair(spec: Exclude<KeySpec, "SYMMETRIC_DEFAULT">): Promise<KeyPair> {
  const pair =
    spec === "RSA_2048" || spec === "RSA_3072" || spec === "RSA_4096"
      ? await generate("rsa", { modulusLength: Number(spec.slice(4)) })
      : await generate("ec", { namedCurve: CURVES[spec] });
  return {
    pkcs8: new Uint8Array(pair.privateKey.export({ format: "der", type: "pkcs8" })),
    spki: new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" })),
  };
}

/**
 * Encrypts under a symmetric key: 36 bytes of key id, 12 of IV, ciphertext, 16 of tag (AES-256-GCM). The context
 * is authenticated. AWS does not publish its own format; callers must not read this one.
 */
export function encryptUnder(
  key: SimKey,
  plaintext: Uint8Array,
  { context, iv }: { readonly context: EncryptionContext; readonly iv: Uint8Array },
): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key.material, iv);
  cipher.setAAD(associatedData(key, context));
  const body = concat(cipher.update(plaintext), cipher.final());
  return concat(utf8(key.keyId), iv, body, cipher.getAuthTag());
}

/** The id of the key that `ciphertext` names, or null. Not authentic until decrypted. */
export function keyIdOf(ciphertext: Uint8Array): string | null {
  if (ciphertext.length < KEY_ID_BYTES + IV_BYTES + TAG_BYTES) return null;
  const id = Buffer.from(ciphertext.subarray(0, KEY_ID_BYTES)).toString("latin1");
  return /^[0-9a-f-]{36}$/.test(id) ? id : null;
}

/** The plaintext of what {@link encryptUnder} made with the same key and context, or null. */
export function decryptUnder(
  key: SimKey,
  ciphertext: Uint8Array,
  context: EncryptionContext,
): Uint8Array | null {
  const iv = ciphertext.subarray(KEY_ID_BYTES, KEY_ID_BYTES + IV_BYTES);
  const body = ciphertext.subarray(KEY_ID_BYTES + IV_BYTES, -TAG_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key.material, iv, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(associatedData(key, context));
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES));
  return orNull(() => concat(decipher.update(body), decipher.final()));
}

/** JSON, because a context may hold any text that a request can: canonical CBOR has no place for some of it. */
function associatedData({ keyId }: SimKey, context: EncryptionContext): Uint8Array {
  const entries = Object.entries(context).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return utf8(JSON.stringify([keyId, entries]));
}

/** Encrypts with the public half of an RSA key; null when the plaintext is too long for it. */
export function rsaEncrypt(
  key: SimKey,
  plaintext: Uint8Array,
  algorithm: RsaAlgorithm,
): Uint8Array | null {
  return orNull(() => publicEncrypt(oaep(privateKeyOf(key), algorithm), plaintext));
}

/** The plaintext of what {@link rsaEncrypt} made, or null. */
export function rsaDecrypt(
  key: SimKey,
  ciphertext: Uint8Array,
  algorithm: RsaAlgorithm,
): Uint8Array | null {
  return orNull(() => privateDecrypt(oaep(privateKeyOf(key), algorithm), ciphertext));
}

function oaep(key: KeyObject, algorithm: RsaAlgorithm) {
  const oaepHash = RSA_ALGORITHMS[algorithm];
  return { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash } as const;
}

/** The x coordinate of the shared point (SP 800-56A § 5.7.1.2), or null when `spki` is no point of the curve. */
export function deriveShared(key: SimKey, spki: Uint8Array): Uint8Array | null {
  return orNull(() => {
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    return diffieHellman({ privateKey: privateKeyOf(key), publicKey });
  });
}

/** SubjectPublicKeyInfo of an asymmetric key, DER. */
export function publicKeyOf(key: SimKey): Uint8Array {
  const publicKey = createPublicKey(privateKeyOf(key));
  return new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
}

function privateKeyOf({ material }: SimKey): KeyObject {
  return createPrivateKey({ key: Buffer.from(material), format: "der", type: "pkcs8" });
}

function orNull(attempt: () => Uint8Array): Uint8Array | null {
  try {
    return new Uint8Array(attempt());
  } catch {
    return null;
  }
}
