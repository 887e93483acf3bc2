import {
  createPrivateKey,
  createPublicKey,
  sign as cryptoSign,
  verify as cryptoVerify,
  type KeyObject,
} from "node:crypto";

import { z } from "zod";

import { concat, equalBytes, fromHex, hex } from "./bytes.ts";
import {
  CBOR_BYTES_MAX,
  decodeCbor,
  decodeCborHeader,
  encodeCbor,
  encodeCborHeader,
  type CborValue,
} from "./cbor.ts";
import { MalformedError, VerificationError } from "./errors.ts";
import { sha256 } from "./hash.ts";

/** Bytes of an Ed25519 public key, and of the seed of a private one. RFC 8032 § 5.1.5 */
export const ED25519_KEY_BYTES = 32;

/** Bytes of an Ed25519 signature. RFC 8032 § 5.1.6 */
export const ED25519_SIGNATURE_BYTES = 64;

/** Bytes of a key id before hex: the front of SHA-256 of the raw public key. */
export const KEY_ID_BYTES = 16;

/** DER in front of a raw key. RFC 8410 § 4 (public) and § 7 (private) */
const SPKI_PREFIX = fromHex("302a300506032b6570032100");
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");

/** COSE labels and the EdDSA algorithm. RFC 9052 § 3.1, RFC 9053 § 2.2 */
const LABEL_ALGORITHM = 1;
const LABEL_CONTENT_TYPE = 3;
const LABEL_KEY_ID = 4;
const ALGORITHM_EDDSA = -8;

/** What follows the content type inside the media type; the version of every signed object so far. */
const MEDIA_TYPE_PREFIX = "application/vnd.symphony.";
const MEDIA_TYPE_SUFFIX = ".v1+cbor";
const CONTENT_TYPE = /^[a-z][a-z0-9-]{0,63}$/;

/** An Ed25519 key pair that signs for one actor or session. */
export interface SigningKey {
  /** {@link keyIdOf} the public key: 32 hex digits. */
  readonly keyId: string;
  /** The raw public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** The id of a raw public key: the first 16 bytes of its SHA-256, in hex. */
export function keyIdOf(publicKey: Uint8Array): string {
  return hex(sha256(publicKey).subarray(0, KEY_ID_BYTES));
}

/**
 * The key pair of a 32-byte seed. The seed is copied into the key object; wiping it stays with the caller.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when the seed has another length.
 * @see RFC 8032 § 5.1.5
 */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  requireKeyLength("signing key seed", seed);
  const der = concat(PKCS8_PREFIX, seed);
  const privateKey = createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
  der.fill(0);
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
  return { keyId: keyIdOf(publicKey), publicKey, privateKey };
}

/**
 * The verification key of 32 raw bytes.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when the key has another length.
 */
