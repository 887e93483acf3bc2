import { AsyncLocalStorage } from "node:async_hooks";
import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { ConflictError } from "#protocol";
import { Kysely, type Transaction } from "kysely";

import { migrate, requireIntact, type Migration } from "./migrate.ts";
import { sqliteDialect } from "./sqlite-dialect.ts";
import { storeUnavailable, translateStoreError } from "./store-errors.ts";
import { acquireStoreLock, type StoreLock } from "./store-lock.ts";

const BUSY_TIMEOUT_MS = 5_000;

/** Called once when a transaction has ended; `committed` says how. The next write waits for it. */
export type AfterWrite = (committed: boolean) => void | Promise<void>;

/** One actor's durable state: a SQLite file that this process alone uses. */
export interface Store<Schema> {
  /** For reading: sees committed state only, and SQLite refuses to write through it. */
  readonly db: Kysely<Schema>;
  /**
   * Runs `work` in a transaction, after all earlier writes have ended. Durable on disk when the promise resolves;
   * rolled back when `work` throws. A write inside a write throws ConflictError INTERNAL_UNEXPECTED, since it would
   * wait for itself. Nothing outside the transaction, such as the network, should be awaited in `work`.
   *
   * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE when the disk is full or gone; nothing is written then.
   */
  write<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T>;
  /** Waits for the writes that were asked for, then closes the file and frees the lock. Closing twice is once. */
  close(): Promise<void>;
}

/** Where a store is kept. */
export interface StorePlace {
  /** A SQLite file that one process of this machine opens at a time; not on a network share. */
  readonly kind: "sqlite";
  readonly file: string;
}

/** The write that the running code is part of; `store` is cleared when it ends, for what it left behind. */
const inWrite = new AsyncLocalStorage<{ store: object | undefined }>();
const listeners = new WeakMap<object, AfterWrite[]>();

/**
 * Registers what to do when the write that `trx` belongs to has ended, whichever way.
 *
 * @throws {@link ConflictError} INTERNAL_UNEXPECTED when `trx` is not the transaction of a running `write`.
 */
export function afterWrite(trx: object, listener: AfterWrite): void {
  const registered = listeners.get(trx);
  if (registered === undefined) throw misuse("a transaction of a running write");
  registered.push(listener);
}

/**
 * Opens the store at `at`, creating it (a file in a folder of mode 0700) when absent, and brings its schema up to date.
 *
 * @param args.migrations - In ascending order of version from 1, without gaps; never edited once shipped.
 * @throws {@link UnavailableError} INTERNAL_STORE_LOCKED, with the holder's `pid`; INTERNAL_STORE_UNAVAILABLE for a
 * file that cannot be opened, is read-only or damaged.
 * @throws {@link ConflictError} VERSION_STORE_NEWER when a newer program wrote the file.
 */
export async function openStore<Schema>(args: {
  readonly at: StorePlace;
  readonly migrations: readonly Migration[];
}): Promise<Store<Schema>> {
  const file = path.resolve(args.at.file);
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw storeUnavailable(file, cause);
  }
  const lock = acquireStoreLock(file);
  const opened: DatabaseSync[] = [];
  try {
    const writer = openConnection(file, opened, { readOnly: false });
    requireIntact(writer, file);
    migrate(writer, file, args.migrations);
    const reader = openConnection(file, opened, { readOnly: true });
    fs.chmodSync(file, 0o600);
    return storeOf<Schema>({ file, writer, reader, lock });
  } catch (cause) {
    for (const connection of opened) connection.close();
    lock.release();
    throw translateStoreError(file, cause);
  }
}

function openConnection(
  file: string,
  opened: DatabaseSync[],
  { readOnly }: { readOnly: boolean },
): DatabaseSync {
  const database = new DatabaseSync(file, {
    readOnly,
    timeout: BUSY_TIMEOUT_MS,
    enableForeignKeyConstraints: true,
  });
  opened.push(database);
  if (!readOnly) {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT");
  }
  return database;
}

function storeOf<Schema>(args: {
  file: string;
  writer: DatabaseSync;
  reader: DatabaseSync;
  lock: StoreLock;
}): Store<Schema> {
  const translate = (cause: unknown): unknown => translateStoreError(args.file, cause);
  const db = new Kysely<Schema>({ dialect: sqliteDialect(args.reader, translate) });
  const writer = new Kysely<Schema>({ dialect: sqliteDialect(args.writer, translate) });
  const queue = new SerialQueue();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await queue.drain();
    await Promise.all([db.destroy(), writer.destroy()]);
    // Kysely closes only the connections it has used.
    for (const connection of [args.reader, args.writer]) if (connection.isOpen) connection.close();
    args.lock.release();
  };
  const store: Store<Schema> = {
    db,
    write: (work) => {
      if (closing !== undefined) return Promise.reject(misuse("an open store"));
      if (inWrite.getStore()?.store === store) return Promise.reject(misuse("no nested write"));
      return queue.run(() => marked(store, () => transact(writer, work)));
    },
    close: () => (closing ??= close()),
  };
  return store;
}

async function marked<T>(store: object, work: () => Promise<T>): Promise<T> {
  const mark: { store: object | undefined } = { store };
  try {
    return await inWrite.run(mark, work);
  } finally {
    mark.store = undefined;
  }
}

async function transact<Schema, T>(
  writer: Kysely<Schema>,
  work: (trx: Transaction<Schema>) => Promise<T>,
): Promise<T> {
  const registered: AfterWrite[] = [];
  let committed = false;
  try {
    const result = await writer.transaction().execute(async (trx) => {
      listeners.set(trx, registered);
      try {
        return await work(trx);
      } finally {
        listeners.delete(trx);
      }
    });
    committed = true;
    return result;
  } finally {
    for (const listener of registered) await listener(committed);
  }
}

/** Runs one piece of work at a time, in the order asked for. */
class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work);
    this.#last = next.catch(() => undefined);
    return next;
  }

  async drain(): Promise<void> {
    await this.#last;
  }
}

function misuse(expected: string): ConflictError {
  return new ConflictError({ code: "INTERNAL_UNEXPECTED" }, `store: expected ${expected}`);
}
