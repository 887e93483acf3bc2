import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, expect, test } from "vitest";

import { openStore, type Generated, type Store } from "../../../host/store/index.ts";

interface Schema {
  item: { id: Generated<number>; text: string };
}

const folders: string[] = [];
const stores: Store<Schema>[] = [];

function newFile(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-purge-"));
  folders.push(folder);
  return path.join(folder, "s.db");
}

async function open(file: string): Promise<Store<Schema>> {
  const store = await openStore<Schema>({
    at: { kind: "sqlite", file },
    migrations: [
      {
        version: 1,
        statements: ({ position, text }) => [`create table item (id ${position}, text ${text})`],
      },
    ],
  });
  stores.push(store);
  return store;
}

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

test("what was deleted is nowhere on disk after a purge, also while others write", async () => {
  const file = newFile();
  const store = await open(file);
  const canary = "canary-7d3f-of-a-deleted-row";
  await store.write((trx) => trx.insertInto("item").values({ text: canary }).execute());
  const holds = (name: string): boolean => fs.readFileSync(name).includes(canary);
  expect(holds(`${file}-wal`)).toBe(true);
  await store.write((trx) => trx.deleteFrom("item").where("text", "=", canary).execute());
  const writes = Array.from({ length: 20 }, (_, index) =>
    store.write((trx) =>
      trx
        .insertInto("item")
        .values({ text: `${index}` })
        .execute(),
    ),
  );
  await store.purge(["item"]);
  await Promise.all(writes);
  expect([file, `${file}-wal`].filter(holds)).toEqual([]);
});

test("a purge says so when a reader still needs what was deleted", async () => {
  const file = newFile();
  const store = await open(file);
  await store.write((trx) => trx.insertInto("item").values({ text: "a" }).execute());
  const reader = new DatabaseSync(file, { readOnly: true });
  reader.exec("BEGIN; SELECT * FROM item");
  await store.write((trx) => trx.deleteFrom("item").execute());
  await expect(store.purge(["item"])).rejects.toMatchObject({ code: "INTERNAL_STORE_BUSY" });
  reader.close();
  await store.purge(["item"]);
});