export function verificationKey(publicKey: Uint8Array): KeyObject {
  requireKeyLength("public key", publicKey);
  const der = Buffer.from(concat(SPKI_PREFIX, publicKey));
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

/** The plain Ed25519 signature of `message`, 64 bytes. Callers bring their own domain separation. */
export function signBytes(message: Uint8Array, key: SigningKey): Uint8Array {
  return new Uint8Array(cryptoSign(null, message, key.privateKey));
}

/** Whether `signature` is `publicKey`'s plain Ed25519 signature of `message`. */
export function isSignature(claim: {
  readonly message: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}): boolean {
  if (claim.signature.length !== ED25519_SIGNATURE_BYTES) return false;
  return cryptoVerify(null, claim.message, verificationKey(claim.publicKey), claim.signature);
}

/**
 * Signs `payload` as an untagged, deterministic COSE_Sign1.
 *
 *     [ protected: bstr { 1: -8, 3: "application/vnd.symphony.<contentType>.v1+cbor", 4: key id },
 *       unprotected: {},
 *       payload: bstr,
 *       signature: bstr, 64 bytes ]
 *
 * The content type is under the signature and keeps one kind of object from passing for another.
 *
 * @param contentType - Lower-case letters, digits and hyphens; 1 to 64.
 * @throws {@link MalformedError} SCHEMA_MALFORMED for another content type.
 * @see RFC 9052 § 4.2, § 4.4; RFC 9053 § 2.2
 */
export function signCose(args: {
  readonly contentType: string;
  readonly payload: Uint8Array;
  readonly key: SigningKey;
}): Uint8Array {
  const header = encodeProtected(args.contentType, args.key.keyId);
  const signature = signBytes(toBeSigned(header, args.payload), args.key);
  return encodeCbor([header, {}, args.payload, signature]);
}

/** The public keys that one signer has had. */
export interface SignerKeys {
  /** The present one. */
  readonly publicKey: Uint8Array;
  /** Those that it gave up, oldest first. */
  readonly formerKeys: readonly Uint8Array[];
}

/**
 * The key by which a signer signed `signed`: the former one that it names, and otherwise the present one, which then
 * maybe did not sign it. Verifies nothing.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE; {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function signerKeyOf(signed: Uint8Array, { publicKey, formerKeys }: SignerKeys): Uint8Array {
  const { keyId } = parseCose(signed);
  return formerKeys.find((former) => keyIdOf(former) === keyId) ?? publicKey;
}

/** A COSE_Sign1 as it claims to be; nothing in it is verified. */
export interface ParsedCose {
  readonly contentType: string;
  /** The id of the key that is said to have signed: 32 hex digits. */
  readonly keyId: string;
  readonly payload: Uint8Array;
  /** The protected header as encoded. */
  readonly protectedHeader: Uint8Array;
  readonly signature: Uint8Array;
}

const coseSchema = z.tuple([
  z.instanceof(Uint8Array),
  z.unknown(),
  z.instanceof(Uint8Array),
  z.instanceof(Uint8Array),
]);

/**
 * Parses what {@link signCose} makes, and nothing else: the parts are encoded again and must give `bytes` back,
 * so a tag, an unprotected header, another header field or a longer encoding is refused.
 *
 * @param maxBytes - Size limit of `bytes`, judged first; 64 MiB by default.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED
 */
export function parseCose(bytes: Uint8Array, maxBytes: number = CBOR_BYTES_MAX): ParsedCose {
  const decoded = coseSchema.safeParse(decodeCbor(bytes, maxBytes));
  if (!decoded.success)
    throw coseMalformed("an array of protected, unprotected, payload, signature");
  const [protectedHeader, , payload, signature] = decoded.data;
  if (signature.length !== ED25519_SIGNATURE_BYTES) throw coseMalformed("a 64-byte signature");
  const { contentType, keyId } = parseProtected(protectedHeader);
  const again = encodeCbor([protectedHeader, {}, payload, signature]);
  if (!equalBytes(again, bytes)) throw coseMalformed("an empty unprotected header and no tag");
  return { contentType, keyId, payload, protectedHeader, signature };
}

/**
 * Verifies that `publicKey` signed `bytes` as an object of `contentType`, and returns its payload.
 *
 * @param expected.publicKey - The raw 32-byte key that the caller already trusts; never one from the message.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED when `bytes` is no such COSE_Sign1.
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID for another type, key or signature.
 * @see RFC 9052 § 4.4
 */
export function verifyCose(
  bytes: Uint8Array,
  expected: {
    readonly contentType: string;
    readonly publicKey: Uint8Array;
    readonly maxBytes?: number;
  },
): Uint8Array {
  const parsed = parseCose(bytes, expected.maxBytes);
  if (parsed.contentType !== expected.contentType) {
    throw signatureInvalid(`content type ${expected.contentType}`, parsed.contentType);
  }
  const keyId = keyIdOf(expected.publicKey);
  if (parsed.keyId !== keyId) throw signatureInvalid(`key id ${keyId}`, parsed.keyId);
  const { payload, protectedHeader, signature } = parsed;
  const message = toBeSigned(protectedHeader, payload);
  if (!isSignature({ message, publicKey: expected.publicKey, signature })) {
    throw signatureInvalid(`the signature of key ${keyId}`, "another");
  }
  return payload;
}

function toBeSigned(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeCbor(["Signature1", protectedHeader, new Uint8Array(0), payload]);
}

function encodeProtected(contentType: string, keyId: string): Uint8Array {
  if (!CONTENT_TYPE.test(contentType)) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", contentType },
      `content type: expected 1 to 64 lower-case letters, digits or hyphens, got ${contentType.length} characters`,
    );
  }
  return encodeCborHeader(
    new Map<number, CborValue>([
      [LABEL_ALGORITHM, ALGORITHM_EDDSA],
      [LABEL_CONTENT_TYPE, `${MEDIA_TYPE_PREFIX}${contentType}${MEDIA_TYPE_SUFFIX}`],
      [LABEL_KEY_ID, fromHex(keyId)],
    ]),
  );
}

function parseProtected(bytes: Uint8Array): { contentType: string; keyId: string } {
  const header = decodeCborHeader(bytes);
  const mediaType = header.get(LABEL_CONTENT_TYPE);
  const kid = header.get(LABEL_KEY_ID);
  if (header.get(LABEL_ALGORITHM) !== ALGORITHM_EDDSA) throw coseMalformed("algorithm EdDSA");
  if (typeof mediaType !== "string" || !(kid instanceof Uint8Array)) {
    throw coseMalformed("a content type and a key id");
  }
  const contentType = mediaType.slice(MEDIA_TYPE_PREFIX.length, -MEDIA_TYPE_SUFFIX.length);
  const keyId = hex(kid);
  if (kid.length !== KEY_ID_BYTES || !CONTENT_TYPE.test(contentType)) {
    throw coseMalformed("a content type of Symphony and a key id of 16 bytes");
  }
  if (!equalBytes(encodeProtected(contentType, keyId), bytes)) {
    throw coseMalformed("a protected header with algorithm, content type and key id only");
  }
  return { contentType, keyId };
}

function requireKeyLength(subject: string, bytes: Uint8Array): void {
  if (bytes.length === ED25519_KEY_BYTES) return;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", bytes: bytes.length },
    `${subject}: expected ${ED25519_KEY_BYTES} bytes, got ${bytes.length}`,
  );
}

function coseMalformed(expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CBOR_MALFORMED", expected },
    `cose: expected ${expected}, got another form`,
  );
}

function signatureInvalid(expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_SIGNATURE_INVALID", expected, got },
    `cose: expected ${expected}, got ${got}`,
  );
}
