import { constants, createCipheriv, createPublicKey, publicEncrypt } from "node:crypto";

import { concat, fromHex, sha256 } from "#protocol";

/** Encodes one DER element with a one-octet tag. X.690 § 8.1, § 10.1 */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  const { length } = content;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), content);
  if (length < 0x100) return concat(Uint8Array.of(tag, 0x81, length), content);
  return concat(Uint8Array.of(tag, 0x82, length >> 8, length & 0xff), content);
}

/** One indefinite-length BER element (X.690 § 8.1.3.6). */
function ber(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  return concat(Uint8Array.of(tag, 0x80), ...contents, Uint8Array.of(0, 0));
}

const OID = {
  envelopedData: fromHex("06092a864886f70d010703"),
  data: fromHex("06092a864886f70d010701"),
  rsaOaep: fromHex("06092a864886f70d010107"),
  mgf1: fromHex("06092a864886f70d010108"),
  sha256: fromHex("0609608648016503040201"),
  aes256Cbc: fromHex("060960864801650304012a"),
} as const;
const NULL = fromHex("0500");
const VERSION_2 = fromHex("020102");

/** What to seal, to whom, and the 48 random bytes it takes: a key and an IV. */
export interface CmsSpec {
  readonly plaintext: Uint8Array;
  /** RSA-2048 SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly random: (bytes: number) => Uint8Array;
}

/**
 * Seals `plaintext` as KMS does for a recipient: CMS EnvelopedData, RSAES-OAEP with SHA-256, AES-256-CBC, in
 * BER with indefinite lengths where genuine blobs have them.
 *
 * @see RFC 5652 § 6.1
 */
export function sealForRecipient({ plaintext, spki, random }: CmsSpec): Uint8Array {
  const key = random(32);
  const iv = random(16);
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  const ciphertext = concat(cipher.update(plaintext), cipher.final());
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const encryptedKey = publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" },
    key,
  );
  key.fill(0);
  return envelope({ rid: sha256(spki), encryptedKey, iv, ciphertext });
}

function envelope(parts: {
  rid: Uint8Array;
  encryptedKey: Uint8Array;
  iv: Uint8Array;
  ciphertext: Uint8Array;
}): Uint8Array {
  const hash = der(0x30, OID.sha256, NULL);
  const oaep = der(
    0x30,
    OID.rsaOaep,
    der(0x30, der(0xa0, hash), der(0xa1, der(0x30, OID.mgf1, hash))),
  );
  const recipient = der(0x30, VERSION_2, der(0x80, parts.rid), oaep, der(0x04, parts.encryptedKey));
  const encrypted = ber(
    0x30,
    OID.data,
    der(0x30, OID.aes256Cbc, der(0x04, parts.iv)),
    ber(0xa0, der(0x04, parts.ciphertext)),
  );
  const content = ber(0x30, VERSION_2, der(0x31, recipient), encrypted);
  return ber(0x30, OID.envelopedData, ber(0xa0, content));
}
