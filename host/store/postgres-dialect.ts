import {
  CompiledQuery,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
} from "kysely";
import type { ClientBase, CustomTypesConfig } from "pg";

import { LimitError } from "#protocol";

import { parameterOf } from "./parameters.ts";

/** Where a dialect takes its sessions from. */
export interface Sessions {
  acquire(): Promise<ClientBase>;
  release(client: ClientBase): void;
  end(): Promise<void>;
}

/**
 * The kysely dialect over sessions of `pg`.
 *
 * Values are those of SQLite: booleans are 0 and 1, bytes are plain `Uint8Array`, integers are numbers. Streamed rows
 * come from a cursor, in a transaction of its own unless one is open.
 *
 * @param translate - Turns what `pg` throws into what callers shall see.
 */
export function postgresDialect(
  sessions: Sessions,
  translate: (cause: unknown) => unknown,
): Dialect {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => driverOf(sessions, translate),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

function driverOf(sessions: Sessions, translate: (cause: unknown) => unknown): Driver {
  const connections = new WeakMap<ClientBase, DatabaseConnection>();
  const clients = new WeakMap<DatabaseConnection, ClientBase>();
  const run = async (connection: DatabaseConnection, text: string): Promise<void> => {
    await connection.executeQuery(CompiledQuery.raw(text));
  };
  return {
    init: () => Promise.resolve(),
    acquireConnection: async () => {
      const client = await translated(() => sessions.acquire(), translate);
      const known = connections.get(client);
      if (known !== undefined) return known;
      const connection = new Session(client, translate);
      connections.set(client, connection);
      clients.set(connection, client);
      return connection;
    },
    beginTransaction: (connection) => run(connection, "begin"),
    commitTransaction: (connection) => run(connection, "commit"),
    rollbackTransaction: (connection) => run(connection, "rollback"),
    savepoint: (connection, name) => run(connection, `savepoint ${name}`),
    rollbackToSavepoint: (connection, name) => run(connection, `rollback to savepoint ${name}`),
    releaseSavepoint: (connection, name) => run(connection, `release savepoint ${name}`),
    releaseConnection: (connection) => {
      const client = clients.get(connection);
      if (client !== undefined) sessions.release(client);
      return Promise.resolve();
    },
    destroy: () => sessions.end(),
  };
}

async function translated<T>(
  work: () => Promise<T>,
  translate: (cause: unknown) => unknown,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw translate(cause);
  }
}

const CHANGES: readonly string[] = ["INSERT", "UPDATE", "DELETE"];

class Session implements DatabaseConnection {
  readonly #client: ClientBase;
  readonly #translate: (cause: unknown) => unknown;
  /** One statement at a time: `pg` leaves the order of several to its caller. */
  #last: Promise<unknown> = Promise.resolve();
  #inTransaction = false;
  #cursors = 0;

  constructor(client: ClientBase, translate: (cause: unknown) => unknown) {
    this.#client = client;
    this.#translate = translate;
  }

  executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const values = parameters.map(parameterOf);
    const next = this.#last.then(() => this.#run<R>(sql, values));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async *streamQuery<R>(
    { sql, parameters }: CompiledQuery,
    chunkRows: number,
  ): AsyncIterableIterator<QueryResult<R>> {
    const alone = !this.#inTransaction;
    const name = `streamed_${(this.#cursors += 1)}`;
    const run = (text: string): Promise<QueryResult<R>> =>
      this.executeQuery<R>(CompiledQuery.raw(text));
    if (alone) await run("begin read only");
    try {
      await this.executeQuery(
        CompiledQuery.raw(`declare ${name} no scroll cursor for ${sql}`, [...parameters]),
      );
      for (;;) {
        const chunk = await run(`fetch forward ${chunkRows} from ${name}`);
        if (chunk.rows.length === 0) break;
        yield chunk;
      }
    } finally {
      await run(alone ? "rollback" : `close ${name}`);
    }
  }

  async #run<R>(
    text: string,
    values: readonly (null | number | string | Uint8Array)[],
  ): Promise<QueryResult<R>> {
    const result = await translated(
      () => this.#client.query({ text, values: [...values] }),
      this.#translate,
    );
    const { command, rowCount, rows } = result;
    if (command === "BEGIN") this.#inTransaction = true;
    if (command === "COMMIT" || (command === "ROLLBACK" && !text.includes(" to "))) {
      this.#inTransaction = false;
    }
    const changed = CHANGES.includes(command) ? { numAffectedRows: BigInt(rowCount ?? 0) } : {};
    return { rows, ...changed };
  }
}

/** Object identifiers of types. postgresql.org/docs/current/catalog-pg-type.html */
const OIDS = { bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23, numeric: 1700 } as const;

/** How values come back; whatever is not listed comes as the server writes it. */
export const POSTGRES_TYPES: CustomTypesConfig = {
  getTypeParser: (oid: number) => {
    switch (oid) {
      case OIDS.bool:
        return (text: string): number => (text === "t" ? 1 : 0);
      case OIDS.bytea:
        return (text: string): Uint8Array => new Uint8Array(Buffer.from(text.slice(2), "hex"));
      case OIDS.int2:
      case OIDS.int4:
      case OIDS.int8:
      case OIDS.numeric:
        return safeInteger;
      default:
        return (text: string): string => text;
    }
  },
};

function safeInteger(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new LimitError(
    { code: "SCHEMA_TOO_LARGE", max: Number.MAX_SAFE_INTEGER },
    `store: expected an integer in the safe range, got a number of ${text.length} characters`,
  );
}
