import { hash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import { ConflictError, RefusedError, equalBytes, hex } from "#protocol";

import {
  importStore,
  openStore,
  sideFiles,
  storeUnavailable,
  type StorePlace,
} from "../../store/index.ts";
import { openSecrets } from "../custody/secrets.ts";
import { ordinalOf } from "../queries.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "../schema.ts";
import {
  KEYS_FILE,
  SECRETS_FILE,
  STORE_FILE,
  measure,
  piecesOf,
  readManifests,
  requireSame,
  syncFolder,
  writeNew,
  type BackupFolders,
  type BackupManifest,
  type BackupOwner,
} from "./manifest.ts";
import { RESTORED } from "../witness/own-head.ts";
import { isRestorable } from "./register.ts";

/** Where a Vault is put back: its configuration's places. */
export interface RestorePlaces {
  readonly directory: string;
  readonly store: StorePlace;
  readonly secretsFile: string;
  /** Null where no file is the custody of keys. */
  readonly keyFile: string | null;
}

/** What {@link restoreBackup} needs. */
export interface Restore {
  readonly from: BackupFolders;
  readonly owner: BackupOwner;
  readonly to: RestorePlaces;
  /** The Vault's register of backups; see `writeRegister`. */
  readonly registerFile: string;
  /** Without a register: who was erased since the backup was made, maybe nobody; null when that was not said. */
  readonly erasedSince: AsyncIterable<string> | null;
  readonly nowMs: () => number;
  readonly report: (progress: { readonly done: number; readonly total: number }) => void;
}

/** What was put back. */
export interface Restored {
  readonly backup_id: string;
  readonly created_ms: number;
  /** Events of the log that came back: what others have cosigned beyond them freezes the Vault. */
  readonly log_size: number;
  readonly files: number;
  readonly bytes: number;
  /** Subjects that the Vault erases, when it starts, because they were erased after the backup. */
  readonly erasures: number;
}

/**
 * Verifies that both folders hold what their Vault signed, every byte of it.
 *
 * @throws VerificationError INTERNAL_BACKUP_DAMAGED, PROOF_SIGNATURE_INVALID; UnavailableError INTERNAL_STORE_UNAVAILABLE
 * for what is not there.
 */
export async function verifyBackup(
  folders: BackupFolders,
  owner: BackupOwner,
  report: Restore["report"],
): Promise<BackupManifest> {
  const manifest = readManifests(folders, owner);
  for (const [done, file] of manifest.files.entries()) {
    const place = path.join(folders[file.part], file.name);
    requireSame(place, file, await measured(place));
    report({ done: done + 1, total: manifest.files.length });
  }
  return manifest;
}

/**
 * Puts a Vault back from a backup, into places where none is. Everything is verified while it is copied; the store comes
 * last, so that a Vault whose restoring was interrupted does not start, and is restored again.
 *
 * A backup that was expired is refused: a subject that was erased does not come back. Where the register that says so is
 * lost, the operator names who was erased since; the Vault erases them when it starts. What was spent after the backup
 * is not known here: the Vault starts unconfirmed, and its witnesses freeze it.
 *
 * @throws {@link RefusedError} INTERNAL_BACKUP_EXPIRED; {@link ConflictError} SCHEMA_CONFIG_MALFORMED for places that are
 * in use; as {@link verifyBackup}.
 */
export async function restoreBackup(args: Restore): Promise<Restored> {
  const { from, owner, to, report } = args;
  const manifest = readManifests(from, owner);
  requireRestorable(args, manifest);
  requireEmpty(to, manifest);
  const staging = path.join(to.directory, `restoring-${hex(manifest.backup_id)}`);
  try {
    fs.mkdirSync(to.directory, { recursive: true, mode: 0o700 });
    fs.rmSync(staging, { recursive: true, force: true });
    fs.mkdirSync(path.join(staging, "batches"), { recursive: true, mode: 0o700 });
    for (const [done, file] of manifest.files.entries()) {
      const source = path.join(from[file.part], file.name);
      requireSame(source, file, await writeNew(path.join(staging, file.name), piecesOf(source)));
      report({ done: done + 1, total: manifest.files.length });
    }
    const erasures = await prepareStore(args, staging, manifest.backup_id);
    await putInPlace(to, staging, manifest);
    const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
    return {
      backup_id: hex(manifest.backup_id),
      created_ms: manifest.created_ms,
      log_size: manifest.log.size,
      files: manifest.files.length,
      ...{ bytes, erasures },
    };
  } catch (cause) {
    throw cause instanceof Error && "syscall" in cause
      ? storeUnavailable(to.directory, cause)
      : cause;
  } finally {
    fs.rmSync(staging, { recursive: true, force: true });
  }
}

function requireRestorable(
  { owner, registerFile, erasedSince }: Restore,
  { backup_id: backupId, created_ms }: BackupManifest,
): void {
  const restorable = isRestorable(registerFile, { backupId, ...owner });
  if (restorable === true) return;
  if (restorable === undefined && erasedSince !== null) return;
  const made = new Date(created_ms).toISOString();
  throw new RefusedError(
    { code: "INTERNAL_BACKUP_EXPIRED", backup_id: hex(backupId) },
    restorable === false
      ? `backup ${hex(backupId)}: expected one that the Vault's register holds, got one that was expired: a subject in it was erased`
      : `backup ${hex(backupId)}: expected the Vault's register of backups at ${registerFile}, or a list of who was erased since ${made}, which may be empty`,
  );
}

/** Nothing of a Vault is there, but for what an interrupted restore of this backup has left. */
function requireEmpty(to: RestorePlaces, manifest: BackupManifest): void {
  const { directory, secretsFile, keyFile } = to;
  for (const file of sideFiles(path.join(directory, STORE_FILE))) {
    if (fs.existsSync(file)) throw inUse(file);
  }
  const names = new Set(manifest.files.map(({ name }) => name));
  const batches = path.join(directory, "batches");
  const present = fs.existsSync(batches) ? fs.readdirSync(batches) : [];
  const stranger = present.find((name) => !names.has(`batches/${name}`));
  if (stranger !== undefined) throw inUse(path.join(batches, stranger));
  for (const [file, name] of [
    [secretsFile, SECRETS_FILE],
    [keyFile, KEYS_FILE],
  ] as const) {
    const held = manifest.files.find((each) => each.name === name);
    if ((file === null) !== (held === undefined)) {
      throw inUse(`key_custody of another kind than in the backup, whose ${name} has no place`);
    }
    if (file === null || held === undefined || !fs.existsSync(file)) continue;
    if (!equalBytes(hash("sha256", fs.readFileSync(file), "buffer"), held.digest))
      throw inUse(file);
  }
}

function inUse(got: string): ConflictError {
  return new ConflictError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "directory" },
    `restore: expected places where no Vault is, got ${got}`,
  );
}

