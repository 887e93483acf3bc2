import { ConflictError, RefusedError, hex } from "#protocol";

import { lastPosition, type Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { finish } from "./make.ts";
import { viewOf, writeRegister, type BackupView, type RegisteredBackup } from "./register.ts";
import { discard, manifestIn, removeFolder } from "./remove.ts";

/** What became of the backups that held an erased subject, by their ids. */
export interface ExpiredBackups {
  readonly destroyed: readonly Uint8Array[];
  /** Expired, and not known to be gone: their files are not where they were put. */
  readonly outstanding: readonly Uint8Array[];
}

/**
 * Expires every backup that has a batch which the erasure has sealed anew, and removes those whose files are where they
 * were put. None of them is restored any more from here on. Done again it goes on.
 */
export async function expireBackupsOf(
  context: VaultContext,
  erasureId: number,
): Promise<ExpiredBackups> {
  const { store, nowMs } = context;
  await store.write(async (trx) => {
    const first = await trx
      .selectFrom("erasure_batch")
      .innerJoin("batch", "batch.batch_id", "erasure_batch.batch_id")
      .select("batch.position")
      .where("erasure_id", "=", erasureId)
      .orderBy("batch.position")
      .limit(1)
      .executeTakeFirst();
    if (first === undefined) return;
    await trx
      .updateTable("backup")
      .set({ state: "expired", expired_ms: nowMs(), erasure_id: erasureId })
      .where("state", "=", "whole")
      .where("last_batch", ">=", first.position)
      .execute();
  });
  await writeRegister(context);
  const expired = await store.db
    .selectFrom("backup")
    .selectAll()
    .where("erasure_id", "=", erasureId)
    .orderBy("position")
    .execute();
  const left: RegisteredBackup[] = [];
  for (const backup of expired) left.push(await remove(context, backup));
  const ids = (isGone: boolean): Uint8Array[] =>
    left.filter(({ state }) => (state === "destroyed") === isGone).map(({ backup_id: id }) => id);
  return { destroyed: ids(true), outstanding: ids(false) };
}

/** How many backups an erasure expired, and how many of them are not known to be gone. */
export async function backupsExpiredBy(
  db: Reading,
  erasureId: number,
): Promise<{ readonly expired: number; readonly outstanding: number }> {
  const rows = await db
    .selectFrom("backup")
    .select("state")
    .where("erasure_id", "=", erasureId)
    .execute();
  const outstanding = rows.filter(({ state }) => state !== "destroyed").length;
  return { expired: rows.length, outstanding };
}

/**
 * Ends a backup: it is not restored any more, and its files go. Where they are not reachable, `confirmed` says that the
 * operator has destroyed every copy.
 *
 * @throws {@link RefusedError} INTERNAL_BACKUP_UNKNOWN; {@link ConflictError} INTERNAL_BACKUP_OUTSTANDING when files are
 * not reachable and that is not confirmed: the backup is expired then.
 */
export async function expireBackup(
  context: VaultContext,
  args: { readonly backupId: Uint8Array; readonly confirmed: boolean },
): Promise<BackupView> {
  const { store, nowMs } = context;
  const { backupId, confirmed } = args;
  const backup = await store.write(async (trx) => {
    await trx
      .updateTable("backup")
      .set({ state: "expired", expired_ms: nowMs() })
      .where("backup_id", "=", backupId)
      .where("state", "=", "whole")
      .execute();
    return await trx
      .selectFrom("backup")
      .selectAll()
      .where("backup_id", "=", backupId)
      .where("state", "!=", "making")
      .executeTakeFirst();
  });
  if (backup === undefined) {
    throw new RefusedError(
      { code: "INTERNAL_BACKUP_UNKNOWN" },
      "backup: expected one of this Vault's register",
    );
  }
  await writeRegister(context);
  const left = await remove(context, backup);
  if (left.state === "destroyed") return viewOf(left);
  if (confirmed) return viewOf(await destroyed(context, backupId, "operator"));
  throw new ConflictError(
    { code: "INTERNAL_BACKUP_OUTSTANDING", backup_id: hex(backupId) },
    `backup ${hex(backupId)}: expected its files in ${backup.directory} and ${backup.keys_directory}, got none of it there: destroy every copy, then confirm it`,
  );
}

/**
 * Brings the register to what is on disk after any end of the process: a backup whose files are all in place is whole,
 * what else was being made is removed. One whose batches cannot be told any more is taken to hold every one.
 */
export async function recoverBackups(context: VaultContext): Promise<void> {
  const { store } = context;
  const interrupted = await store.db
    .selectFrom("backup")
    .selectAll()
    .where("state", "=", "making")
    .execute();
  for (const backup of interrupted) {
    const { backup_id: backupId } = backup;
    const manifest = manifestIn(context, backup.directory, backupId);
    if (manifest === undefined) await discard(context, backup);
    else {
      const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      const last_batch = await lastPosition(store.db);
      await finish(context, backupId, { bytes, last_batch, log_size: manifest.log.size });
    }
  }
  await writeRegister(context);
}

/** Removes what is there of an expired backup, and notes it. */
async function remove(context: VaultContext, backup: RegisteredBackup): Promise<RegisteredBackup> {
  if (backup.state === "destroyed") return backup;
  const { backup_id: backupId } = backup;
  const gone = {
    keys_gone: backup.keys_gone === 1 || removeFolder(context, backup, "keys") ? 1 : 0,
    data_gone: backup.data_gone === 1 || removeFolder(context, backup, "data") ? 1 : 0,
  };
  if (gone.keys_gone === 1 && gone.data_gone === 1) {
    return await destroyed(context, backupId, "vault");
  }
  await context.store.write((trx) =>
    trx.updateTable("backup").set(gone).where("backup_id", "=", backupId).execute(),
  );
  return backup;
}

async function destroyed(
  { store, log }: VaultContext,
  backupId: Uint8Array,
  by: "vault" | "operator",
): Promise<RegisteredBackup> {
  return await store.write(async (trx) => {
    const row = await trx
      .updateTable("backup")
      .set({ state: "destroyed", destroyed_by: by })
      .where("backup_id", "=", backupId)
      .returningAll()
      .executeTakeFirstOrThrow();
    const body = { backup_id: backupId, by };
    await log.append(trx, { type: "backup.destroyed", taskId: null, body });
    return row;
  });
}
