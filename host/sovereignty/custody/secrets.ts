import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import {
  ConflictError,
  bytesOf,
  concat,
  decodeCbor,
  digestOfBytes,
  encodeCbor,
  equalBytes,
  hkdf,
  hmacSha256,
  parseWith,
  utf8,
} from "#protocol";
import { z } from "zod";

import { readPrivateFile } from "./private-file.ts";

const FILE_BYTES_MAX = 4096;
const ROOT_BYTES = 32;

const secretsSchema = z.strictObject({
  version: z.literal(1),
  subject_key: bytesOf(ROOT_BYTES),
  batch_root: bytesOf(ROOT_BYTES),
  consent_root: bytesOf(ROOT_BYTES),
  noise_root: bytesOf(ROOT_BYTES),
});

/** The Vault's own secrets: they never leave its machine, but for what a slice enclave needs of one task. */
export interface VaultSecrets {
  /** Pseudonym of a subject in this Vault: HMAC of the trimmed NFC value of its subject attribute. */
  subjectId(subject: string): Uint8Array;
  /** Key of the pseudonyms, for a thread that makes many; see `Pseudonyms`. */
  readonly subjectKey: KeyObject;
  /** Secret under which the data key of one batch stays wrapped. */
  batchSecret(batchId: Uint8Array): Uint8Array;
  /** Key of the commitment to the consent bitmap of one task. */
  consentKey(requestDigest: Uint8Array): Uint8Array;
  /** Noise share of one round of one task, for its recorded inputs alone. */
  noiseShare(reference: NoiseReference): Uint8Array;
  /** Hides a set of subjects in the Vault's log, where it can be told again but not guessed. */
  subjectSetCommitment(encodedSet: Uint8Array): Uint8Array;
  /** Names a column outside the Vault, where its own name could be guessed from a digest. 32 bytes. */
  localColumnId(recordScope: string, column: string): Uint8Array;
  /** Key of the noise of what is said about a column in a window. 32 bytes. */
  candidateNoise(reference: CandidateReference): Uint8Array;
  /** Tells these secrets from others; reveals nothing of them. */
  readonly fingerprint: Uint8Array;
}

/** What a noise share belongs to. */
export interface NoiseReference {
  readonly requestDigest: Uint8Array;
  readonly inputCommitment: Uint8Array;
  readonly round: number;
}

/** What the noise of a candidate summary belongs to. */
export interface CandidateReference {
  readonly recordScope: string;
  readonly column: string;
  readonly window: { readonly first_epoch: number; readonly last_epoch: number };
}

/**
 * Reads the secrets in `file`, or creates them and the folder they are in: mode 0600, durable before this returns.
 *
 * @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED when others than the owner may read the file.
 * @throws MalformedError SCHEMA_CONFIG_MALFORMED, SCHEMA_CBOR_MALFORMED for another content.
 */
export function openSecrets(file: string, random: (bytes: number) => Uint8Array): VaultSecrets {
  if (!fs.existsSync(file)) createSecrets(file, random);
  const content = decodeCbor(readPrivateFile(file, FILE_BYTES_MAX), FILE_BYTES_MAX);
  return secretsOf(parseWith(secretsSchema, content, "secrets", "SCHEMA_CONFIG_MALFORMED"));
}

/** Refuses secrets that are not those of the store. @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED */
export function requireSameSecrets(secrets: VaultSecrets, recorded: Uint8Array): void {
  if (equalBytes(secrets.fingerprint, recorded)) return;
  throw new ConflictError(
    { code: "SCHEMA_CONFIG_MALFORMED" },
    "vault secrets: expected the secrets that this store was made with, got others",
  );
}

function secretsOf(roots: z.infer<typeof secretsSchema>): VaultSecrets {
  // Made once: an ingest asks for a pseudonym per record, and a key from bytes costs more than the HMAC itself.
  const subjectKey = createSecretKey(roots.subject_key);
  const derive = (root: Uint8Array, purpose: string, ...context: Uint8Array[]): Uint8Array =>
    hkdf(root, concat(utf8(`symphony/${purpose}/v1`), ...context));
  return {
    subjectId: (subject) => pseudonymOf(subjectKey, subject),
    subjectKey,
    batchSecret: (batchId) => derive(roots.batch_root, "batch-secret", batchId),
    consentKey: (requestDigest) => derive(roots.consent_root, "consent-key", requestDigest),
    noiseShare: ({ requestDigest, inputCommitment, round }) =>
      derive(roots.noise_root, "noise-share", requestDigest, inputCommitment, encodeCbor(round)),
    subjectSetCommitment: (set) =>
      hmacSha256(derive(roots.consent_root, "subject-set-key"), digestOfBytes("subject-set", set)),
    localColumnId: (recordScope, column) =>
      derive(roots.consent_root, "local-column-id", encodeCbor([recordScope, column])),
    candidateNoise: ({ recordScope, column, window }) =>
      derive(
        roots.noise_root,
        "candidate-noise",
        encodeCbor([recordScope, column, window.first_epoch, window.last_epoch]),
      ),
    fingerprint: digestOfBytes("vault-secrets", encodeCbor(roots)),
  };
}

/** HMAC-SHA-256 of the trimmed NFC value of a subject attribute; 32 bytes. */
export function pseudonymOf(key: KeyObject, subject: string): Uint8Array {
  const value = subject.normalize("NFC").trim();
  return new Uint8Array(createHmac("sha256", key).update(value, "utf8").digest());
}

function createSecrets(file: string, random: (bytes: number) => Uint8Array): void {
  const content = encodeCbor({
    version: 1,
    subject_key: random(ROOT_BYTES),
    batch_root: random(ROOT_BYTES),
    consent_root: random(ROOT_BYTES),
    noise_root: random(ROOT_BYTES),
  });
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeDurably(file, content);
}

/**
 * Writes a file that is whole or absent after a crash: to a temporary name, synced, then renamed. Mode 0600. When it
 * fails, what was there is still there, and nothing else.
 */
export function writeDurably(file: string, content: Uint8Array): void {
  const temporary = `${file}.tmp`;
  const handle = fs.openSync(temporary, "w", 0o600);
  try {
    // A disk that is nearly full takes a part and says so by a count: this goes on until it refuses.
    fs.writeFileSync(handle, content);
    fs.fsyncSync(handle);
  } catch (cause) {
    fs.rmSync(temporary);
    throw cause;
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(temporary, file);
  const folder = fs.openSync(path.dirname(file), "r");
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}
