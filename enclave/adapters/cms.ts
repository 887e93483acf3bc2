import {
  constants,
  createDecipheriv,
  privateDecrypt,
  randomBytes,
  type KeyObject,
} from "node:crypto";

import forge from "node-forge";

import { MalformedError, concat } from "#protocol";

/** The largest blob accepted: KMS plaintexts have at most 4096 bytes, the envelope about 500. */
export const CMS_BYTES_MAX = 16 * 1024;

const OID = {
  envelopedData: "1.2.840.113549.1.7.3",
  data: "1.2.840.113549.1.7.1",
  rsaOaep: "1.2.840.113549.1.1.7",
  mgf1: "1.2.840.113549.1.1.8",
  sha256: "2.16.840.1.101.3.4.2.1",
  aes256Cbc: "2.16.840.1.101.3.4.1.42",
} as const;
const RSA_2048_BYTES = 256;
const AES_KEY_BYTES = 32;
const IV_BYTES = 16;
const SKI_BYTES_MIN = 20;
const SKI_BYTES_MAX = 32;

type Node = forge.asn1.Asn1;
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
 * block and wrong CBC padding give the same error after the same work.
 *
 * @param blob - BER; at most {@link CMS_BYTES_MAX} bytes.
 * @returns The plaintext; the caller owns and zeroes it.
 * @throws {@link MalformedError} TEE_KMS_MALFORMED
 * @see RFC 5652 § 6; AWS KMS API Reference, RecipientInfo
 */
export function openCiphertextForRecipient(blob: Uint8Array, rsaPrivateKey: KeyObject): Uint8Array {
  const { encryptedKey, iv, ciphertext } = parseEnvelope(blob);
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
    return concat(first, decipher.final());
  } catch {
    return null;
  } finally {
    first.fill(0);
  }
}

function parseEnvelope(blob: Uint8Array): Envelope {
  if (blob.length > CMS_BYTES_MAX) throw malformed(`at most ${CMS_BYTES_MAX} bytes`);
  const [contentType, content, ...rest] = children(parseBer(blob), TAG.sequence);
  if (rest.length > 0 || oid(contentType) !== OID.envelopedData) throw malformed("envelopedData");
  const [enveloped, ...others] = children(content, TAG.context0);
  if (others.length > 0) throw malformed("one content");
  const [version, recipients, encrypted, ...attributes] = children(enveloped, TAG.sequence);
  if (attributes.length > 0) throw malformed("no attributes");
  expectVersion(version);
  const [recipient, ...more] = children(recipients, TAG.set);
  if (more.length > 0) throw malformed("one recipient");
  return { encryptedKey: parseRecipient(recipient), ...parseEncrypted(encrypted) };
}

function parseRecipient(recipient: Node | undefined): Uint8Array {
  const [version, rid, algorithm, key, ...rest] = children(recipient, TAG.sequence);
  expectVersion(version);
  const { length } = octets(rid, TAG.context0Primitive);
  if (length < SKI_BYTES_MIN || length > SKI_BYTES_MAX) throw malformed("a key identifier");
  expectOaepSha256(algorithm);
  const encryptedKey = octets(key, TAG.octetString);
  if (rest.length > 0 || encryptedKey.length !== RSA_2048_BYTES) {
    throw malformed(`an encrypted key of ${RSA_2048_BYTES} bytes`);
  }
  return encryptedKey;
}

function expectOaepSha256(algorithm: Node | undefined): void {
  const [name, parameters, ...rest] = children(algorithm, TAG.sequence);
  const [hash, mask, ...more] = children(parameters, TAG.sequence);
  const [hashAlgorithm] = children(hash, TAG.context0);
  const [maskAlgorithm] = children(mask, TAG.context1);
  const [maskName, maskHash] = children(maskAlgorithm, TAG.sequence);
  const exact = rest.length === 0 && more.length === 0;
  if (!exact || oid(name) !== OID.rsaOaep || oid(maskName) !== OID.mgf1) {
    throw malformed("RSAES-OAEP");
  }
  for (const each of [hashAlgorithm, maskHash]) {
    if (oid(children(each, TAG.sequence)[0]) !== OID.sha256) throw malformed("OAEP with SHA-256");
  }
}

function parseEncrypted(info: Node | undefined): Pick<Envelope, "iv" | "ciphertext"> {
  const [contentType, algorithm, content, ...rest] = children(info, TAG.sequence);
  const [name, ivNode, ...more] = children(algorithm, TAG.sequence);
  if (rest.length > 0 || more.length > 0 || oid(contentType) !== OID.data) {
    throw malformed("encrypted data");
  }
  if (oid(name) !== OID.aes256Cbc) throw malformed("AES-256-CBC");
  const iv = octets(ivNode, TAG.octetString);
  if (iv.length !== IV_BYTES) throw malformed(`an IV of ${IV_BYTES} bytes`);
  const ciphertext = isTagged(content, TAG.context0)
    ? concat(...children(content, TAG.context0).map((part) => octets(part, TAG.octetString)))
    : octets(content, TAG.context0Primitive);
  if (ciphertext.length === 0 || ciphertext.length % IV_BYTES !== 0) {
    throw malformed("whole cipher blocks");
  }
  return { iv, ciphertext };
}

/** Identifier octets of X.690 § 8.1.2: class, constructed bit, number. */
const TAG = {
  integer: 0x02,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context1: 0xa1,
  context0Primitive: 0x80,
} as const;

function parseBer(blob: Uint8Array): Node {
  try {
    return forge.asn1.fromDer(Buffer.from(blob).toString("latin1"), true);
  } catch (cause) {
    throw new MalformedError({ code: "TEE_KMS_MALFORMED" }, "cms: expected BER, got other bytes", {
      cause,
    });
  }
}

function isTagged(node: Node | undefined, tag: number): node is Node {
  if (node === undefined) return false;
  return (node.tagClass | (node.constructed ? 0x20 : 0) | node.type) === tag;
}

function children(node: Node | undefined, tag: number): readonly Node[] {
  if (!isTagged(node, tag) || typeof node.value === "string") throw malformed("another structure");
  return node.value;
}

function octets(node: Node | undefined, tag: number): Uint8Array {
  if (!isTagged(node, tag) || typeof node.value !== "string") throw malformed("another structure");
  return Uint8Array.from(Buffer.from(node.value, "latin1"));
}

function oid(node: Node | undefined): string {
  const content = Buffer.from(octets(node, TAG.oid)).toString("latin1");
  return forge.asn1.derToOid(forge.util.createBuffer(content));
}

function expectVersion(node: Node | undefined): void {
  const value = octets(node, TAG.integer);
  if (value.length !== 1 || value[0] !== 2) throw malformed("version 2");
}

function malformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "TEE_KMS_MALFORMED" },
    `cms: expected ${expected}, got something else`,
  );
}
