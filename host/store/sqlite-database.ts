import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { UnavailableError } from "#protocol";
import { Kysely } from "kysely";
import { z } from "zod";

import { sqliteBackups } from "./backup.ts";
import { Checkpoints } from "./checkpoints.ts";
import { damaged, migrate, requireIntact, type Migration } from "./migrate.ts";
import { sqliteDialect } from "./sqlite-dialect.ts";
import { isUncertain, storeUnavailable, translateStoreError } from "./store-errors.ts";
import { acquireStoreLock, type StoreLock } from "./store-lock.ts";
import type { OpenDatabase } from "./database.ts";

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
    requireWhole(file);
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

/** How a file begins, the bytes of the smallest page, and where a file says how large its own are. */
const MAGIC = Buffer.from("SQLite format 3\0", "latin1");
const PAGE_BYTES_MIN = 512;
const PAGE_SIZE_AT = 16;

/**
 * Refuses what SQLite would not: a file that ends in its first page, which it would take for a new one and delete the
 * log of, and one that ends in a later page with no log to mend it, which it would fill with zeros.
 *
 * @see sqlite.org/fileformat2.html 1.3
 */
function requireWhole(file: string): void {
  const bytes = sizeOf(file);
  const logged = sizeOf(`${file}-wal`) !== 0;
  if (bytes === 0 && !logged) return;
  if (bytes < PAGE_BYTES_MIN) throw damaged(file, `${bytes} bytes of it`);
  const header = headerOf(file);
  // What is no store at all, SQLite says itself.
  if (logged || !header.subarray(0, MAGIC.length).equals(MAGIC)) return;
  const pageBytes = Math.max(header.readUInt16BE(PAGE_SIZE_AT), PAGE_BYTES_MIN);
  if (bytes % pageBytes !== 0) throw damaged(file, "one that was cut in a page");
}

function headerOf(file: string): Buffer {
  const header = Buffer.alloc(PAGE_BYTES_MIN);
  const descriptor = fs.openSync(file, "r");
  try {
    fs.readSync(descriptor, header);
  } finally {
    fs.closeSync(descriptor);
  }
  return header;
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
  const checkpoints = new Checkpoints(args.file, args.writer);
  return {
    name: args.file,
    reader,
    writer,
    isFatal: (cause, ending) => ending && isUncertain(cause),
    committed: () => checkpoints.committed(),
    purge: ({ between }) =>
      checkpoints.without(() => between(() => emptyLog(args.writer, args.file))),
    backUp: backups.backUp,
    close: async () => {
      await backups.settled();
      await checkpoints.close();
      await Promise.all([reader.destroy(), writer.destroy()]);
      // Kysely closes only the connections it has used.
      for (const connection of [args.reader, args.writer]) {
        if (connection.isOpen) connection.close();
      }
      args.lock.release();
    },
  };
}

const checkpointRow = z.object({ busy: z.int() });

/** @throws {@link UnavailableError} INTERNAL_STORE_BUSY while a reader still needs what the log holds. */
function emptyLog(database: DatabaseSync, file: string): void {
  database.exec("PRAGMA busy_timeout = 0");
  try {
    const row = database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    if (checkpointRow.parse(row).busy === 0) return;
  } finally {
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
  throw new UnavailableError(
    { code: "INTERNAL_STORE_BUSY", file },
    `store ${file}: expected nobody to read while its log is emptied, got a reader`,
  );
}
