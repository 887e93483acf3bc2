import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_MLKEM768_X25519,
  type Key,
  type KeyPair,
} from "hpke";

import { concat, utf8 } from "./bytes.ts";
import { LimitError, MalformedError, VerificationError } from "./errors.ts";

/** Bytes of a public key, of an encapsulation and of a seed of the hybrid KEM ML-KEM-768 + X25519. */
export const BOX_PUBLIC_KEY_BYTES = 1216;
export const BOX_ENCAPSULATION_BYTES = 1120;
export const BOX_SEED_BYTES = 32;

/** The largest plaintext of one box: 64 MiB. */
export const BOX_PLAINTEXT_BYTES_MAX = 64 * 1024 * 1024;

/** Plaintext bytes in every chunk but the last. */
export const BOX_CHUNK_BYTES = 1024 * 1024;

/** AES-256-GCM tag. NIST SP 800-38D § 5.2.1.2 */
const TAG_BYTES = 16;
const SEALED_BYTES_MAX =
  BOX_ENCAPSULATION_BYTES +
  BOX_PLAINTEXT_BYTES_MAX +
  (BOX_PLAINTEXT_BYTES_MAX / BOX_CHUNK_BYTES) * TAG_BYTES;

let suiteOnce: CipherSuite | undefined;

/** Made at first use: making it prints the platform's experimental warnings, and not every process seals. */
function suite(): CipherSuite {
  suiteOnce ??= new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
  return suiteOnce;
}

let keyOf: (key: BoxPrivateKey) => Key;

/** A private key that only {@link open} can use; it cannot be exported or printed. */
class BoxPrivateKey {
  readonly #key: Key;

  constructor(key: Key) {
    this.#key = key;
  }

  static {
    keyOf = (key) => key.#key;
  }

  toJSON(): string {
    return "[secret]";
  }
}
export type { BoxPrivateKey };

/** An HPKE key pair; the public key is 1216 bytes. */
export interface BoxKeyPair {
  readonly publicKey: Uint8Array;
  readonly privateKey: BoxPrivateKey;
}

/** A fresh key pair. Its randomness comes from the platform, inside the package (see `who may touch`). */
export async function generateBoxKeyPair(): Promise<BoxKeyPair> {
  return boxKeyPair(await suite().GenerateKeyPair(false));
}

/**
 * The key pair of a secret 32-byte seed; equal seeds give equal keys.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when the seed has another length.
 * @see RFC 9180 § 7.1.3
 */
export async function boxKeyPairFromSeed(seed: Uint8Array): Promise<BoxKeyPair> {
  if (seed.length !== BOX_SEED_BYTES) throw wrongLength("box seed", seed.length, BOX_SEED_BYTES);
  return boxKeyPair(await suite().DeriveKeyPair(seed, false));
}

async function boxKeyPair(pair: KeyPair): Promise<BoxKeyPair> {
  const publicKey = await suite().SerializePublicKey(pair.publicKey);
  return { publicKey, privateKey: new BoxPrivateKey(pair.privateKey) };
}

/**
 * Seals `plaintext` to a public key: HPKE base mode with ML-KEM-768 + X25519, HKDF-SHA256, AES-256-GCM.
 *
 *     offset  size      field
 *     0       1120      encapsulation
 *     1120    n_0 + 16  chunk 0: ciphertext and tag
 *     ...               chunks in order, from one context
 *
 * Every chunk but the last holds 1 MiB of plaintext; the last holds the rest, and none only for an empty plaintext.
 * The associated data of chunk i is `aad`, i (u32, big endian), and one byte that is 1 for the last chunk and else 0.
 *
 * @param args.info - Names what is sealed and for which use; the opener must give the same.
 * @param args.aad - What the box belongs to; authenticated, not sent.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above 64 MiB.
 * @throws {@link MalformedError} SCHEMA_MALFORMED for a recipient key that is none, or none to agree with.
 * @see RFC 9180 § 5.1.1, § 5.2
 */
export async function seal(args: {
  readonly to: Uint8Array;
  readonly info: string;
  readonly aad: Uint8Array;
  readonly plaintext: Uint8Array;
}): Promise<Uint8Array> {
  const { plaintext, aad } = args;
  if (plaintext.length > BOX_PLAINTEXT_BYTES_MAX) {
    throw tooLarge("box plaintext", plaintext.length, BOX_PLAINTEXT_BYTES_MAX);
  }
  const to = await parsePublicKey(args.to);
  const sender = await setupSender(to, args.info);
  const parts = [sender.encapsulatedSecret];
  const count = Math.max(1, Math.ceil(plaintext.length / BOX_CHUNK_BYTES));
  for (let i = 0; i < count; i += 1) {
    const chunk = plaintext.subarray(i * BOX_CHUNK_BYTES, (i + 1) * BOX_CHUNK_BYTES);
    parts.push(await sender.ctx.Seal(chunk, chunkAad({ aad, index: i, count })));
  }
  return concat(...parts);
}

