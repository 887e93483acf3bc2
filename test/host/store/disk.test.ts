import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { afterWrite, openStore, type Migration, type Store } from "../../../host/store/index.ts";
import { canMountSmallDisk, mountSmallDisk, unmountSmallDisk } from "../../helpers/small-disk.ts";

interface Schema {
  item: { id: number; pad: Uint8Array };
  twin: { id: number };
}

const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: ({ integer, blob }) => [
      `create table item (id ${integer} primary key, pad ${blob} not null)`,
      `create table twin (id ${integer} primary key)`,
    ],
  },
];

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-disk-"));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function open(file: string): Promise<Store<Schema>> {
  return openStore<Schema>({ at: { kind: "sqlite", file }, migrations: MIGRATIONS });
}

/** Writes two rows and keeps `memory` as they are. */
async function insert(
  store: Store<Schema>,
  memory: number[],
  args: { readonly id: number; readonly bytes: number },
): Promise<void> {
  const { id } = args;
  await store.write(async (trx) => {
    memory.push(id);
    afterWrite(trx, (committed) => {
      if (!committed) memory.splice(memory.indexOf(id));
    });
    const pad = new Uint8Array(args.bytes).fill(id);
    await trx.insertInto("item").values({ id, pad }).execute();
    await trx.insertInto("twin").values({ id }).execute();
  });
}

async function idsOf(store: Store<Schema>): Promise<number[]> {
  const items = await store.db.selectFrom("item").selectAll().orderBy("id").execute();
  const twins = await store.db.selectFrom("twin").select("id").orderBy("id").execute();
  expect(items.map(({ id }) => ({ id }))).toEqual(twins);
  expect(items.every(({ id, pad }) => pad.every((byte) => byte === id))).toBe(true);
  return items.map(({ id }) => id);
}

async function idsIn(file: string): Promise<number[]> {
  const store = await open(file);
  try {
    return await idsOf(store);
  } finally {
    await store.close();
  }
}

const mountable = canMountSmallDisk();

describe.skipIf(!mountable)(mountable ? "a small disk" : "no small disk: tmpfs takes root", () => {
  const disk = (): string => path.join(folder, "disk");

  beforeEach(() => {
    fs.mkdirSync(disk());
    mountSmallDisk(disk(), "size=2m,mode=0700");
  });

  afterEach(() => {
    unmountSmallDisk(disk());
  });

  test("that is full refuses the write, keeps what was acknowledged, and works again with space", async () => {
    const file = path.join(disk(), "s.db");
    const store = await open(file);
    const memory: number[] = [];
    fs.writeFileSync(path.join(disk(), "ballast"), new Uint8Array(700_000));
    const outcomes: PromiseSettledResult<void>[] = [];
    for (let id = 0; id < 60; id += 3) {
      const group = [0, 1, 2].map((n) => insert(store, memory, { id: id + n, bytes: 20_000 }));
      outcomes.push(...(await Promise.allSettled(group)));
      // Nothing half after every group, refused or not.
      expect(await idsOf(store)).toEqual(memory);
    }
    const kept = outcomes.flatMap(({ status }, id) => (status === "fulfilled" ? [id] : []));
    expect(memory).toEqual(kept);
    expect(kept.length).toBeGreaterThan(3);
    expect(kept.length).toBeLessThan(60);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject(FULL);
    }
    fs.rmSync(path.join(disk(), "ballast"));
    await insert(store, memory, { id: 99, bytes: 20_000 });
    expect(await idsOf(store)).toEqual(memory);
    await store.close();
    expect(await idsIn(file)).toEqual([...kept, 99]);
  });

  test("that may not be written to is refused with a reason, and nothing is lost", async () => {
    const file = path.join(disk(), "s.db");
    const store = await open(file);
    await insert(store, [], { id: 1, bytes: 10 });
    await store.close();
    execFileSync("mount", ["-o", "remount,ro", disk()]);
    await expect(open(file)).rejects.toMatchObject({
      code: "INTERNAL_STORE_UNAVAILABLE",
      details: { reason: expect.stringMatching(/read-only|EROFS/) },
    });
    execFileSync("mount", ["-o", "remount,rw", disk()]);
    expect(await idsIn(file)).toEqual([1]);
  });
});

