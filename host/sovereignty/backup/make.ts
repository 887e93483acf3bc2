import * as fs from "node:fs";
import path from "node:path";

import { ConflictError, LimitError, UnavailableError, hex } from "#protocol";

import { openStore, sideFiles, snapshotStore, storeUnavailable } from "../../store/index.ts";
import type { CustodyProgress } from "../custody/key-runs.ts";
import { VAULT_MIGRATIONS, type VaultSchema } from "../schema.ts";
import type { VaultContext } from "../vault-context.ts";
import {
  BACKUP_FILES_MAX,
  BACKUP_ID_BYTES,
  BACKUP_MANIFEST,
  KEYS_FILE,
  MANIFEST_FILE,
  SECRETS_FILE,
  STORE_FILE,
  measure,
  piecesOf,
  syncFolder,
  writeNew,
  type BackupFile,
  type BackupFolders,
} from "./manifest.ts";
import { BACKUPS_MAX, viewOf, writeRegister, type BackupView } from "./register.ts";
import { discard, partialOf } from "./remove.ts";

type Report = (progress: CustodyProgress) => void;

/** What a snapshot of the store says about itself. */
interface Snapshot {
  readonly batches: readonly { readonly name: string; readonly id: Uint8Array; root: Uint8Array }[];
  readonly lastBatch: number;
  readonly logSize: number;
}

interface Filled extends Snapshot {
  readonly bytes: number;
}

/** A backup that is being made, in folders that carry its id until they are whole. */
interface Making {
  readonly backupId: Uint8Array;
  readonly folders: BackupFolders;
  readonly partial: BackupFolders;
}

/**
 * Copies the Vault as it is now into two new folders: `data` gets the store and the sealed batches, which open nothing;
 * `keys` gets the Vault's secrets and, where a file is their custody, its master keys. Whoever has both reads every
 * record. What unfinished ingests have staged is left out: its source comes again. The Vault works meanwhile.
 *
 * The folders appear under their names when all is durable, the data last. A backup whose making was interrupted is
 * removed at the next start.
 *
 * @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED for folders that exist, or lie in one another or in the Vault's;
 * {@link LimitError} SCHEMA_TOO_LARGE with 256 backups; {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE.
 */
export async function makeBackup(
  context: VaultContext,
  folders: BackupFolders,
  report: Report,
): Promise<BackupView> {
  requirePlaces(context, folders);
  const backupId = context.random(BACKUP_ID_BYTES);
  const making = { backupId, folders, partial: partialOf(folders, backupId) };
  await begin(context, making);
  let sizes: Filled;
  try {
    await writeRegister(context);
    sizes = await fill(context, making, report);
    putInPlace(making);
  } catch (cause) {
    const { data: directory, keys: keys_directory } = folders;
    await discard(context, { backup_id: backupId, directory, keys_directory });
    throw cause instanceof Error && "syscall" in cause
      ? storeUnavailable(folders.data, cause)
      : cause;
  }
  // What fails from here on, the next start finishes.
  const { bytes, lastBatch, logSize } = sizes;
  return await finish(context, backupId, { bytes, last_batch: lastBatch, log_size: logSize });
}

function requirePlaces({ places }: VaultContext, { data, keys }: BackupFolders): void {
  const isInside = (inner: string, outer: string): boolean =>
    !path.relative(outer, inner).startsWith("..");
  const isApart =
    path.isAbsolute(data) &&
    path.isAbsolute(keys) &&
    !isInside(keys, data) &&
    !isInside(data, keys) &&
    !isInside(data, places.directory) &&
    !isInside(keys, places.directory);
  if (!isApart) {
    throw refusedPlace("two absolute folders, apart from each other and from the Vault's own");
  }
  for (const folder of [data, keys]) {
    if (fs.existsSync(folder)) throw refusedPlace(`a new folder, got ${folder}, which exists`);
  }
}

function refusedPlace(expected: string): ConflictError {
  return new ConflictError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "directory" },
    `backup: expected ${expected}`,
  );
}

async function begin({ store, nowMs }: VaultContext, making: Making): Promise<void> {
  await store.write(async (trx) => {
    const kept = await trx
      .selectFrom("backup")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .where("state", "!=", "destroyed")
      .executeTakeFirstOrThrow();
    if (kept.count >= BACKUPS_MAX) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", max: BACKUPS_MAX },
        `backup: expected at most ${BACKUPS_MAX} that are not destroyed: expire old ones`,
      );
    }
    await trx
      .insertInto("backup")
      .values({
        backup_id: making.backupId,
        directory: making.folders.data,
        keys_directory: making.folders.keys,
        ...{ state: "making", created_ms: nowMs(), last_batch: 0, log_size: 0, bytes: 0 },
        ...{ data_gone: 0, keys_gone: 0 },
        ...{ expired_ms: null, erasure_id: null, destroyed_by: null },
      })
      .execute();
  });
}

