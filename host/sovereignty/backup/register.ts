import * as fs from "node:fs";

import { bytesOf, defineObject, equalBytes, hex, identifier, signerKeyOf, unixMs } from "#protocol";
import { z } from "zod";

import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { writeDurably } from "../custody/secrets.ts";
import { BACKUP_ID_BYTES, type BackupOwner } from "./manifest.ts";
import type { BackupTables } from "./tables.ts";

/** Backups that are not destroyed. */
export const BACKUPS_MAX = 256;
/** Destroyed ones that are listed. */
const DESTROYED_LISTED_MAX = 256;
const REGISTER_BYTES_MAX = 64 * 1024;

const registerSchema = z.strictObject({
  version: z.literal(1),
  vault_id: identifier,
  at_ms: unixMs,
  /** Backups that may be restored. */
  backups: z.array(bytesOf(BACKUP_ID_BYTES)).max(BACKUPS_MAX),
});

const BACKUP_REGISTER = defineObject("backup-register", registerSchema, REGISTER_BYTES_MAX);

/** A row of the register. */
export type RegisteredBackup = Omit<BackupTables["backup"], "position"> & {
  readonly position: number;
};

/** Where the register of the Vault with these secrets is. */
export function registerFileOf(secretsFile: string): string {
  return `${secretsFile}.backups`;
}

/**
 * Writes beside the Vault's secrets which backups may be restored, signed: it outlives the store. Durable when this
 * returns.
 */
export async function writeRegister({
  store,
  places,
  vaultId,
  nowMs,
  signingKey,
}: VaultContext): Promise<void> {
  const rows = await store.db
    .selectFrom("backup")
    .select("backup_id")
    .where("state", "in", ["making", "whole"])
    .orderBy("position")
    .execute();
  const backups = rows.map(({ backup_id }) => backup_id);
  if (backups.length === 0 && !fs.existsSync(places.registerFile)) return;
  const register = { version: 1 as const, vault_id: vaultId, at_ms: nowMs(), backups };
  writeDurably(places.registerFile, BACKUP_REGISTER.sign(register, signingKey));
}

/**
 * Whether the register in `file` says that a backup may be restored; undefined without a register.
 *
 * @throws VerificationError PROOF_SIGNATURE_INVALID for one that another has signed; MalformedError
 */
export function isRestorable(
  file: string,
  args: BackupOwner & { readonly backupId: Uint8Array },
): boolean | undefined {
  if (!fs.existsSync(file)) return undefined;
  const signed = new Uint8Array(fs.readFileSync(file));
  const { vault_id, backups } = BACKUP_REGISTER.verify(signed, signerKeyOf(signed, args));
  return vault_id === args.vaultId && backups.some((each) => equalBytes(each, args.backupId));
}

/** Backups that are not destroyed, oldest first, then the last destroyed ones. */
export async function registeredBackups(db: Reading): Promise<RegisteredBackup[]> {
  const rows = db.selectFrom("backup").selectAll();
  const kept = await rows.where("state", "!=", "destroyed").orderBy("position").execute();
  const gone = await rows
    .where("state", "=", "destroyed")
    .orderBy("position", "desc")
    .limit(DESTROYED_LISTED_MAX)
    .execute();
  return [...kept, ...gone];
}

/** A backup as its operator sees it. */
export interface BackupView {
  /** 32 hexadecimal digits. */
  readonly backup_id: string;
  /** `outstanding`: expired, and somewhere it is still there. */
  readonly state: "making" | "whole" | "outstanding" | "destroyed";
  readonly directory: string;
  readonly keys_directory: string;
  readonly created_ms: number;
  readonly log_size: number;
  readonly bytes: number;
  readonly expired_ms: number | null;
  readonly destroyed_by: "vault" | "operator" | null;
}

/** What the operator sees of a row. */
export function viewOf(row: RegisteredBackup): BackupView {
  const { backup_id, state, directory, keys_directory } = row;
  const { created_ms, log_size, bytes, expired_ms, destroyed_by } = row;
  return {
    backup_id: hex(backup_id),
    state: state === "expired" ? "outstanding" : state,
    ...{ directory, keys_directory, created_ms, log_size, bytes, expired_ms, destroyed_by },
  };
}