const FULL = { code: "INTERNAL_STORE_UNAVAILABLE", details: { reason: "the disk is full" } };

/** What a power cut leaves: the files as they are while the store is open. */
interface Image {
  readonly main: Buffer;
  readonly wal: Buffer;
}

function imageOf(file: string): Image {
  return { main: fs.readFileSync(file), wal: fs.readFileSync(`${file}-wal`) };
}

describe("a last write that is torn", () => {
  const WRITES = 6;

  /** The files before and after the last of a few acknowledged writes. */
  async function images(): Promise<{ before: Image; after: Image }> {
    const file = path.join(folder, "s.db");
    const store = await open(file);
    for (let id = 0; id < WRITES - 1; id += 1) await insert(store, [], { id, bytes: 9_000 });
    const before = imageOf(file);
    await insert(store, [], { id: WRITES - 1, bytes: 9_000 });
    const after = imageOf(file);
    await store.close();
    return { before, after };
  }

  function restore(image: Image): string {
    const copy = fs.mkdtempSync(path.join(folder, "copy-"));
    const file = path.join(copy, "s.db");
    fs.writeFileSync(file, image.main);
    fs.writeFileSync(`${file}-wal`, image.wal);
    return file;
  }

  const all = Array.from({ length: WRITES }, (_, id) => id);

  test("is whole or gone, wherever its log was cut, and takes nothing before it along", async () => {
    const { before, after } = await images();
    const cuts = fc.integer({ min: before.wal.length, max: after.wal.length });
    await fc.assert(
      fc.asyncProperty(cuts, fc.boolean(), async (cut, filled) => {
        const rest = filled ? Buffer.alloc(after.wal.length - cut, 0xa5) : Buffer.alloc(0);
        const wal = Buffer.concat([after.wal.subarray(0, cut), rest]);
        const expected = cut === after.wal.length ? all : all.slice(0, -1);
        expect(await idsIn(restore({ main: after.main, wal }))).toEqual(expected);
      }),
      {
        numRuns: 60,
        examples: [
          [before.wal.length, false],
          [after.wal.length, false],
        ],
      },
    );
  });

  test("in the main file, is mended from the log or refused with a reason", async () => {
    const file = path.join(folder, "s.db");
    const store = await open(file);
    for (const id of all) await insert(store, [], { id, bytes: 9_000 });
    const { wal } = imageOf(file);
    // Closing moves the log into the main file; a power cut in the middle leaves part of that, and the log.
    await store.close();
    const main = fs.readFileSync(file);
    const outcomes = new Set<string>();
    const cuts = fc.integer({ min: 1, max: main.length });
    await fc.assert(
      fc.asyncProperty(cuts, fc.boolean(), async (cut, withLog) => {
        const image = { main: main.subarray(0, cut), wal: withLog ? wal : Buffer.alloc(0) };
        const ids = await idsIn(restore(image)).catch((cause: unknown) => {
          expect(cause).toMatchObject({ code: "INTERNAL_STORE_UNAVAILABLE" });
          return "refused";
        });
        if (cut === main.length) expect(ids).toEqual(all);
        else if (ids !== "refused") expect({ ids, withLog }).toEqual({ ids: all, withLog: true });
        outcomes.add(String(ids));
      }),
      {
        numRuns: 60,
        examples: [
          [main.length, false],
          [1, true],
          [main.length - 1, false],
          [0, true],
          [600, true],
          [4_095, true],
          [4_096, true],
          [600, false],
          [4_096, false],
        ],
      },
    );
    expect(outcomes.size).toBe(2);
  });
});
