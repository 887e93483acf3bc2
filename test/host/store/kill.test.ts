import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";

import { expect, test } from "vitest";

import { openStore, type Migration, type StorePlace } from "../../../host/store/index.ts";
import { describePlaces } from "../../helpers/store-places.ts";

interface Schema {
  item: { id: number };
  twin: { id: number };
}

const ROOT = path.resolve(import.meta.dirname, "../../..");
const STATEMENTS = ["item", "twin"].map((table) => `create table ${table} (id bigint primary key)`);
const MIGRATIONS: readonly Migration[] = [{ version: 1, statements: () => STATEMENTS }];
/** Acknowledgements after which the writer is killed; each run goes on where the one before was killed. */
const KILLED_AFTER = [1, 40, 7, 90, 23];

describePlaces((places) => {
  test("killed among grouped writes, a store has every write that was acknowledged, whole", async () => {
    const at = places.newPlace();
    const acknowledged = new Set<number>();
    for (const [run, count] of KILLED_AFTER.entries()) {
      for (const id of await writeUntilKilled(at, run * 10_000, count)) acknowledged.add(id);
      const kept = await keptIn(at);
      expect(kept.item).toEqual(kept.twin);
      expect([...acknowledged].filter((id) => !kept.item.includes(id))).toEqual([]);
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(161);
  });
});

/** @returns What a program had acknowledged when it was killed: writes of two rows, from sixteen callers at once. */
async function writeUntilKilled(at: StorePlace, first: number, count: number): Promise<number[]> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", writerOf(at, first)], {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: ROOT,
  });
  const exited = once(child, "exit");
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  await exited;
  return acknowledged;
}

function writerOf(at: StorePlace, first: number): string {
  return `
    import { writeSync } from "node:fs";
    const { openStore } = await import(${JSON.stringify(path.join(ROOT, "host/store/index.ts"))});
    const migrations = [{ version: 1, statements: () => ${JSON.stringify(STATEMENTS)} }];
    const open = () => openStore({ at: ${JSON.stringify(at)}, migrations });
    // A server sees a moment later that the one before was killed.
    const locked = (cause) => (cause.code === "INTERNAL_STORE_LOCKED" ? undefined : Promise.reject(cause));
    let store;
    while (store === undefined) store = await open().catch(locked);
    let next = ${first};
    const writer = async () => {
      for (;;) {
        const id = (next += 1);
        await store.write(async (trx) => {
          await trx.insertInto("item").values({ id }).execute();
          await trx.insertInto("twin").values({ id }).execute();
        });
        writeSync(1, id + "\\n");
      }
    };
    await Promise.all(Array.from({ length: 16 }, writer));`;
}

async function keptIn(at: StorePlace): Promise<{ item: number[]; twin: number[] }> {
  const store = await opened(at);
  try {
    const [item, twin] = await Promise.all(
      (["item", "twin"] as const).map((table) =>
        store.db.selectFrom(table).select("id").orderBy("id").execute(),
      ),
    );
    return { item: (item ?? []).map(({ id }) => id), twin: (twin ?? []).map(({ id }) => id) };
  } finally {
    await store.close();
  }
}

async function opened(at: StorePlace) {
  for (;;) {
    try {
      return await openStore<Schema>({ at, migrations: MIGRATIONS });
    } catch (cause) {
      const isLocked = cause instanceof Error && "code" in cause;
      if (!isLocked || cause.code !== "INTERNAL_STORE_LOCKED") throw cause;
    }
  }
}
