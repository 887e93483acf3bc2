import * as fs from "node:fs";
import { DatabaseSync } from "node:sqlite";

import { UnavailableError } from "#protocol";

import { isBusy, storeUnavailable } from "./store-errors.ts";

/** A lock that this process holds until it releases it or dies. */
export interface StoreLock {
  release(): void;
}

/**
 * Takes the lock of a store, or refuses at once.
 *
 * The lock is SQLite's own exclusive file lock on a database beside the store, so the operating system frees it when
 * its holder dies, however that happens. The holder's process id is written next to it, for messages only.
 *
 * @throws {@link UnavailableError} INTERNAL_STORE_LOCKED when another holder is alive; INTERNAL_STORE_UNAVAILABLE
 */
export function acquireStoreLock(file: string): StoreLock {
  const holderFile = `${file}.pid`;
  const database = openLockDatabase(`${file}.lock`);
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (cause) {
    database.close();
    throw isBusy(cause) ? locked(file, holderOf(holderFile)) : storeUnavailable(file, cause);
  }
  try {
    fs.writeFileSync(holderFile, `${process.pid}\n`, { mode: 0o600 });
  } catch (cause) {
    database.close();
    throw storeUnavailable(file, cause);
  }
  return { release: () => database.close() };
}

function openLockDatabase(lockFile: string): DatabaseSync {
  try {
    return new DatabaseSync(lockFile, { timeout: 0 });
  } catch (cause) {
    throw storeUnavailable(lockFile, cause);
  }
}

function holderOf(holderFile: string): number | null {
  try {
    const pid = Number(fs.readFileSync(holderFile, "utf8").trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}

function locked(file: string, pid: number | null): UnavailableError {
  const holder = pid === null ? "another process" : `process ${pid}`;
  return new UnavailableError(
    { code: "INTERNAL_STORE_LOCKED", file, pid },
    `store ${file}: expected to be its only user, got one held by ${holder}`,
  );
}
