import { createHash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import {
  VerificationError,
  bytes32,
  bytesOf,
  defineObject,
  equalBytes,
  identifier,
  natural,
  signerKeyOf,
  unixMs,
  type SignerKeys,
} from "#protocol";
import { z } from "zod";

import { storeUnavailable } from "../../store/index.ts";
import type { VaultContext } from "../vault-context.ts";

/** A backup has one file for each batch and a few more. */
export const BACKUP_FILES_MAX = 500_000;
const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
export const BACKUP_ID_BYTES = 16;

/** Name of the manifest in both folders of a backup. */
export const MANIFEST_FILE = "manifest.cbor";
/** What the files of a backup are called. */
export const STORE_FILE = "vault.db";
export const SECRETS_FILE = "vault-secrets.cbor";
export const KEYS_FILE = "vault-keys.cbor";

const fileSchema = z.strictObject({
  /** Which of the two folders it is in. */
  part: z.enum(["data", "keys"]),
  name: z.string().regex(/^(batches\/[0-9a-f]{32}\.batch|vault\.db|vault-(secrets|keys)\.cbor)$/),
  bytes: natural,
  digest: bytes32,
});

const manifestSchema = z.strictObject({
  version: z.literal(1),
  vault_id: identifier,
  backup_id: bytesOf(BACKUP_ID_BYTES),
  created_ms: unixMs,
  /** Version of the store's schema. */
  schema_version: natural,
  /** The head of the Vault's log in the store that was copied. */
  log: z.strictObject({ size: natural, root: bytes32 }),
  files: z.array(fileSchema).max(BACKUP_FILES_MAX),
});

/** A file of a backup: where, how long, and the SHA-256 of it. */
export type BackupFile = z.infer<typeof fileSchema>;
/** What a backup holds. */
export type BackupManifest = z.infer<typeof manifestSchema>;

/** Signed by the Vault. */
export const BACKUP_MANIFEST = defineObject("backup-manifest", manifestSchema, MANIFEST_BYTES_MAX);

/** The two folders of a backup: what opens nothing by itself, and what opens it. Absolute. */
export interface BackupFolders {
  readonly data: string;
  readonly keys: string;
}

/** Whose backup it must be, signed with one of its keys. */
export interface BackupOwner extends SignerKeys {
  readonly vaultId: string;
}

/** A Vault as the owner of its backups. */
export function ownerOf({ vaultId, signingKey, formerKeys }: VaultContext): BackupOwner {
  return { vaultId, publicKey: signingKey.publicKey, formerKeys };
}

/**
 * The manifest in `folder`, once its Vault has signed it.
 *
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID; MalformedError; UnavailableError INTERNAL_STORE_UNAVAILABLE
 * when there is none.
 */
export function readManifest(folder: string, owner: BackupOwner): BackupManifest {
  const file = path.join(folder, MANIFEST_FILE);
  let signed: Uint8Array;
  try {
    const { size } = fs.statSync(file);
    if (size > MANIFEST_BYTES_MAX) throw new Error(`a manifest of ${size} bytes`);
    signed = new Uint8Array(fs.readFileSync(file));
  } catch (cause) {
    throw storeUnavailable(file, cause);
  }
  const manifest = BACKUP_MANIFEST.verify(signed, signerKeyOf(signed, owner));
  if (manifest.vault_id === owner.vaultId) return manifest;
  throw damagedBackup(file, `a backup of ${owner.vaultId}`, `one of ${manifest.vault_id}`);
}

/** The one manifest of both folders. @throws as {@link readManifest}; INTERNAL_BACKUP_DAMAGED when they differ */
export function readManifests(folders: BackupFolders, owner: BackupOwner): BackupManifest {
  const manifest = readManifest(folders.data, owner);
  const keys = readManifest(folders.keys, owner);
  if (equalBytes(manifest.backup_id, keys.backup_id)) return manifest;
  throw damagedBackup(folders.keys, "the keys of this backup", "those of another");
}

/** Reads a file in pieces of 1 MiB. */
export async function* piecesOf(file: string): AsyncGenerator<Uint8Array> {
  const stream: AsyncIterable<Uint8Array> = fs.createReadStream(file, {
    highWaterMark: CHUNK_BYTES,
  });
  yield* stream;
}

/**
 * Writes a new file, mode 0600, durable when the promise resolves.
 *
 * @returns How long it is, and its SHA-256.
 */
export async function writeNew(
  file: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Pick<BackupFile, "bytes" | "digest">> {
  const handle = await fs.promises.open(file, "wx", 0o600);
  try {
    const measured = await measure(pieces, async (piece) => {
      await handle.writeFile(piece);
    });
    await handle.sync();
    return measured;
  } catch (cause) {
    await fs.promises.rm(file);
    throw cause;
  } finally {
    await handle.close();
  }
}

/** Length and SHA-256 of what comes in pieces, each of which is handed to `use`. */
export async function measure(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  use: (piece: Uint8Array) => Promise<void> = () => Promise.resolve(),
): Promise<Pick<BackupFile, "bytes" | "digest">> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of pieces) {
    await use(piece);
    hash.update(piece);
    bytes += piece.length;
  }
  return { bytes, digest: new Uint8Array(hash.digest()) };
}

/** @throws {@link VerificationError} INTERNAL_BACKUP_DAMAGED when a file is not the one of the manifest */
export function requireSame(
  place: string,
  expected: BackupFile,
  actual: Pick<BackupFile, "bytes" | "digest">,
): void {
  if (actual.bytes === expected.bytes && equalBytes(actual.digest, expected.digest)) return;
  throw damagedBackup(place, `the ${expected.bytes} bytes of the manifest`, "others");
}

/** The error of a backup that is not what its Vault signed. */
export function damagedBackup(file: string, expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "INTERNAL_BACKUP_DAMAGED", file },
    `backup ${file}: expected ${expected}, got ${got}`,
  );
}

/** Makes what happened in a folder durable. */
export function syncFolder(folder: string): void {
  const descriptor = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
