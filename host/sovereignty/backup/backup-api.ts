import type { CustodyProgress } from "../custody/key-runs.ts";
import type { VaultContext } from "../vault-context.ts";
import { expireBackup } from "./expire.ts";
import { makeBackup } from "./make.ts";
import { ownerOf, type BackupFolders } from "./manifest.ts";
import { registeredBackups, viewOf, type BackupView } from "./register.ts";
import { verifyBackup } from "./restore.ts";

type Report = (progress: CustodyProgress) => void;

/** What a backup was found to hold. */
export interface VerifiedBackup {
  readonly backup_id: Uint8Array;
  readonly created_ms: number;
  readonly log_size: number;
  readonly files: number;
  readonly bytes: number;
}

/** Backups of one Vault. Each call is described at the function that it stands for. */
export interface BackupApi {
  make(folders: BackupFolders, report?: Report): Promise<BackupView>;
  /** Backups that are not destroyed, oldest first, then the last 256 destroyed ones. */
  list(): Promise<BackupView[]>;
  verify(folders: BackupFolders, report?: Report): Promise<VerifiedBackup>;
  expire(args: { readonly backupId: Uint8Array; readonly confirmed: boolean }): Promise<BackupView>;
}

/** See {@link BackupApi}. `alone` runs one piece of long work of the Vault at a time: keys do not change meanwhile. */
export function backupsOf(
  context: VaultContext,
  alone: <T>(work: () => Promise<T>) => Promise<T>,
): BackupApi {
  const owner = ownerOf(context);
  return {
    make: (folders, report = silent) => alone(() => makeBackup(context, folders, report)),
    list: async () => (await registeredBackups(context.store.db)).map(viewOf),
    verify: async (folders, report = silent) => {
      const { backup_id, created_ms, log, files } = await verifyBackup(folders, owner, report);
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      return { backup_id, created_ms, log_size: log.size, files: files.length, bytes };
    },
    expire: (args) => alone(() => expireBackup(context, args)),
  };
}

function silent(): void {}
