import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, expect, test } from "vitest";

import {
  afterWrite,
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
    statements: ({ position, text }) => [`create table item (id ${position}, text ${text} unique)`],
  },
  { version: 2, statements: ({ blob }) => [`alter table item add column bytes ${blob}`] },
];
const ROOT = path.resolve(import.meta.dirname, "../../..");
const folders: string[] = [];
const stores: Store<Schema>[] = [];

function newFile(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-store-"));
  folders.push(folder);
  return path.join(folder, "deep", "s.db");
}

async function open(file: string, migrations = MIGRATIONS): Promise<Store<Schema>> {
  const store = await openStore<Schema>({ at: { kind: "sqlite", file }, migrations });
  stores.push(store);
  return store;
}

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

test("keeps what it is given, and gives bytes and integers back", async () => {
  const file = newFile();
  const store = await open(file);
  const bytes = Uint8Array.of(1, 2);
  await store.write((trx) => trx.insertInto("item").values({ text: "a", bytes }).execute());
  const expected = [{ id: 1, text: "a", bytes }];
  expect(await store.db.selectFrom("item").selectAll().execute()).toEqual(expected);
  await store.close();
  const again = await open(file);
  const [row] = await again.db.selectFrom("item").selectAll().execute();
  expect(row).toEqual(expected[0]);
  expect(row?.bytes).toBeInstanceOf(Uint8Array);
  expect(fs.statSync(path.dirname(file)).mode % 0o1000).toBe(0o700);
  expect(fs.statSync(file).mode % 0o1000).toBe(0o600);
});

test("writes run one at a time, and readers see committed state only", async () => {
  const store = await open(newFile());
  const seen: string[] = [];
  const slow = store.write(async (trx) => {
    seen.push("first");
    await trx.insertInto("item").values({ text: "a" }).execute();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await store.db.selectFrom("item").selectAll().execute()).toEqual([]);
    seen.push("first ends");
  });
  const next = store.write(async () => {
    await Promise.resolve();
    seen.push("second");
  });
  await Promise.all([slow, next]);
  expect(seen).toEqual(["first", "first ends", "second"]);
  expect(await store.db.selectFrom("item").selectAll().execute()).toHaveLength(1);
});

test("a write that throws is rolled back, and its listeners are told", async () => {
  const store = await open(newFile());
  const told: boolean[] = [];
  const failed = store.write(async (trx) => {
    afterWrite(trx, (committed) => void told.push(committed));
    await trx.insertInto("item").values({ text: "a" }).execute();
    throw new Error("no");
  });
  await expect(failed).rejects.toThrow("no");
  await store.write((trx) => {
    afterWrite(trx, (committed) => void told.push(committed));
    return Promise.resolve();
  });
  expect(told).toEqual([false, true]);
  expect(await store.db.selectFrom("item").selectAll().execute()).toEqual([]);
});

test("a write inside a write is refused rather than waiting for itself", async () => {
  const store = await open(newFile());
  const nested = store.write(() => store.write(() => Promise.resolve(1)));
  await expect(nested).rejects.toMatchObject({ code: "INTERNAL_UNEXPECTED" });
});

test("the reading side cannot write", async () => {
  const store = await open(newFile());
  const written = store.db.insertInto("item").values({ text: "a" }).execute();
  await expect(written).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
});

test("a broken constraint stays the error it is", async () => {
  const store = await open(newFile());
  const insert = () => store.write((trx) => trx.insertInto("item").values({ text: "a" }).execute());
  await insert();
  await expect(insert()).rejects.toMatchObject({ code: "ERR_SQLITE_ERROR" });
});

test("a second opening in this process is refused and names the holder", async () => {
  const file = newFile();
  const store = await open(file);
  const second = openStore<Schema>({ at: { kind: "sqlite", file }, migrations: MIGRATIONS });
  await expect(second).rejects.toMatchObject({
    code: "INTERNAL_STORE_LOCKED",
    details: { pid: process.pid },
  });
  await store.close();
  await expect(open(file)).resolves.toBeDefined();
});

