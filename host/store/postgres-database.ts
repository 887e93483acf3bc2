import { Kysely } from "kysely";
import pg, {
  type Client,
  type ClientBase,
  type ClientConfig,
  type Pool,
  type PoolClient,
} from "pg";

import { UnavailableError } from "#protocol";
import { z } from "zod";

import type { Migration } from "./migrate.ts";
import { POSTGRES_TYPES, postgresDialect } from "./postgres-dialect.ts";
import { isPostgresFatal, postgresUnavailable, translatePostgresError } from "./postgres-errors.ts";
import { migratePostgres } from "./postgres-migrate.ts";
import { parsePostgresPlace, type PostgresPlace } from "./postgres-place.ts";
import type { OpenDatabase } from "./database.ts";

/** Sessions that read. */
const READERS_MAX = 4;
const CONNECT_MS_MAX = 10_000;
const LOCK_MS_MAX = 10_000;
const STATEMENT_MS_MAX = 300_000;
/** A statement that the server has not ended by then is one whose answer was lost. */
const ANSWER_MS_MAX = STATEMENT_MS_MAX + 30_000;
/** Longer than a write may take, so that it ends by itself first. */
const IDLE_IN_TRANSACTION_MS_MAX = 900_000;

/**
 * See `openStore`. One session writes and holds the lock of the schema for as long as it lives: when it is gone the
 * store is, too. A pooler that gives one session to several clients is not supported.
 */
export async function openPostgres<Schema>(
  place: PostgresPlace,
  migrations: readonly Migration[],
): Promise<OpenDatabase<Schema>> {
  const config = configOf(place);
  const name = `${place.schema} in database ${config.database}`;
  const writer = new pg.Client(config);
  let lost: (cause: unknown) => void = () => undefined;
  writer.on("error", (cause) => lost(cause));
  try {
    await writer.connect();
    await requireDurable(writer, name);
    await acquireLock(writer, place.schema, name);
    await migratePostgres(writer, { schema: place.schema, name, migrations });
  } catch (cause) {
    await writer.end().catch(() => undefined);
    throw translatePostgresError(name, cause);
  }
  const readers = new pg.Pool({ ...config, max: READERS_MAX, options: readOnly(config) });
  // What happened to an idle session, the next one to ask for it will see.
  readers.on("error", () => undefined);
  return {
    ...databaseOf<Schema>(name, writer, readers),
    watch: (listener) => {
      lost = listener;
    },
  };
}

function configOf(place: PostgresPlace): ClientConfig {
  return {
    ...parsePostgresPlace(place),
    application_name: `symphony ${process.pid}`,
    options: `-c search_path=${place.schema} -c synchronous_commit=on -c client_min_messages=warning`,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    statement_timeout: STATEMENT_MS_MAX,
    query_timeout: ANSWER_MS_MAX,
    lock_timeout: LOCK_MS_MAX,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS_MAX,
    keepAlive: true,
    types: POSTGRES_TYPES,
  };
}

function readOnly({ options }: ClientConfig): string {
  return `${options} -c default_transaction_read_only=on`;
}

function databaseOf<Schema>(name: string, writer: Client, readers: Pool): OpenDatabase<Schema> {
  const translate = (cause: unknown): unknown => translatePostgresError(name, cause);
  const writing = {
    acquire: () => Promise.resolve(writer),
    release: () => undefined,
    end: () => Promise.resolve(),
  };
  const taken = new Map<ClientBase, PoolClient>();
  const reading = {
    acquire: async () => {
      const client = await readers.connect();
      taken.set(client, client);
      return client;
    },
    release: (client: ClientBase) => {
      taken.get(client)?.release();
      taken.delete(client);
    },
    end: () => Promise.resolve(),
  };
  return {
    name,
    reader: new Kysely<Schema>({ dialect: postgresDialect(reading, translate) }),
    writer: new Kysely<Schema>({ dialect: postgresDialect(writing, translate) }),
    isFatal: isPostgresFatal,
    purge: async ({ tables }) => {
      await rewrite(readers, tables).catch((cause: unknown) => {
        throw translate(cause);
      });
    },
    close: async () => {
      await readers.end();
      await writer.end();
    },
  };
}

/** Writes tables into new files without what was deleted. A session that only reads may: what they hold is the same. */
async function rewrite(readers: Pool, tables: readonly string[]): Promise<void> {
  for (const table of tables) await readers.query(`vacuum (full) ${pg.escapeIdentifier(table)}`);
}

const settings = z.object({ fsync: z.string(), pages: z.string(), encoding: z.string() });

/** Refuses a server that does not keep what it has acknowledged, or that changes text. */
async function requireDurable(client: Client, name: string): Promise<void> {
  const { rows } = await client.query(
    `select current_setting('fsync') as fsync, current_setting('full_page_writes') as pages,
       current_setting('server_encoding') as encoding`,
  );
  const { fsync, pages, encoding } = settings.parse(rows[0]);
  if (fsync !== "on" || pages !== "on") {
    throw postgresUnavailable(name, "the server runs without fsync or full_page_writes");
  }
  if (encoding !== "UTF8") throw postgresUnavailable(name, `its encoding is ${encoding}, not UTF8`);
}

const locked = z.object({ locked: z.int() });
const holder = z.object({ pid: z.int() });
/** What stands for a schema among the advisory locks of a database. */
const KEY = "hashtextextended('symphony store ' || $1, 0)";

async function acquireLock(client: Client, schema: string, name: string): Promise<void> {
  const { rows } = await client.query(`select pg_try_advisory_lock(${KEY}) as locked`, [schema]);
  if (locked.parse(rows[0]).locked === 1) return;
  const held = await client.query(
    `select pid from pg_locks where locktype = 'advisory' and granted
       and database = (select oid from pg_database where datname = current_database())
       and (classid::bigint << 32 | objid::bigint) = ${KEY}`,
    [schema],
  );
  const pid = z.array(holder).parse(held.rows)[0]?.pid ?? null;
  throw new UnavailableError(
    { code: "INTERNAL_STORE_LOCKED", store: name, pid },
    `store ${name}: expected to be its only user, got one held by ${pid === null ? "another session" : `session ${pid} of the server`}`,
  );
}