/**
 * Opens what {@link seal} made for this key, `info` and `aad`. Returns the whole plaintext or nothing.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link VerificationError} INTERNAL_OPEN_FAILED for everything that does not open; it does not say why.
 * @see RFC 9180 § 5.2
 */
export async function open(args: {
  readonly key: BoxKeyPair;
  readonly info: string;
  readonly aad: Uint8Array;
  readonly sealed: Uint8Array;
}): Promise<Uint8Array> {
  const { sealed, aad, info } = args;
  if (sealed.length > SEALED_BYTES_MAX) throw tooLarge("box", sealed.length, SEALED_BYTES_MAX);
  const body = sealed.subarray(BOX_ENCAPSULATION_BYTES);
  const sealedChunkBytes = BOX_CHUNK_BYTES + TAG_BYTES;
  const count = Math.ceil(body.length / sealedChunkBytes);
  if (body.length < TAG_BYTES || (body.length % sealedChunkBytes === TAG_BYTES && count > 1)) {
    throw openFailed();
  }
  const chunks: Uint8Array[] = [];
  try {
    const encapsulation = sealed.slice(0, BOX_ENCAPSULATION_BYTES);
    const key = keyOf(args.key.privateKey);
    const recipient = await suite().SetupRecipient(key, encapsulation, { info: utf8(info) });
    for (let i = 0; i < count; i += 1) {
      const chunk = body.subarray(i * sealedChunkBytes, (i + 1) * sealedChunkBytes);
      chunks.push(await recipient.Open(chunk, chunkAad({ aad, index: i, count })));
    }
  } catch (cause) {
    throw openFailed(cause);
  }
  return concat(...chunks);
}

/**
 * Opens what {@link seal} made for one of `keys`, as {@link open} does.
 *
 * @param args.keys - Of one recipient, the likeliest first; each costs a trial.
 * @throws as {@link open}; INTERNAL_OPEN_FAILED when none opens it
 */
export async function openByAny(
  args: Omit<Parameters<typeof open>[0], "key"> & { readonly keys: readonly BoxKeyPair[] },
): Promise<Uint8Array> {
  const { keys, ...rest } = args;
  for (const key of keys) {
    try {
      return await open({ ...rest, key });
    } catch (error) {
      if (!(error instanceof VerificationError)) throw error;
    }
  }
  throw openFailed();
}

function chunkAad(args: { aad: Uint8Array; index: number; count: number }): Uint8Array {
  const suffix = new Uint8Array(5);
  const view = new DataView(suffix.buffer);
  view.setUint32(0, args.index);
  view.setUint8(4, args.index === args.count - 1 ? 1 : 0);
  return concat(args.aad, suffix);
}

async function parsePublicKey(bytes: Uint8Array): Promise<Key> {
  if (bytes.length !== BOX_PUBLIC_KEY_BYTES) {
    throw wrongLength("box public key", bytes.length, BOX_PUBLIC_KEY_BYTES);
  }
  try {
    return await suite().DeserializePublicKey(bytes);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED" },
      "box public key: expected an encoded ML-KEM-768 and X25519 key, got other bytes",
      { cause },
    );
  }
}

/** The package finds a public key of low order, which gives no secret, only when it encapsulates. */
async function setupSender(to: Key, info: string): ReturnType<CipherSuite["SetupSender"]> {
  try {
    return await suite().SetupSender(to, { info: utf8(info) });
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", subject: "recipient key" },
      "recipient key: expected one that a secret can be agreed with, got one of low order",
      { cause },
    );
  }
}

function wrongLength(subject: string, got: number, expected: number): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", got, expected },
    `${subject}: expected ${expected} bytes, got ${got}`,
  );
}

function tooLarge(subject: string, bytes: number, maxBytes: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", bytes, maxBytes },
    `${subject}: expected at most ${maxBytes} bytes, got ${bytes}`,
  );
}

function openFailed(cause?: unknown): VerificationError {
  return new VerificationError(
    { code: "INTERNAL_OPEN_FAILED" },
    "box: expected a box for this key, info and associated data, got another",
    { cause },
  );
}