test("a second process is refused, and takes over when the holder is killed", async () => {
  const file = newFile();
  const script = `
    const { openStore } = await import(${JSON.stringify(path.join(ROOT, "host/store/index.ts"))});
    const table = "create table item (id integer primary key, text text unique, bytes blob)";
    const migrations = [
      { version: 1, statements: () => [table] },
      { version: 2, statements: () => [] },
    ];
    const at = { kind: "sqlite", file: ${JSON.stringify(file)} };
    const store = await openStore({ at, migrations });
    await store.write((trx) => trx.insertInto("item").values({ text: "kept" }).execute());
    void store.write(async (trx) => {
      await trx.insertInto("item").values({ text: "lost" }).execute();
      process.stdout.write("ready");
      await new Promise(() => setInterval(() => {}, 1000));
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: ROOT,
  });
  await once(child.stdout, "data");
  await expect(open(file)).rejects.toMatchObject({
    code: "INTERNAL_STORE_LOCKED",
    details: { pid: child.pid },
  });
  child.kill("SIGKILL");
  await once(child, "exit");
  const store = await open(file);
  const rows = await store.db.selectFrom("item").select("text").execute();
  expect(rows).toEqual([{ text: "kept" }]);
});

test("a file of a newer schema is refused", async () => {
  const file = newFile();
  await (await open(file)).close();
  const older = openStore<Schema>({
    at: { kind: "sqlite", file },
    migrations: MIGRATIONS.slice(0, 1),
  });
  await expect(older).rejects.toMatchObject({ code: "VERSION_STORE_NEWER" });
});

test("an older file is brought up to date and keeps its rows", async () => {
  const file = newFile();
  const old = await open(file, MIGRATIONS.slice(0, 1));
  await old.write((trx) => trx.insertInto("item").values({ text: "a" }).execute());
  await old.close();
  const store = await open(file);
  const rows = await store.db.selectFrom("item").selectAll().execute();
  expect(rows).toEqual([{ id: 1, text: "a", bytes: null }]);
});

test("a failing migration leaves the file at the version before", async () => {
  const file = newFile();
  await (await open(file, MIGRATIONS.slice(0, 1))).close();
  const broken = [...MIGRATIONS.slice(0, 1), { version: 2, statements: () => ["create nonsense"] }];
  await expect(
    openStore<Schema>({ at: { kind: "sqlite", file }, migrations: broken }),
  ).rejects.toThrow();
  await expect(open(file)).resolves.toBeDefined();
});

test("a damaged file and one that is no store are refused with a reason", async () => {
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
  await (await open(file)).close();
  const small = [...MIGRATIONS, { version: 3, statements: () => ["create table pad (x integer)"] }];
  const store = await open(file, small);
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

async function limitPages(store: Store<Schema>, pages: number): Promise<void> {
  const { sql } = await import("kysely");
  await store.write((trx) => sql.raw(`pragma max_page_count = ${pages}`).execute(trx));
}

test("a folder that cannot be made is INTERNAL_STORE_UNAVAILABLE", async () => {
  const file = newFile();
  fs.writeFileSync(path.dirname(file), "a file where the folder should be");
  await expect(open(file)).rejects.toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
});

test("a wrong parameter type is refused before SQLite sees it", async () => {
  const store = await open(newFile());
  const written = store.write((trx) =>
    trx
      .insertInto("item")
      .values({ text: JSON.parse("{}") })
      .execute(),
  );
  await expect(written).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
});

test("close waits for the writes that were asked for, and later ones are refused", async () => {
  const file = newFile();
  const store = await open(file);
  const write = store.write((trx) => trx.insertInto("item").values({ text: "a" }).execute());
  await Promise.all([store.close(), write]);
  await expect(store.write(() => Promise.resolve())).rejects.toMatchObject({
    code: "INTERNAL_UNEXPECTED",
  });
  const database = new DatabaseSync(file);
  expect(database.prepare("select count(*) as n from item").get()).toEqual({ n: 1 });
  database.close();
});
