import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import {
  backupStore,
  openStore,
  type BackupProgress,
  type Migration,
  type Store,
} from "../../../host/store/index.ts";

interface Schema {
  item: { id: number; pad: Uint8Array };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ integer, blob }) => [
      `create table item (id ${integer} primary key, pad ${blob} not null)`,
    ],
  },
];

let folder: string;
let store: Store<Schema>;

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-backup-"));
  store = await open("s.db");
});

afterEach(async () => {
  await store.close();
  fs.rmSync(folder, { recursive: true });
});

function open(name: string): Promise<Store<Schema>> {
  const at = { kind: "sqlite", file: path.join(folder, name) } as const;
  return openStore<Schema>({ at, migrations: MIGRATIONS });
}

async function insert(id: number, bytes = 100_000): Promise<void> {
  const pad = new Uint8Array(bytes).fill(id);
  await store.write((trx) => trx.insertInto("item").values({ id, pad }).execute());
}

async function idsIn(name: string): Promise<number[]> {
  const copy = await open(name);
  try {
    const rows = await copy.db.selectFrom("item").select("id").orderBy("id").execute();
    return rows.map(({ id }) => id);
  } finally {
    await copy.close();
  }
}

test("a backup is the store as it was when asked for, however much is written meanwhile", async () => {
  for (let id = 0; id < 100; id += 1) await insert(id);
  const target = path.join(folder, "b.db");
  const seen: BackupProgress[] = [];
  const backup = backupStore(store, target, (progress) => seen.push(progress));
  let writes = 0;
  const writing = (async () => {
    for (let id = 100; id < 140; id += 1) {
      await insert(id);
      writes += 1;
    }
  })();
  await Promise.all([backup, writing]);
  expect(writes).toBe(40);
  expect(await idsIn("b.db")).toEqual(Array.from({ length: 100 }, (_, id) => id));
  expect(seen.length).toBeGreaterThan(1);
  expect(seen.every((one, index) => one.pagesDone >= (seen[index - 1]?.pagesDone ?? 0))).toBe(true);
  expect(fs.statSync(target).mode % 0o1000).toBe(0o600);
  expect(fs.readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
});

test("a backup never replaces a file, and one at a time runs", async () => {
  await insert(1);
  const target = path.join(folder, "b.db");
  const first = backupStore(store, target);
  const second = backupStore(store, path.join(folder, "c.db"));
  await expect(second).rejects.toMatchObject({ code: "INTERNAL_STORE_BUSY" });
  await first;
  await expect(backupStore(store, target)).rejects.toMatchObject({
    code: "INTERNAL_STORE_UNAVAILABLE",
    details: { reason: "the file exists" },
  });
  expect(await idsIn("b.db")).toEqual([1]);
});

test("a backup that cannot be written leaves nothing, and the next one takes its place", async () => {
  await insert(1);
  const target = path.join(folder, "absent", "b.db");
  await expect(backupStore(store, target)).rejects.toMatchObject({
    code: "INTERNAL_STORE_UNAVAILABLE",
    details: { reason: "ENOENT" },
  });
  fs.mkdirSync(path.dirname(target));
  fs.writeFileSync(`${target}.partial`, "what a killed backup left");
  await backupStore(store, target);
  expect(fs.readdirSync(path.dirname(target))).toEqual(["b.db"]);
  expect(await idsIn("absent/b.db")).toEqual([1]);
});

test("closing the store waits for its backup", async () => {
  for (let id = 0; id < 50; id += 1) await insert(id);
  const backup = backupStore(store, path.join(folder, "b.db"));
  await Promise.all([store.close(), backup]);
  expect(await idsIn("b.db")).toHaveLength(50);
});

test("what is deleted is not left in the file", async () => {
  await insert(0x5a);
  await store.write((trx) => trx.deleteFrom("item").execute());
  await store.close();
  const bytes = fs.readFileSync(path.join(folder, "s.db"));
  expect(bytes.includes(Buffer.alloc(64, 0x5a))).toBe(false);
});