async function fill(
  context: VaultContext,
  { backupId, partial }: Making,
  report: Report,
): Promise<Filled> {
  const { store, log, files: batchFiles, vaultId, signingKey, nowMs } = context;
  for (const folder of [partial.data, partial.keys]) fs.mkdirSync(folder, { mode: 0o700 });
  fs.mkdirSync(path.join(partial.data, "batches"), { mode: 0o700 });
  const storeFile = path.join(partial.data, STORE_FILE);
  await snapshotStore({ store, file: storeFile, migrations: VAULT_MIGRATIONS });
  const snapshot = await readSnapshot(storeFile, backupId);
  const files: BackupFile[] = [await described(storeFile, "data", STORE_FILE)];
  for (const [done, { name, id, root }] of snapshot.batches.entries()) {
    const file = path.join(partial.data, name);
    const written = await writeNew(file, [await batchFiles.read(id, root)]);
    files.push({ part: "data", name, ...written });
    report({ done: done + 1, total: snapshot.batches.length });
  }
  for (const [name, from] of keyFilesOf(context)) {
    const written = await writeNew(path.join(partial.keys, name), piecesOf(from));
    files.push({ part: "keys", name, ...written });
  }
  const manifest = BACKUP_MANIFEST.sign(
    {
      ...{ version: 1, vault_id: vaultId, backup_id: backupId, created_ms: nowMs() },
      schema_version: VAULT_MIGRATIONS.length,
      log: { size: snapshot.logSize, root: log.root(snapshot.logSize) },
      files,
    },
    signingKey,
  );
  syncFolder(path.join(partial.data, "batches"));
  for (const folder of [partial.keys, partial.data]) {
    await writeNew(path.join(folder, MANIFEST_FILE), [manifest]);
    syncFolder(folder);
  }
  return { ...snapshot, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Files of the second folder by their names there. */
function keyFilesOf({ places, custody }: VaultContext): (readonly [string, string])[] {
  const secrets = [SECRETS_FILE, places.secretsFile] as const;
  return custody.keyFile === null ? [secrets] : [secrets, [KEYS_FILE, custody.keyFile]];
}

async function described(
  file: string,
  part: BackupFile["part"],
  name: string,
): Promise<BackupFile> {
  return { part, name, ...(await measure(piecesOf(file))) };
}

/** Reads a copied store, and has it say that the backup it is in is whole: for whoever restores it, it is. */
async function readSnapshot(file: string, backupId: Uint8Array): Promise<Snapshot> {
  const copy = await openStore<VaultSchema>({
    at: { kind: "sqlite", file },
    migrations: VAULT_MIGRATIONS,
  });
  try {
    const rows = await copy.db
      .selectFrom("batch")
      .leftJoin("ingest_run", "ingest_run.ingest_id", "batch.ingest_id")
      .select(["batch_id", "sealed_id", "root", "position"])
      .where((where) =>
        where.or([where("published", "=", 1), where("ingest_run.source_digest", "is not", null)]),
      )
      .orderBy("position")
      .limit(BACKUP_FILES_MAX)
      .execute();
    requireRoom(rows.length);
    const { count: logSize } = await copy.db
      .selectFrom("actor_log")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow();
    const lastBatch = rows.at(-1)?.position ?? 0;
    await copy.write((trx) =>
      trx
        .updateTable("backup")
        .set({ state: "whole", last_batch: lastBatch, log_size: logSize })
        .where("backup_id", "=", backupId)
        .execute(),
    );
    const batches = rows.map(({ batch_id, sealed_id, root }) => {
      const id = sealed_id ?? batch_id;
      return { name: `batches/${hex(id)}.batch`, id, root };
    });
    return { batches, lastBatch, logSize };
  } finally {
    await copy.close();
    for (const left of sideFiles(file).slice(1)) fs.rmSync(left, { force: true });
  }
}

function requireRoom(batches: number): void {
  // Store, secrets and keys are files too.
  if (batches <= BACKUP_FILES_MAX - 3) return;
  throw new LimitError(
    { code: "SCHEMA_TOO_LARGE", max: BACKUP_FILES_MAX },
    `backup: expected at most ${BACKUP_FILES_MAX} files`,
  );
}

/** The data last: with it the backup is there. */
function putInPlace({ folders, partial }: Making): void {
  for (const part of ["keys", "data"] as const) {
    // A rename puts nothing in the place of a folder that holds something.
    fs.renameSync(partial[part], folders[part]);
    syncFolder(path.dirname(folders[part]));
  }
}

/** Says in the register and in the log that a backup is there. */
export async function finish(
  { store, log }: VaultContext,
  backupId: Uint8Array,
  sizes: { readonly bytes: number; readonly last_batch: number; readonly log_size: number },
): Promise<BackupView> {
  return await store.write(async (trx) => {
    const row = await trx
      .updateTable("backup")
      .set({ state: "whole", ...sizes })
      .where("backup_id", "=", backupId)
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) throw gone();
    const body = { backup_id: backupId, log_size: sizes.log_size };
    await log.append(trx, { type: "backup.made", taskId: null, body });
    return viewOf(row);
  });
}

function gone(): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE" },
    "backup: expected it in the Vault's register",
  );
}
