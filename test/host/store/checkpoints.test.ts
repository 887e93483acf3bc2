import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, beforeEach, expect, test } from "vitest";

import { Checkpoints } from "../../../host/store/checkpoints.ts";
import { openStore, type Generated } from "../../../host/store/index.ts";

/** More pages than are worth a checkpoint. */
const LARGE_BYTES = 5_000_000;

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-checkpoints-"));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function newWriter(): { readonly file: string; readonly writer: DatabaseSync } {
  const file = path.join(folder, "s.db");
  const writer = new DatabaseSync(file);
  writer.exec("PRAGMA journal_mode = WAL; CREATE TABLE item (pad BLOB)");
  return { file, writer };
}

function write(writer: DatabaseSync, bytes: number): void {
  writer.prepare("INSERT INTO item VALUES (?)").run(new Uint8Array(bytes).fill(7));
}

function pagesWaiting(writer: DatabaseSync): number {
  const row = writer.prepare("PRAGMA wal_checkpoint(NOOP)").get();
  return Number(row?.["log"]) - Number(row?.["checkpointed"]);
}

test("[PL-7] a long log is moved into the main file by another thread, a short one stays", async () => {
  const { file, writer } = newWriter();
  const checkpoints = new Checkpoints(file, writer);
  write(writer, 100_000);
  checkpoints.committed();
  await checkpoints.without(async () => expect(pagesWaiting(writer)).toBeGreaterThan(20));
  write(writer, LARGE_BYTES);
  expect(pagesWaiting(writer)).toBeGreaterThan(1_200);
  checkpoints.committed();
  await checkpoints.without(async () => expect(pagesWaiting(writer)).toBe(0));
  write(writer, LARGE_BYTES);
  checkpoints.committed();
  await checkpoints.close();
  expect(pagesWaiting(writer)).toBe(0);
  writer.close();
  expect(fs.readdirSync(folder)).toEqual(["s.db"]);
});

/** What keeps this process alive, the thread among it. */
function alive(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind === "MessagePort");
}

test("[PL-7] a closed one has ended its thread, which had done its work, and starts none again", async () => {
  const before = alive();
  const { file, writer } = newWriter();
  const checkpoints = new Checkpoints(file, writer);
  write(writer, LARGE_BYTES);
  checkpoints.committed();
  expect(alive()).not.toEqual(before);
  await checkpoints.close();
  expect(alive()).toEqual(before);
  expect(pagesWaiting(writer)).toBe(0);
  write(writer, LARGE_BYTES);
  checkpoints.committed();
  expect(alive()).toEqual(before);
  expect(pagesWaiting(writer)).toBeGreaterThan(1_200);
  writer.close();
});

test("[PL-7] a process that has nothing else to do stays until its log is moved and closed", () => {
  const { file, writer } = newWriter();
  writer.close();
  const code = path.join(import.meta.dirname, "../../../host/store/checkpoints.ts");
  const script = `
    import { DatabaseSync } from "node:sqlite";
    import { Checkpoints } from ${JSON.stringify(code)};
    const writer = new DatabaseSync(${JSON.stringify(file)});
    const checkpoints = new Checkpoints(${JSON.stringify(file)}, writer);
    writer.prepare("INSERT INTO item VALUES (zeroblob(${LARGE_BYTES}))").run();
    checkpoints.committed();
    await checkpoints.close();
    console.log("closed");`;
  const started = path.join(folder, "closing.mjs");
  fs.writeFileSync(started, script);
  const words = ["--no-warnings", started];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "closed\n", stderr: "" });
});

test("what a reader needs waits, and does not make every commit begin anew", async () => {
  const { file, writer } = newWriter();
  const checkpoints = new Checkpoints(file, writer);
  const reader = new DatabaseSync(file, { readOnly: true });
  reader.exec("BEGIN; SELECT * FROM item");
  write(writer, LARGE_BYTES);
  checkpoints.committed();
  await checkpoints.without(async () => expect(pagesWaiting(writer)).toBeGreaterThan(1_200));
  reader.close();
  checkpoints.committed();
  await checkpoints.without(async () => expect(pagesWaiting(writer)).toBeGreaterThan(1_200));
  write(writer, LARGE_BYTES);
  checkpoints.committed();
  await checkpoints.close();
  expect(pagesWaiting(writer)).toBe(0);
  writer.close();
});

test("[PL-7] a thread that cannot open the file keeps nobody waiting", async () => {
  const { writer } = newWriter();
  const checkpoints = new Checkpoints(path.join(folder, "absent", "s.db"), writer);
  for (let count = 0; count < 2; count += 1) {
    write(writer, LARGE_BYTES);
    checkpoints.committed();
    await checkpoints.without(async () => expect(pagesWaiting(writer)).toBeGreaterThan(1_200));
  }
  await checkpoints.close();
  writer.close();
});

test("a store under large writes keeps every one, purges between them, and leaves no log behind", async () => {
  const file = path.join(folder, "s.db");
  const open = () =>
    openStore<{ item: { id: Generated<number>; pad: Uint8Array } }>({
      at: { kind: "sqlite", file },
      migrations: [
        {
          version: 1,
          statements: ({ position, blob }) => [`create table item (id ${position}, pad ${blob})`],
        },
      ],
    });
  const store = await open();
  const pad = new Uint8Array(1_500_000).fill(7);
  for (let count = 0; count < 12; count += 1) {
    await store.write((trx) => trx.insertInto("item").values({ pad }).execute());
    if (count % 5 === 4) await store.purge([]);
  }
  await store.close();
  expect(fs.readdirSync(folder).filter((name) => name.includes("-wal"))).toEqual([]);
  const again = await open();
  expect(await again.db.selectFrom("item").select("id").execute()).toHaveLength(12);
  await again.close();
});
