import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

import { MalformedError, UnavailableError } from "#protocol";
import { SqliteDialect, type Dialect } from "kysely";

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
  const transaction = { begun: false };
  const translated = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw translate(cause);
    }
  };
  return new SqliteDialect({
    database: {
      close: () => {
        statements.clear();
        database.close();
      },
      prepare: (text) => {
        const control = controlShim(database, transaction, text);
        if (control !== undefined) return control;
        return translated(() => shim(prepared(database, statements, text), translated));
      },
    },
  });
}

/**
 * SQLite may roll back by itself, when the disk is full for one. Then kysely's own rollback has nothing left to do,
 * and nothing more may run as if the transaction still stood: it would be committed statement by statement.
 */
function controlShim(
  database: DatabaseSync,
  transaction: { begun: boolean },
  text: string,
): ShimStatement | undefined {
  const stands = database.isTransaction;
  if (text === "rollback" && !stands) {
    transaction.begun = false;
    return NOTHING;
  }
  if (transaction.begun && !stands) throw transactionLost();
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

function shim(statement: StatementSync, translated: <T>(work: () => T) => T): ShimStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) =>
      translated(() => statement.all(...parameters.map(toInput)).map((row) => ({ ...row }))),
    run: (parameters) => translated(() => statement.run(...parameters.map(toInput))),
    *iterate(parameters) {
      for (const row of statement.iterate(...parameters.map(toInput))) yield { ...row };
    },
  };
}

function toInput(value: unknown): SQLInputValue {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number" || typeof value === "bigint") return value;
  if (typeof value === "string" || value === null || value instanceof Uint8Array) return value;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", type: typeof value },
    `store parameter: expected null, number, text or bytes, got ${typeof value}`,
  );
}
