import * as fs from "node:fs";
import path from "node:path";

import type pg from "pg";

import { startPostgres, type PostgresServer } from "./postgres-server.ts";
import { concurrently, randomMembers, timed, type LedgerSize } from "./ledger-work.ts";

const EPSILON_MICRO = 1;
const ALLOWANCE_MICRO = 1_000_000_000;

/** Durable commits, memory and checkpoints as one tunes them for bulk updates on a machine of this size. */
const SETTINGS = {
  synchronous_commit: "on",
  fsync: "on",
  shared_buffers: "2GB",
  work_mem: "256MB",
  maintenance_work_mem: "512MB",
  max_wal_size: "16GB",
  checkpoint_timeout: "30min",
  wal_compression: "on",
  jit: "off",
};

/** Half-empty pages and no index on what changes, so that every update is heap-only (HOT). */
const SCHEMA = (logged: "" | "unlogged ") => `
create ${logged}table balance (
  subject int4 not null, frozen boolean not null default false,
  consumed int8 not null default 0, reserved int8 not null default 0
) with (fillfactor = 45, autovacuum_enabled = off)`;

const RESERVE_SET = `
update balance b set reserved = b.reserved + $1
from member m
where m.set_id = $2 and b.subject = m.subject
  and not b.frozen and b.consumed + b.reserved + $1 <= $3`;

const RESERVE_RANGE = `
update balance b set reserved = b.reserved + $1
where b.subject >= $2 and b.subject < $2 + $4
  and not b.frozen and b.consumed + b.reserved + $1 <= $3`;

const ENTRY = `insert into entry (set_id, epsilon) values ($1, $2)`;

/** Seconds of each reserve in PostgreSQL; all of them durable when they end, but `unlogged`. */
export interface PostgresTimes {
  readonly random: readonly number[];
  readonly contiguous: readonly number[];
  readonly concurrent: readonly number[];
  readonly unlogged: readonly number[];
}

/**
 * The same reservations in PostgreSQL: one set-based statement in a transaction that commits when every member fitted.
 * Concurrent ones take an advisory lock first, since their rows overlap and would deadlock otherwise.
 *
 * @returns Null, with a message, when PostgreSQL is not installed.
 */
export async function postgresTimes(
  folder: string,
  size: LedgerSize,
): Promise<PostgresTimes | null> {
  const server = await startPostgres(folder, SETTINGS);
  if (server === null) {
    process.stderr.write("bench: PostgreSQL is skipped, apt-get install postgresql\n");
    return null;
  }
  const said = [SCHEMA("").trim(), RESERVE_SET.trim(), RESERVE_RANGE.trim(), ENTRY];
  process.stderr.write(`PostgreSQL: ${JSON.stringify(SETTINGS)}\n${said.join(";\n")};\n`);
  const client = await server.connect();
  try {
    const members = path.join(folder, "members");
    await fill(client, { size, members, logged: "" });
    const random = await timed(size.postgresRuns, () => reserveSet(client, size));
    const contiguous = await timed(size.postgresRuns, (run) => reserveRange(client, size, run));
    const concurrent = await concurrentTimes(server, size);
    await client.query("drop table balance, member, entry");
    await fill(client, { size, members, logged: "unlogged " });
    const unlogged = await timed(size.postgresRuns, () => reserveSet(client, size));
    return { random, contiguous, concurrent, unlogged };
  } finally {
    await client.end();
    await server.stop();
  }
}

async function fill(
  client: pg.Client,
  args: {
    readonly size: LedgerSize;
    readonly members: string;
    readonly logged: "" | "unlogged ";
  },
): Promise<void> {
  const { size, members, logged } = args;
  await client.query(SCHEMA(logged));
  await client.query("insert into balance (subject) select generate_series(0, $1::int4 - 1)", [
    size.subjects,
  ]);
  await client.query("alter table balance add primary key (subject)");
  await client.query(
    "create table member (set_id int4, subject int4, primary key (set_id, subject))",
  );
  await client.query(
    "create table entry (position bigserial primary key, set_id int4, epsilon int8)",
  );
  fs.writeFileSync(members, [...randomMembers(size, 1)].map((each) => `1\t${each}\n`).join(""));
  fs.chmodSync(members, 0o644);
  await client.query(`copy member from '${members}'`);
  await client.query("vacuum analyze");
  await client.query("checkpoint");
}

async function reserveSet(client: pg.Client, size: LedgerSize, lock = false): Promise<void> {
  await client.query("begin");
  if (lock) await client.query("select pg_advisory_xact_lock(1)");
  const { rowCount } = await client.query(RESERVE_SET, [EPSILON_MICRO, 1, ALLOWANCE_MICRO]);
  await commitAll(client, rowCount, size);
}

async function reserveRange(client: pg.Client, size: LedgerSize, run: number): Promise<void> {
  const first = (run * size.members) % (size.subjects - size.members + 1);
  await client.query("begin");
  const values = [EPSILON_MICRO, first, ALLOWANCE_MICRO, size.members];
  const { rowCount } = await client.query(RESERVE_RANGE, values);
  await commitAll(client, rowCount, size);
}

async function commitAll(
  client: pg.Client,
  updated: number | null,
  { members }: LedgerSize,
): Promise<void> {
  if (updated !== members) throw new Error(`expected ${members} subjects, got ${updated}`);
  await client.query(ENTRY, [1, EPSILON_MICRO]);
  await client.query("commit");
}

async function concurrentTimes(server: PostgresServer, size: LedgerSize): Promise<number[]> {
  const clients = await Promise.all(Array.from({ length: 4 }, () => server.connect()));
  const times = await concurrently(clients, size.postgresRuns, (client) =>
    reserveSet(client, size, true),
  );
  await Promise.all(clients.map((client) => client.end()));
  return times;
}
