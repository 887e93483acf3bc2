import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";

import {
  openStore,
  type Generated,
  type Migration,
  type Store,
} from "../../../host/store/index.ts";

interface Schema {
  item: { id: Generated<number>; text: string | null; bytes: Uint8Array | null };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ position, text, blob }) => [
      `create table item (id ${position}, text ${text} unique, bytes ${blob})`,
    ],
  },
];
const folders: string[] = [];
const stores: Store<Schema>[] = [];

function newFile(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-store-"));
  folders.push(folder);
  return path.join(folder, "deep", "s.db");
}

async function open(file: string): Promise<Store<Schema>> {
  const at = { kind: "sqlite", file } as const;
  const store = await openStore<Schema>({ at, migrations: MIGRATIONS });
  stores.push(store);
  return store;
}

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

test("file and folder are for their owner alone", async () => {
  const file = newFile();
  await open(file);
  expect(fs.statSync(path.dirname(file)).mode % 0o1000).toBe(0o700);
  expect(fs.statSync(file).mode % 0o1000).toBe(0o600);
});

test("the holder of the lock is named by its process", async () => {
  const file = newFile();
  await open(file);
  await expect(open(file)).rejects.toMatchObject({
    code: "INTERNAL_STORE_LOCKED",
    details: { pid: process.pid },
  });
});

test("a file that is no store is refused with a reason", async () => {
  const file = newFile();
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, "this is not a store, however long one looks at it".repeat(100));
  await expect(open(file)).rejects.toMatchObject({
    code: "INTERNAL_STORE_UNAVAILABLE",
    details: { reason: "the file is not a store" },
  });
});

test("a full disk refuses the write, keeps the rest and recovers", async () => {
  const file = newFile();
  const store = await open(file);
  // A page limit stands in for a full disk: SQLite answers both with SQLITE_FULL.
  await store.write(async (trx) => {
    await trx.insertInto("item").values({ text: "kept" }).execute();
  });
  await limitPages(store, 12);
  const big = store.write((trx) =>
    trx
      .insertInto("item")
      .values({ bytes: new Uint8Array(1_000_000) })
      .execute(),
  );
  await expect(big).rejects.toMatchObject({
    code: "INTERNAL_STORE_UNAVAILABLE",
    details: { reason: "the disk is full" },
  });
  const swallowing = store.write(async (trx) => {
    const bytes = new Uint8Array(1_000_000);
    await trx
      .insertInto("item")
      .values({ bytes })
      .execute()
      .catch(() => undefined);
    await trx.insertInto("item").values({ text: "outside any transaction" }).execute();
  });
  await expect(swallowing).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
  await store.write((trx) => trx.insertInto("item").values({ text: "after" }).execute());
  const rows = await store.db.selectFrom("item").select("text").execute();
  expect(rows).toEqual([{ text: "after" }, { text: "kept" }]);
});

test("a folder that cannot be made is INTERNAL_STORE_UNAVAILABLE", async () => {
  const file = newFile();
  fs.writeFileSync(path.dirname(file), "a file where the folder should be");
  await expect(open(file)).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
});

async function limitPages(store: Store<Schema>, pages: number): Promise<void> {
  await store.write((trx) => sql.raw(`pragma max_page_count = ${pages}`).execute(trx));
}
