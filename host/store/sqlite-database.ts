import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { Kysely } from "kysely";

import { sqliteBackups } from "./backup.ts";
import { damaged, migrate, requireIntact, type Migration } from "./migrate.ts";
import { sqliteDialect } from "./sqlite-dialect.ts";
import { isUncertain, storeUnavailable, translateStoreError } from "./store-errors.ts";
import { acquireStoreLock, type StoreLock } from "./store-lock.ts";
import type { OpenDatabase } from "./store.ts";

const BUSY_TIMEOUT_MS = 5_000;

/** See `openStore`. The file's folder is made with mode 0700 when absent, the file has mode 0600. */
export async function openSqlite<Schema>(
  place: string,
  migrations: readonly Migration[],
): Promise<OpenDatabase<Schema>> {
  const file = path.resolve(place);
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw storeUnavailable(file, cause);
  }
  const lock = acquireStoreLock(file);
  const opened: DatabaseSync[] = [];
  try {
    requireStart(file);
    const writer = openConnection(file, opened, { readOnly: false });
    requireIntact(writer, file);
    migrate(writer, file, migrations);
    const reader = openConnection(file, opened, { readOnly: true });
    fs.chmodSync(file, 0o600);
    return databaseOf<Schema>({ file, writer, reader, lock });
  } catch (cause) {
    for (const connection of opened) connection.close();
    lock.release();
    throw translateStoreError(file, cause);
  }
}

/** Bytes of the smallest page. sqlite.org/fileformat2.html 1.2 */
const PAGE_BYTES_MIN = 512;

/** Refuses a file that was cut before its first page ends: SQLite would take it for a new one and delete its log. */
function requireStart(file: string): void {
  const bytes = sizeOf(file);
  if (bytes >= PAGE_BYTES_MIN || (bytes === 0 && sizeOf(`${file}-wal`) === 0)) return;
  throw damaged(file, `${bytes} bytes of it`);
}

function sizeOf(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** What is deleted is overwritten: erasing a subject must not leave its keys in free pages. */
const WRITER_SETTINGS =
  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON";

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
  if (!readOnly) database.exec(`${WRITER_SETTINGS}; BEGIN IMMEDIATE; COMMIT`);
  return database;
}

function databaseOf<Schema>(args: {
  readonly file: string;
  readonly writer: DatabaseSync;
  readonly reader: DatabaseSync;
  readonly lock: StoreLock;
}): OpenDatabase<Schema> {
  const translate = (cause: unknown): unknown => translateStoreError(args.file, cause);
  const reader = new Kysely<Schema>({ dialect: sqliteDialect(args.reader, translate) });
  const writer = new Kysely<Schema>({ dialect: sqliteDialect(args.writer, translate) });
  const backups = sqliteBackups(args.file);
  return {
    name: args.file,
    reader,
    writer,
    isFatal: (cause, ending) => ending && isUncertain(cause),
    backUp: backups.backUp,
    close: async () => {
      await backups.settled();
      await Promise.all([reader.destroy(), writer.destroy()]);
      // Kysely closes only the connections it has used.
      for (const connection of [args.reader, args.writer]) {
        if (connection.isOpen) connection.close();
      }
      args.lock.release();
    },
  };
}
