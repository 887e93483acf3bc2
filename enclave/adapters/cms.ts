import {
  constants,
  createDecipheriv,
  privateDecrypt,
  randomBytes,
  type KeyObject,
} from "node:crypto";

import { MalformedError, concat, hex } from "#protocol";

import { parseBer, type BerElement } from "./ber.ts";

/**
 * The largest blob accepted. What is inside has at most 4096 bytes (KMS API Reference, Encrypt) and a private
 * key of RSA_4096 about 2400; the envelope adds about 500.
 */
export const CMS_BYTES_MAX = 16 * 1024;

/** Contents of object identifiers, in hex. */
const OID = {
  envelopedData: "2a864886f70d010703",
  data: "2a864886f70d010701",
  rsaOaep: "2a864886f70d010107",
  mgf1: "2a864886f70d010108",
  sha256: "608648016503040201",
  aes256Cbc: "60864801650304012a",
} as const;
const RSA_2048_BYTES = 256;
const AES_KEY_BYTES = 32;
const IV_BYTES = 16;
/** A SHA-1 or a SHA-256; genuine blobs have the latter. */
const SKI_BYTES = [20, 32];

interface Envelope {
  readonly encryptedKey: Uint8Array;
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * Opens the `CiphertextForRecipient` of a KMS response with the enclave's RSA-2048 key.
 *
 * CMS EnvelopedData in BER (KMS writes indefinite lengths): one recipient, named by key identifier;
 * RSAES-OAEP with SHA-256 and MGF1-SHA-256; AES-256-CBC, in parts or whole. Nothing else is accepted. The
 * identifier is not compared: KMS does not say how it forms it, and the key either opens the blob or not.
 * CBC is not authenticated, so whoever wraps a data key must bind it elsewhere. A wrong key, a wrong OAEP
 * block and wrong CBC padding give the same error after the same work: with a key that does not unwrap, a
 * random one decrypts.
 *
 * @param blob - BER; at most {@link CMS_BYTES_MAX} bytes.
 * @returns The plaintext; the caller owns and zeroes it.
 * @throws {@link MalformedError} TEE_KMS_MALFORMED
 * @see RFC 5652 § 6, RFC 8017 § A.2.1; AWS KMS API Reference, RecipientInfo
 */
export function openCiphertextForRecipient(blob: Uint8Array, rsaPrivateKey: KeyObject): Uint8Array {
  if (blob.length > CMS_BYTES_MAX) throw malformed(`at most ${CMS_BYTES_MAX} bytes`);
  const { encryptedKey, iv, ciphertext } = parseEnvelope(parseBer(blob));
  const unwrapped = unwrapKey(encryptedKey, rsaPrivateKey);
  const key = unwrapped ?? randomBytes(AES_KEY_BYTES);
  try {
    const plaintext = decryptOrNull(ciphertext, key, iv);
    if (unwrapped === null || plaintext === null) throw malformed("a blob for this key");
    return plaintext;
  } finally {
    key.fill(0);
  }
}

function unwrapKey(encryptedKey: Uint8Array, key: KeyObject): Uint8Array | null {
  const options = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" } as const;
  try {
    const unwrapped = privateDecrypt(options, encryptedKey);
    return unwrapped.length === AES_KEY_BYTES ? unwrapped : null;
  } catch {
    return null;
  }
}

function decryptOrNull(ciphertext: Uint8Array, key: Uint8Array, iv: Uint8Array): Uint8Array | null {
  const decipher = createDecipheriv("aes-256-cbc", key, iv);
  const first = decipher.update(ciphertext);
  try {
    const last = decipher.final();
    const plaintext = concat(first, last);
    last.fill(0);
    return plaintext;
  } catch {
    return null;
  } finally {
    first.fill(0);
  }
}

/** Identifier octets of what an envelope consists of. */
const TAG = {
  integer: 0x02,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context1: 0xa1,
  context0Primitive: 0x80,
} as const;

function parseEnvelope(info: BerElement): Envelope {
  const [contentType, content, ...beside] = parts(info, TAG.sequence);
  if (beside.length > 0) throw malformed("a type and a content");
  if (oid(contentType) !== OID.envelopedData) throw malformed("envelopedData");
  const [enveloped, ...others] = parts(content, TAG.context0);
  if (others.length > 0) throw malformed("one content");
  const [version, recipients, encrypted, ...attributes] = parts(enveloped, TAG.sequence);
  if (attributes.length > 0) throw malformed("no attributes");
  if (integer(version) !== "02") throw malformed("version 2 of EnvelopedData");
  const [recipient, ...more] = parts(recipients, TAG.set);
  if (more.length > 0) throw malformed("one recipient");
  return { encryptedKey: parseRecipient(recipient), ...parseEncrypted(encrypted) };
}

function parseRecipient(recipient: BerElement | undefined): Uint8Array {
  const [version, rid, algorithm, key, ...beside] = parts(recipient, TAG.sequence);
  if (beside.length > 0) throw malformed("a recipient of four fields");
  if (integer(version) !== "02") throw malformed("version 2 of a recipient");
  const identifier = octets(rid, TAG.context0Primitive);
  if (!SKI_BYTES.includes(identifier.length)) throw malformed("a key identifier");
  expectOaepSha256(algorithm);
  const encryptedKey = octets(key, TAG.octetString);
  if (encryptedKey.length !== RSA_2048_BYTES) throw malformed("an encrypted key of 256 bytes");
  return encryptedKey;
}

function expectOaepSha256(algorithm: BerElement | undefined): void {
  const [name, parameters, ...beside] = parts(algorithm, TAG.sequence);
  if (beside.length > 0) throw malformed("an algorithm and its parameters");
  if (oid(name) !== OID.rsaOaep) throw malformed("RSAES-OAEP");
  const [hash, mask, ...label] = parts(parameters, TAG.sequence);
  if (label.length > 0) throw malformed("OAEP without a label");
  const [digest, ...digests] = parts(hash, TAG.context0);
  if (digests.length > 0) throw malformed("one OAEP digest");
  expectSha256(digest);
  const [generator, ...generators] = parts(mask, TAG.context1);
  if (generators.length > 0) throw malformed("one mask generation function");
  const [function0, maskDigest, ...beyond] = parts(generator, TAG.sequence);
  if (beyond.length > 0) throw malformed("a mask generation function of one digest");
  if (oid(function0) !== OID.mgf1) throw malformed("MGF1");
  expectSha256(maskDigest);
}

/** Its parameters are absent or NULL (RFC 5754 § 2). */
function expectSha256(algorithm: BerElement | undefined): void {
  const [name, parameters, ...beside] = parts(algorithm, TAG.sequence);
  if (beside.length > 0) throw malformed("a digest and its parameters");
  if (oid(name) !== OID.sha256) throw malformed("SHA-256");
  if (parameters !== undefined && parameters.tag !== TAG.null) throw malformed("no parameters");
}

function parseEncrypted(info: BerElement | undefined): Pick<Envelope, "iv" | "ciphertext"> {
  const [contentType, algorithm, content, ...beside] = parts(info, TAG.sequence);
  if (beside.length > 0) throw malformed("encrypted content of three fields");
  if (oid(contentType) !== OID.data) throw malformed("encrypted data");
  const [name, parameters, ...more] = parts(algorithm, TAG.sequence);
  if (more.length > 0) throw malformed("a cipher and its IV");
  if (oid(name) !== OID.aes256Cbc) throw malformed("AES-256-CBC");
  const iv = octets(parameters, TAG.octetString);
  if (iv.length !== IV_BYTES) throw malformed(`an IV of ${IV_BYTES} bytes`);
  const ciphertext =
    content?.tag === TAG.context0
      ? concat(...content.parts.map((part) => octets(part, TAG.octetString)))
      : octets(content, TAG.context0Primitive);
  return { iv, ciphertext };
}

function parts(element: BerElement | undefined, tag: number): readonly BerElement[] {
  return expectTag(element, tag).parts;
}

function octets(element: BerElement | undefined, tag: number): Uint8Array {
  return expectTag(element, tag).content;
}

function oid(element: BerElement | undefined): string {
  return hex(octets(element, TAG.oid));
}

function integer(element: BerElement | undefined): string {
  return hex(octets(element, TAG.integer));
}

function expectTag(element: BerElement | undefined, tag: number): BerElement {
  if (element === undefined) throw malformed("another field");
  if (element.tag !== tag) throw malformed(`tag 0x${tag.toString(16)}`);
  return element;
}

function malformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "TEE_KMS_MALFORMED" },
    `cms: expected ${expected}, got something else`,
  );
}
