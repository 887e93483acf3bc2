import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { StorePlace } from "../../host/store/index.ts";

/** One kind of database that stores are tested on. */
export interface TestPlaces {
  readonly title: StorePlace["kind"];
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
    title: "sqlite",
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
    commitsOf: (place) => Promise.resolve(walCommits(`${place.file}-wal`)),
    query: (place, statement) => {
      const database = new DatabaseSync(place.file);
      try {
        return Promise.resolve(database.prepare(statement).all());
      } finally {
        database.close();
      }
    },
  };
}

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
