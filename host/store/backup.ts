import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync, backup } from "node:sqlite";

import { ConflictError, UnavailableError } from "#protocol";

import { storeUnavailable, translateStoreError } from "./store-errors.ts";

/** Pages of 4 096 bytes that are copied between two looks at everything else. */
const STEP_PAGES = 1_024;

/** How far a backup is, in pages of the database. */
export interface BackupProgress {
  readonly pagesDone: number;
  readonly pagesTotal: number;
}

/** Copies a database that is being written to `target`; see {@link backupStore}. */
export type BackUp = (target: string, report: (progress: BackupProgress) => void) => Promise<void>;

const backUpOf = new WeakMap<object, BackUp>();

/** Whether {@link backupStore} can copy the store. */
export function hasBackUp(store: object): boolean {
  return backUpOf.has(store);
}

/** Says how `store` is backed up. */
export function setBackUp(store: object, backUp: BackUp): void {
  backUpOf.set(store, backUp);
}

/**
 * Copies a store as it is now into the new file `target` (mode 0600), while writes go on. The copy is whole and on disk
 * when the promise resolves, and `target` does not exist before. It is restored by opening it as a store.
 *
 * A copy of a Vault's store is as secret as the store. What a restored store has spent since must be found elsewhere.
 *
 * @param report - Called every few megabytes.
 * @throws {@link ConflictError} INTERNAL_STORE_UNAVAILABLE when `target` exists.
 * @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE when it cannot be written or the store is no SQLite file;
 * INTERNAL_STORE_BUSY while another backup of the store runs.
 */
export async function backupStore(
  store: object,
  target: string,
  report: (progress: BackupProgress) => void = () => undefined,
): Promise<void> {
  const backUp = backUpOf.get(store);
  if (backUp === undefined) {
    throw new UnavailableError(
      { code: "INTERNAL_STORE_UNAVAILABLE", reason: "the database has backups of its own" },
      "store backup: expected a store in a SQLite file, got one that its database server backs up",
    );
  }
  await backUp(path.resolve(target), report);
}

/** The backups of the SQLite file `file`, one at a time; `settled` waits for the one that runs. */
export function sqliteBackups(file: string): {
  readonly backUp: BackUp;
  readonly settled: () => Promise<void>;
} {
  let running: Promise<void> | undefined;
  return {
    backUp: async (target, report) => {
      if (running !== undefined) throw busy(file);
      running = copy(file, target, report);
      try {
        await running;
      } finally {
        running = undefined;
      }
    },
    settled: async () => {
      await running?.catch(() => undefined);
    },
  };
}

async function copy(
  file: string,
  target: string,
  report: (progress: BackupProgress) => void,
): Promise<void> {
  const partial = `${target}.partial`;
  try {
    requireAbsent(target);
    // What a backup left that did not end.
    for (const left of [partial, `${partial}-journal`]) fs.rmSync(left, { force: true });
    fs.closeSync(fs.openSync(partial, "wx", 0o600));
    await copySnapshot(file, partial, report);
    sync(partial);
    fs.renameSync(partial, target);
    sync(path.dirname(target));
  } catch (cause) {
    fs.rmSync(partial, { force: true });
    throw translateStoreError(target, asSystem(target, cause));
  }
}

/** A transaction holds the snapshot: without it SQLite would start again after every write. */
async function copySnapshot(
  file: string,
  partial: string,
  report: (progress: BackupProgress) => void,
): Promise<void> {
  const source = new DatabaseSync(file, { readOnly: true });
  try {
    source.exec("BEGIN; SELECT count(*) FROM sqlite_schema");
    await backup(source, partial, {
      rate: STEP_PAGES,
      progress: ({ totalPages, remainingPages }) =>
        report({ pagesDone: totalPages - remainingPages, pagesTotal: totalPages }),
    });
  } finally {
    source.close();
  }
}

function sync(file: string): void {
  const descriptor = fs.openSync(file, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Faults of the file system, besides those of SQLite, are the disk's. */
function asSystem(target: string, cause: unknown): unknown {
  const isSystem = cause instanceof Error && "syscall" in cause;
  return isSystem ? storeUnavailable(target, cause) : cause;
}

function requireAbsent(target: string): void {
  if (!fs.existsSync(target)) return;
  throw new ConflictError(
    { code: "INTERNAL_STORE_UNAVAILABLE", file: target, reason: "the file exists" },
    `store backup ${target}: expected a new file, got one that exists`,
  );
}

function busy(file: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_BUSY", file },
    `store ${file}: expected no other backup to run, got one that does`,
  );
}
