import type { DatabaseSync } from "node:sqlite";

import { ConflictError, UnavailableError } from "#protocol";
import { z } from "zod";

/** What the two databases spell differently in the definition of a table. */
export interface SchemaWords {
  /** Column types. Integers are 64 bits. */
  readonly blob: string;
  readonly integer: string;
  /** Text that compares and sorts by its bytes in UTF-8, whatever language the database was made for. */
  readonly text: string;
  /** Type of a column that counts rows up and is their primary key. */
  readonly position: string;
  /** What follows the closing bracket of a table. */
  readonly strict: string;
  /** Statements that make a table refuse updates and deletions. */
  readonly appendOnly: (table: string) => readonly string[];
}

/** See {@link SchemaWords}. */
export const SQLITE_WORDS: SchemaWords = {
  blob: "blob",
  integer: "integer",
  text: "text",
  position: "integer primary key autoincrement",
  strict: "strict",
  appendOnly: (table) => [
    `create trigger ${table}_no_update before update on ${table}
       begin select raise(abort, '${table} is append-only'); end`,
    `create trigger ${table}_no_delete before delete on ${table}
       begin select raise(abort, '${table} is append-only'); end`,
  ],
};

/** One step of a schema, taken once per store. */
export interface Migration {
  /** Counts from 1 without gaps. */
  readonly version: number;
  /** In the order in which they run. */
  readonly statements: (sql: SchemaWords) => readonly string[];
}

const versionRow = z.object({ user_version: z.int() });
const checkRow = z.object({ quick_check: z.string() });

/**
 * Runs the migrations that `file` has not seen, in order and in one transaction.
 *
 * @throws {@link ConflictError} VERSION_STORE_NEWER when the file is at a version that `migrations` does not reach.
 */
export function migrate(
  database: DatabaseSync,
  file: string,
  migrations: readonly Migration[],
): void {
  requireSequence(migrations);
  const { user_version: present } = versionRow.parse(database.prepare("PRAGMA user_version").get());
  requireNotNewer(file, present, migrations);
  if (present === migrations.length) return;
  database.exec("BEGIN IMMEDIATE");
  try {
    for (const { statements } of migrations.slice(present)) {
      for (const statement of statements(SQLITE_WORDS)) database.exec(statement);
    }
    database.exec(`PRAGMA user_version = ${migrations.length}`);
    database.exec("COMMIT");
  } catch (cause) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw cause;
  }
}

/** Refuses a damaged file. @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE */
export function requireIntact(database: DatabaseSync, file: string): void {
  const rows = z.array(checkRow).parse(database.prepare("PRAGMA quick_check(10)").all());
  if (rows.length === 1 && rows[0]?.quick_check === "ok") return;
  throw damaged(file, `${rows.length} faults`);
}

/** The error of a file that cannot be trusted to hold what was written. */
export function damaged(file: string, got: string): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", file, reason: "the file is damaged" },
    `store ${file}: expected an intact file, got ${got}`,
  );
}

/** @throws {@link ConflictError} VERSION_STORE_NEWER */
export function requireNotNewer(
  name: string,
  present: number,
  migrations: readonly Migration[],
): void {
  if (present <= migrations.length) return;
  throw new ConflictError(
    { code: "VERSION_STORE_NEWER", store: name, expected: migrations.length, actual: present },
    `store ${name}: expected at most schema version ${migrations.length}, got ${present}`,
  );
}

/** Refuses migrations that are not versions 1, 2 and so on. */
export function requireSequence(migrations: readonly Migration[]): void {
  const gap = migrations.findIndex(({ version }, index) => version !== index + 1);
  if (gap === -1) return;
  throw new ConflictError(
    { code: "INTERNAL_UNEXPECTED", version: migrations[gap]?.version },
    `store migrations: expected version ${gap + 1}, got ${migrations[gap]?.version}`,
  );
}
