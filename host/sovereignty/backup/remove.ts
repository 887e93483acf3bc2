import * as fs from "node:fs";
import path from "node:path";

import { SymphonyError, equalBytes, hex } from "#protocol";

import { destroyPrivateFile } from "../custody/private-file.ts";
import type { VaultContext } from "../vault-context.ts";
import {
  MANIFEST_FILE,
  ownerOf,
  readManifest,
  syncFolder,
  type BackupFolders,
  type BackupManifest,
} from "./manifest.ts";
import { writeRegister, type RegisteredBackup } from "./register.ts";

type PlacedBackup = Pick<RegisteredBackup, "backup_id" | "directory" | "keys_directory">;

/** Where the parts of a backup are until they are whole: names that nobody else has. */
export function partialOf({ data, keys }: BackupFolders, backupId: Uint8Array): BackupFolders {
  const suffix = `.${hex(backupId)}.partial`;
  return { data: `${data}${suffix}`, keys: `${keys}${suffix}` };
}

/** Removes what an interrupted making has left, from the disk and from the register. */
export async function discard(context: VaultContext, backup: PlacedBackup): Promise<void> {
  const { backup_id: backupId, directory, keys_directory } = backup;
  const partial = partialOf({ data: directory, keys: keys_directory }, backupId);
  for (const folder of [partial.keys, partial.data]) {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  removeFolder(context, backup, "keys");
  await context.store.write((trx) =>
    trx
      .deleteFrom("backup")
      .where("backup_id", "=", backupId)
      .where("state", "=", "making")
      .execute(),
  );
  await writeRegister(context);
}

/**
 * Removes the files of a backup in one of its folders: those that the manifest names, keys overwritten, the manifest
 * last. False when the folder is not there, or is not that backup's.
 */
export function removeFolder(
  context: VaultContext,
  backup: PlacedBackup,
  part: "data" | "keys",
): boolean {
  const folder = part === "data" ? backup.directory : backup.keys_directory;
  const manifest = manifestIn(context, folder, backup.backup_id);
  if (manifest === undefined) return false;
  for (const file of manifest.files.filter((each) => each.part === part)) {
    const place = path.join(folder, file.name);
    if (!fs.existsSync(place)) continue;
    if (part === "keys") destroyPrivateFile(place, () => fs.rmSync(place));
    else fs.rmSync(place);
  }
  fs.rmSync(path.join(folder, MANIFEST_FILE));
  syncFolder(folder);
  for (const empty of [path.join(folder, "batches"), folder]) removeEmpty(empty);
  return true;
}

/** Removes a folder that holds nothing of others. */
function removeEmpty(folder: string): void {
  try {
    fs.rmdirSync(folder);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw cause;
  }
}

/** The manifest of this very backup in `folder`; undefined when there is none. */
export function manifestIn(
  context: VaultContext,
  folder: string,
  backupId: Uint8Array,
): BackupManifest | undefined {
  try {
    const manifest = readManifest(folder, ownerOf(context));
    return equalBytes(manifest.backup_id, backupId) ? manifest : undefined;
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}
