import { UnavailableError } from "#protocol";
import type { Kysely, Transaction } from "kysely";

import { setBackUp } from "./backup.ts";
import type { OpenDatabase } from "./database.ts";
import { GroupCommit } from "./group-commit.ts";
import type { Migration } from "./migrate.ts";
import { openPostgres } from "./postgres-database.ts";
import type { PostgresPlace } from "./postgres-place.ts";
import { openSqlite } from "./sqlite-database.ts";

/** One actor's durable state, which this process alone uses. */
export interface Store<Schema> {
  /** For reading: sees committed state only, and the database refuses to write through it. */
  readonly db: Kysely<Schema>;
  /**
   * Runs `work` in a transaction, after all earlier writes have run. Writes that wait together share one COMMIT, so
   * `work` sees in memory what earlier ones have done, and `trx` shows it; `db` does not yet. Durable on disk when the
   * promise resolves; rolled back when `work` throws, and when a statement of it has failed, even one whose failure it
   * caught. Nothing outside the transaction, such as the network, should be awaited in `work`.
   *
   * @throws ConflictError INTERNAL_UNEXPECTED for a write inside a write, which would wait for itself.
   * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE when the disk is full or gone; nothing is written then.
   * INTERNAL_STORE_BUSY when too many writes wait.
   */
  write<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T>;
  /**
   * Removes from disk what committed writes have deleted or replaced in `tables`. In SQLite free pages are overwritten by
   * the write itself, and this empties the write-ahead log. A PostgreSQL server writes the tables anew and empties their
   * old files; its own write-ahead log, archive and replicas forget by their own rules.
   *
   * @throws UnavailableError INTERNAL_STORE_BUSY while something long reads; try again.
   */
  purge(tables: readonly string[]): Promise<void>;
  /** Waits for the writes that were asked for, then closes the database and frees the lock. Closing twice is once. */
  close(): Promise<void>;
}

/** A SQLite file that one process of this machine opens at a time; not on a network share. */
export interface SqlitePlace {
  readonly kind: "sqlite";
  readonly file: string;
}

/** Where a store is kept. */
export type StorePlace = SqlitePlace | PostgresPlace;

/**
 * Opens the store at `at`, creating it when absent, and brings its schema up to date.
 *
 * @param args.migrations - In ascending order of version from 1, without gaps; never edited once shipped.
 * @throws {@link UnavailableError} INTERNAL_STORE_LOCKED, with the holder's `pid`; INTERNAL_STORE_UNAVAILABLE for a
 * database that cannot be opened, is read-only or damaged.
 * @throws {@link ConflictError} VERSION_STORE_NEWER when a newer program wrote it.
 */
export async function openStore<Schema>(args: {
  readonly at: StorePlace;
  readonly migrations: readonly Migration[];
}): Promise<Store<Schema>> {
  const database = await openDatabase<Schema>(args.at, args.migrations);
  const { name, isFatal, committed } = database;
  const writes = new GroupCommit<Schema>({ db: database.writer, name, isFatal, committed });
  database.watch?.((cause) => writes.fail(cause));
  let closing: Promise<void> | undefined;
  let closed = false;
  const close = async (): Promise<void> => {
    await writes.close();
    closed = true;
    await database.close();
  };
  const store: Store<Schema> = {
    db: database.reader.withPlugin({
      transformQuery: ({ node }) => {
        writes.requireSound();
        if (closed) throw isClosed(name);
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    }),
    write: (work) => writes.write(work),
    purge: (tables) => database.purge({ tables, between: (work) => writes.between(work) }),
    close: () => (closing ??= close()),
  };
  if (database.backUp !== undefined) setBackUp(store, database.backUp);
  return store;
}

function isClosed(store: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", store, reason: "it is closed" },
    `store ${store}: expected an open store, got one that is closed`,
  );
}

function openDatabase<Schema>(
  at: StorePlace,
  migrations: readonly Migration[],
): Promise<OpenDatabase<Schema>> {
  switch (at.kind) {
    case "sqlite":
      return openSqlite(at.file, migrations);
    case "postgres":
      return openPostgres(at, migrations);
  }
}
