import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { afterEach, beforeEach, expect, test } from "vitest";

import { drawFrom, type Draw } from "./ledger-model.ts";
import { openStoredLedger, requireAsTheLog, writeSome } from "./stored-ledger.ts";

const FULL = process.env["SYMPHONY_FULL"] === "1";
const LEDGERS = FULL ? 10 : 3;
const TORN_OF_EACH = 25;
const KILLS = FULL ? 12 : 3;
const ACKNOWLEDGED_MAX = 60;
const MEMORY = "/dev/shm";
const TIMEOUT_MS = 240_000;

let folder: string;

beforeEach(() => {
  // What is cut is decided here: these files need not survive a real power cut.
  const parent = fs.existsSync(MEMORY) ? MEMORY : os.tmpdir();
  folder = fs.mkdtempSync(path.join(parent, "symphony-ledger-crash-"));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

/** What a folder would have if the power failed now. */
function imageOf(directory: string): Map<string, Buffer> {
  const names = fs.readdirSync(directory).filter((name) => !/-shm$|lock/.test(name));
  return new Map(names.map((name) => [name, fs.readFileSync(path.join(directory, name))]));
}

/** The image after a last write of which only a part of the log reached the disk, and whether it was all of it. */
function torn(
  { before, last }: Record<"before" | "last", ReadonlyMap<string, Buffer>>,
  draw: Draw,
): { readonly image: ReadonlyMap<string, Buffer>; readonly whole: boolean } {
  const wal = last.get("vault.db-wal") ?? Buffer.alloc(0);
  const from = before.get("vault.db-wal")?.length ?? 0;
  const cut = from + draw(wal.length - from + 1);
  const rest = draw(2) === 0 ? Buffer.alloc(wal.length - cut, 0xa5) : Buffer.alloc(0);
  const log = Buffer.concat([wal.subarray(0, cut), rest]);
  return { image: new Map(last).set("vault.db-wal", log), whole: cut === wal.length };
}

test(
  `[PB-2] [PL-7] a ledger survives ${TORN_OF_EACH} torn writes in a row: memory is the log, the log never overspends, and nothing before the write is lost`,
  { timeout: TIMEOUT_MS },
  async () => {
    let lost = 0;
    for (let seed = 0; seed < LEDGERS; seed += 1) lost += await tornInARow(drawFrom(seed));
    expect(lost).toBeGreaterThan((LEDGERS * TORN_OF_EACH) / 2);
  },
);

/** Each crash is of what the one before left. @returns How many last writes were lost */
async function tornInARow(draw: Draw): Promise<number> {
  let image: ReadonlyMap<string, Buffer> = new Map();
  let kept = new Set<string>();
  let lost = 0;
  for (let crash = 0; crash < TORN_OF_EACH; crash += 1) {
    const directory = path.join(folder, `${crash}`);
    fs.mkdirSync(directory);
    for (const [name, bytes] of image) fs.writeFileSync(path.join(directory, name), bytes);
    const ledger = await openStoredLedger(directory);
    const found = await requireAsTheLog(ledger);
    expect([...kept].filter((name) => !found.has(name))).toEqual([]);
    kept = found;
    for (const name of await writeSome(ledger, draw)) kept.add(name);
    const before = imageOf(directory);
    const entered = await writeSome(ledger, draw);
    const { image: left, whole } = torn({ before, last: imageOf(directory) }, draw);
    image = left;
    if (whole) for (const name of entered) kept.add(name);
    else lost += 1;
    await ledger.store.close();
    fs.rmSync(directory, { recursive: true });
  }
  expect(kept.size).toBeGreaterThan(TORN_OF_EACH);
  return lost;
}

test(
  `[PB-2] [PL-7] a ledger whose process is killed with -9 ${KILLS} times has every entry that was acknowledged`,
  { timeout: TIMEOUT_MS },
  async () => {
    const draw = drawFrom(2);
    const acknowledged = new Set<string>();
    for (let kill = 0; kill < KILLS; kill += 1) {
      const count = 1 + draw(ACKNOWLEDGED_MAX);
      for (const name of await acknowledgedUntilKilled(kill, count)) acknowledged.add(name);
      const ledger = await openStoredLedger(folder);
      const found = await requireAsTheLog(ledger);
      expect([...acknowledged].filter((name) => !found.has(name))).toEqual([]);
      await ledger.store.close();
    }
    expect(acknowledged.size).toBeGreaterThan(KILLS * 10);
  },
);

async function acknowledgedUntilKilled(seed: number, count: number): Promise<string[]> {
  const script = path.join(import.meta.dirname, "ledger-kill-child.ts");
  const child = spawn(process.execPath, [script, folder, `${seed}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const acknowledged: string[] = [];
  for await (const name of createInterface({ input: child.stdout })) {
    acknowledged.push(name);
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  await exited;
  return acknowledged;
}