/** Records in the copied store that it is one, and who is to be erased when it starts. @returns how many of its subjects */
async function prepareStore(args: Restore, staging: string, backupId: Uint8Array): Promise<number> {
  const { erasedSince, nowMs } = args;
  const file = path.join(staging, STORE_FILE);
  const secrets = openSecrets(path.join(staging, SECRETS_FILE), () => {
    throw new Error("expected the secrets of the backup");
  });
  const store = await openStore<VaultSchema>({
    at: { kind: "sqlite", file },
    migrations: VAULT_MIGRATIONS,
  });
  let erasures = 0;
  try {
    await store.write((trx) =>
      trx
        .insertInto("vault_meta")
        .values({ name: RESTORED, value: backupId })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: backupId }))
        .execute(),
    );
    for await (const subject of erasedSince ?? []) {
      const ordinal = await ordinalOf(store.db, secrets.subjectId(subject));
      if (ordinal === undefined) continue;
      erasures += 1;
      await store.write((trx) =>
        trx.insertInto("erasure").values({ ordinal, started_ms: nowMs(), done_ms: null }).execute(),
      );
    }
  } finally {
    await store.close();
    for (const left of sideFiles(file).slice(1)) fs.rmSync(left, { force: true });
  }
  return erasures;
}

/** Batches and keys first, then the store, with which the Vault is there. */
async function putInPlace(
  to: RestorePlaces,
  staging: string,
  manifest: BackupManifest,
): Promise<void> {
  const batches = path.join(to.directory, "batches");
  fs.mkdirSync(batches, { recursive: true, mode: 0o700 });
  for (const { name } of manifest.files) {
    if (name.startsWith("batches/")) {
      fs.renameSync(path.join(staging, name), path.join(to.directory, name));
    }
  }
  syncFolder(batches);
  await place(path.join(staging, SECRETS_FILE), to.secretsFile);
  if (to.keyFile !== null) await place(path.join(staging, KEYS_FILE), to.keyFile);
  const file = path.join(staging, STORE_FILE);
  if (to.store.kind === "sqlite") {
    await place(file, to.store.file);
    return;
  }
  const isNew = await importStore({ file, at: to.store, migrations: VAULT_MIGRATIONS });
  if (!isNew) throw inUse(`a schema ${to.store.schema} that holds a store`);
}

/** Whole under its name or not there, also on another disk than `from`. */
async function place(from: string, to: string): Promise<void> {
  if (fs.existsSync(to)) return;
  fs.mkdirSync(path.dirname(to), { recursive: true, mode: 0o700 });
  const temporary = `${to}.restoring`;
  fs.rmSync(temporary, { force: true });
  await writeNew(temporary, piecesOf(from));
  fs.renameSync(temporary, to);
  syncFolder(path.dirname(to));
}

async function measured(file: string): ReturnType<typeof measure> {
  try {
    return await measure(piecesOf(file));
  } catch (cause) {
    throw storeUnavailable(file, cause);
  }
}
