import type { DatabaseSync, StatementSync } from "node:sqlite";

import { UnavailableError } from "#protocol";
import { SqliteAdapter, SqliteDialect, type Dialect, type DialectAdapter } from "kysely";

import { parameterOf } from "./parameters.ts";

/** Prepared statements that one connection keeps. */
const STATEMENTS_MAX = 256;

interface ShimStatement {
  readonly reader: boolean;
  all(parameters: readonly unknown[]): unknown[];
  run(parameters: readonly unknown[]): {
    changes: number | bigint;
    lastInsertRowid: number | bigint;
  };
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>;
}

/**
 * The kysely dialect over one open `node:sqlite` connection.
 *
 * A statement that fails fails its transaction up to the savepoint before it, as in PostgreSQL: whoever catches the
 * error cannot go on writing. Rows can be streamed while other statements run.
 *
 * Booleans are bound as 0 and 1. BLOBs come back as `Uint8Array`, integers as numbers; an integer outside the safe
 * range is an error of `node:sqlite`, never a wrong number. Prepared statements are kept and reused.
 *
 * @param translate - Turns what `node:sqlite` throws into what callers shall see.
 */
export function sqliteDialect(
  database: DatabaseSync,
  translate: (cause: unknown) => unknown,
): Dialect {
  const statements = new Map<string, StatementSync>();
  const transaction: TransactionState = { begun: false, failed: false };
  const translated = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      transaction.failed = transaction.begun;
      throw translate(cause);
    }
  };
  const dialect = new SqliteDialect({
    database: {
      close: () => {
        statements.clear();
        database.close();
      },
      prepare: (text) => {
        const control = controlShim(database, transaction, text);
        if (control !== undefined) return control;
        return translated(() => {
          const statement = prepared(database, statements, text);
          return shim(statement, translated, () => database.prepare(text));
        });
      },
    },
  });
  return {
    createAdapter: sharedAdapter,
    createDriver: () => dialect.createDriver(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createQueryCompiler: () => dialect.createQueryCompiler(),
  };
}

/** Kysely would hold every other query back while rows are streamed, and so a query in the loop over them for good. */
function sharedAdapter(): DialectAdapter {
  const adapter = new SqliteAdapter();
  return {
    supportsCreateIfNotExists: adapter.supportsCreateIfNotExists,
    supportsMultipleConnections: true,
    supportsTransactionalDdl: adapter.supportsTransactionalDdl,
    supportsReturning: adapter.supportsReturning,
    acquireMigrationLock: () => Promise.resolve(),
    releaseMigrationLock: () => Promise.resolve(),
  };
}

interface TransactionState {
  begun: boolean;
  /** A statement has failed since the last savepoint. */
  failed: boolean;
}

/**
 * SQLite may roll back by itself, when the disk is full for one. Then kysely's own rollback has nothing left to do,
 * and nothing more may run as if the transaction still stood: it would be committed statement by statement.
 */
function controlShim(
  database: DatabaseSync,
  transaction: TransactionState,
  text: string,
): ShimStatement | undefined {
  const stands = database.isTransaction;
  if (text === "rollback" && !stands) {
    transaction.begun = false;
    transaction.failed = false;
    return NOTHING;
  }
  if (transaction.begun && !stands) throw transactionLost();
  if (text.startsWith("rollback")) transaction.failed = false;
  else if (transaction.failed) throw statementFailed();
  transaction.begun = text === "begin" || (transaction.begun && !ENDINGS.includes(text));
  return undefined;
}

const ENDINGS: readonly string[] = ["commit", "rollback"];

const NOTHING: ShimStatement = {
  reader: false,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [].values(),
};

function transactionLost(): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", reason: "the transaction was rolled back" },
    "store: expected the transaction to stand, got one that SQLite has rolled back",
  );
}

function statementFailed(): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", reason: "a statement of this write has failed" },
    "store: expected a write without failures, got one that went on after a statement had failed",
  );
}

function prepared(
  database: DatabaseSync,
  statements: Map<string, StatementSync>,
  text: string,
): StatementSync {
  const known = statements.get(text);
  if (known !== undefined) return known;
  const statement = database.prepare(text);
  const [oldest] = statements.keys();
  if (statements.size >= STATEMENTS_MAX && oldest !== undefined) statements.delete(oldest);
  statements.set(text, statement);
  return statement;
}

function shim(
  statement: StatementSync,
  translated: <T>(work: () => T) => T,
  another: () => StatementSync,
): ShimStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) =>
      translated(() => statement.all(...parameters.map(parameterOf)).map((row) => ({ ...row }))),
    run: (parameters) => translated(() => statement.run(...parameters.map(parameterOf))),
    *iterate(parameters) {
      // A kept statement would start again for whoever else runs it meanwhile.
      const rows = translated(() => another().iterate(...parameters.map(parameterOf)));
      try {
        for (;;) {
          const next = translated(() => rows.next());
          if (next.done === true) return;
          yield { ...next.value };
        }
      } finally {
        rows.return?.();
      }
    },
  };
}
