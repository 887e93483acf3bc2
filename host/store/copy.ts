import * as fs from "node:fs";

import { sql, type Kysely, type Transaction } from "kysely";

import { backupStore, hasBackUp } from "./backup.ts";
import type { Migration } from "./migrate.ts";
import { openStore, type Store, type StorePlace } from "./store.ts";

/** What one INSERT takes at most: parameters, which SQLite limits to 32 766, and bytes in them. */
const PARAMETERS_MAX = 30_000;
const ROWS_MAX = 500;
/** Rows of a server that are in memory at a time; one may have some megabytes. */
const FETCHED_ROWS = 64;
const CHUNK_BYTES = 8 * 1024 * 1024;

type Tables = Record<string, Row>;
type Row = Record<string, unknown>;

/**
 * Copies what `store` holds now, one snapshot of it, into the new SQLite file `file` (mode 0600) while writes go on: page
 * by page where it is a SQLite file itself, else row by row in constant memory. Whole and on disk when the promise
 * resolves; `file` does not exist before.
 *
 * A copy of a Vault's store is as secret as the store. What a restored store has spent since must be found elsewhere.
 *
 * @param args.migrations - Those that `store` was opened with.
 * @throws As `backupStore`.
 */
export async function snapshotStore<Schema>(args: {
  readonly store: Store<Schema>;
  readonly file: string;
  readonly migrations: readonly Migration[];
}): Promise<void> {
  const { store, file, migrations } = args;
  if (hasBackUp(store)) return await backupStore(store, file);
  const partial = `${file}.partial`;
  for (const left of sideFiles(partial)) fs.rmSync(left, { force: true });
  await exportRows(store, { file: partial, migrations });
  for (const left of sideFiles(partial).slice(1)) fs.rmSync(left, { force: true });
  fs.renameSync(partial, file);
}

/** A SQLite store's file and those that stand beside it while it is open. */
export function sideFiles(file: string): string[] {
  return ["", "-wal", "-shm", "-journal", ".lock", ".lock-journal", ".pid"].map(
    (suffix) => `${file}${suffix}`,
  );
}

async function exportRows<Schema>(
  store: Store<Schema>,
  args: { readonly file: string; readonly migrations: readonly Migration[] },
): Promise<void> {
  const { file, migrations } = args;
  const to = await openStore<Tables>({ at: { kind: "sqlite", file }, migrations });
  try {
    const tables = await tablesOf(to.db);
    await store.db.transaction().execute(async (trx) => {
      await sql`set transaction isolation level repeatable read`.execute(trx);
      for (const table of tables) {
        for await (const rows of fetched(trx, table)) {
          await to.write((writing) => insert(writing, table, rows));
        }
      }
    });
  } finally {
    await to.close();
  }
}

/**
 * Copies the SQLite store `file` into the place `at`, where no store has been: all of it in one transaction.
 *
 * @returns False when there is a store already; nothing is changed then.
 * @throws As `openStore`.
 */
export async function importStore(args: {
  readonly file: string;
  readonly at: StorePlace;
  readonly migrations: readonly Migration[];
}): Promise<boolean> {
  const { file, at, migrations } = args;
  const from = await openStore<Tables>({ at: { kind: "sqlite", file }, migrations });
  try {
    const to = await openStore<Tables>({ at, migrations });
    try {
      return await copyInto(from, to);
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

function copyInto(from: Store<Tables>, to: Store<Tables>): Promise<boolean> {
  return to.write(async (trx) => {
    const tables = await tablesOf(from.db);
    for (const table of tables) {
      const rows = await trx.selectFrom(table).selectAll().limit(1).execute();
      if (rows.length > 0) return false;
    }
    for (const table of tables) {
      for await (const rows of chunksOf(from.db, table)) await insert(trx, table, rows);
    }
    await continueCounters(trx);
    return true;
  });
}

/** Names of the tables of a SQLite store, in the order in which they were made: what is referred to comes first. */
async function tablesOf(db: Kysely<Tables>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by rowid
  `.execute(db);
  return rows.map(({ name }) => name);
}

/** Rows of a table of a server, by a cursor. */
async function* fetched<Schema>(
  trx: Transaction<Schema>,
  table: string,
): AsyncGenerator<readonly Row[]> {
  const cursor = sql.ref(`copy_${table}`);
  await sql`declare ${cursor} no scroll cursor for select * from ${sql.table(table)}`.execute(trx);
  for (;;) {
    const { rows } = await sql<Row>`fetch ${sql.lit(FETCHED_ROWS)} from ${cursor}`.execute(trx);
    if (rows.length > 0) yield rows;
    if (rows.length < FETCHED_ROWS) break;
  }
  await sql`close ${cursor}`.execute(trx);
}

async function* chunksOf(db: Kysely<Tables>, table: string): AsyncGenerator<Row[]> {
  let rows: Row[] = [];
  let bytes = 0;
  for await (const row of db.selectFrom(table).selectAll().stream(ROWS_MAX)) {
    rows.push(row);
    const values = Object.values(row);
    for (const value of values) bytes += value instanceof Uint8Array ? value.length : 8;
    const isFull = rows.length >= ROWS_MAX || rows.length * values.length >= PARAMETERS_MAX;
    if (!isFull && bytes < CHUNK_BYTES) continue;
    yield rows;
    rows = [];
    bytes = 0;
  }
  if (rows.length > 0) yield rows;
}

async function insert(
  trx: Transaction<Tables>,
  table: string,
  rows: readonly Row[],
): Promise<void> {
  await trx.insertInto(table).values(rows).execute();
}

/** A server counts identity columns up by itself; SQLite goes on after the largest. */
async function continueCounters(trx: Transaction<Tables>): Promise<void> {
  const { rows } = await sql<{ table_name: string; column_name: string }>`
    select table_name, column_name from information_schema.columns
      where table_schema = current_schema() and is_identity = 'YES'
  `.execute(trx);
  for (const { table_name: table, column_name: column } of rows) {
    await sql`
      select setval(pg_get_serial_sequence(${table}, ${column}), max(${sql.ref(column)}))
        from ${sql.table(table)} having max(${sql.ref(column)}) is not null
    `.execute(trx);
  }
}
