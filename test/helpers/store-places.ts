import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterAll, beforeAll, describe } from "vitest";

import type { StorePlace } from "../../host/store/index.ts";
import { postgresAbsent, startPostgres, type TestPostgres } from "./postgres.ts";

/** One kind of database that stores are tested on. */
export interface TestPlaces {
  readonly kind: StorePlace["kind"];
  /** Why its tests are skipped, or null. */
  readonly absent: string | null;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Where no store has been yet. */
  newPlace(): StorePlace;
  /** Transactions that have changed the store so far. */
  commitsOf(place: StorePlace): Promise<number>;
  /** What one statement gives outside the store, as another program would run it. */
  query(place: StorePlace, statement: string): Promise<Record<string, unknown>[]>;
}

/** Files in a folder that `stop` removes. */
export function sqlitePlaces(): TestPlaces {
  let folder = "";
  let count = 0;
  return {
    kind: "sqlite",
    absent: null,
    start: () => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-store-"));
      return Promise.resolve();
    },
    stop: () => {
      fs.rmSync(folder, { recursive: true });
      return Promise.resolve();
    },
    newPlace: () => ({ kind: "sqlite", file: path.join(folder, `${(count += 1)}`, "s.db") }),
    commitsOf: (place) => Promise.resolve(walCommits(`${fileOf(place)}-wal`)),
    query: (place, statement) => {
      const database = new DatabaseSync(fileOf(place));
      try {
        return Promise.resolve(database.prepare(statement).all());
      } finally {
        database.close();
      }
    },
  };
}

/** Schemas in a server that `start` starts; absent where the Debian package is. */
export function postgresPlaces(): TestPlaces {
  let server: TestPostgres | undefined;
  let count = 0;
  const running = (): TestPostgres => {
    if (server === undefined) throw new Error("expected a server, got none yet");
    return server;
  };
  return {
    kind: "postgres",
    absent: postgresAbsent(),
    start: async () => {
      server = await startPostgres();
      await server.query("create extension pg_walinspect");
    },
    stop: async () => {
      await server?.stop();
    },
    newPlace: () => ({ kind: "postgres", url: running().url, schema: `store_${(count += 1)}` }),
    commitsOf: async () => {
      const [row] = await running().query(COMMITS);
      return Number(row?.["commits"]);
    },
    query: (place, statement) => running().query(statement, schemaOf(place)),
  };
}

/** Registers the tests of `define` once for each kind of database; those of an absent one are skipped and say why. */
export function describePlaces(define: (places: TestPlaces) => void): void {
  for (const places of [sqlitePlaces(), postgresPlaces()]) {
    const { kind, absent } = places;
    describe.skipIf(absent !== null)(absent === null ? kind : `${kind}: ${absent}`, () => {
      beforeAll(() => places.start());
      afterAll(() => places.stop());
      define(places);
    });
  }
}

function fileOf(place: StorePlace): string {
  if (place.kind === "sqlite") return place.file;
  throw new Error("expected a file, got a schema");
}

function schemaOf(place: StorePlace): string {
  if (place.kind === "postgres") return place.schema;
  throw new Error("expected a schema, got a file");
}

/** Commit records that are on disk; savepoints have none. The log of a new server begins with segment 1. */
const COMMITS = `select count(*) as commits
  from pg_get_wal_records_info('0/1000028', pg_current_wal_flush_lsn())
  where resource_manager = 'Transaction' and record_type = 'COMMIT'`;

const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const PAGE_BYTES = 4_096;

/** Frames that end a transaction: those that say how large the database is after it. sqlite.org/fileformat2.html 4.1 */
function walCommits(wal: string): number {
  const bytes = fs.readFileSync(wal);
  let commits = 0;
  for (
    let at = WAL_HEADER_BYTES;
    at + FRAME_HEADER_BYTES <= bytes.length;
    at += FRAME_HEADER_BYTES + PAGE_BYTES
  ) {
    const isOfThisLog = bytes.readBigUInt64BE(at + 8) === bytes.readBigUInt64BE(16);
    if (isOfThisLog && bytes.readUInt32BE(at + 4) !== 0) commits += 1;
  }
  return commits;
}
