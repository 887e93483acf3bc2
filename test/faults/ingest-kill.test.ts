import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, test, type ExpectStatic } from "vitest";

import { hex, parseBatchHeader } from "../../protocol/index.ts";
import { SEED } from "../helpers/seed.ts";
import { openFixture, recordsIn } from "../host/sovereignty/vault-world.ts";

/** With SYMPHONY_FULL=1 a process is killed 100 times; else 6 times, with five Vaults each. */
const FULL = process.env["SYMPHONY_FULL"] === "1";
/** Processes that are killed side by side, Vaults of each, and how often it is killed. */
const LANES = 2;
const VAULTS = FULL ? 1 : 5;
const KILLS = FULL ? 50 : 3;
/** Of one source, and of a batch. */
const ROWS = 100;
const BATCH_ROWS = 10;
/** About what the child writes for each Vault from its opening to the publication of its second source. */
const DOTS_MAX = 200;
/** Sources of a Vault that the test goes on with until it is killed: more than it gets to. */
const ENDLESS = 1_000;
/** It takes some 6 s on two quiet processors. */
const LIMIT_MS = 300_000;

const CHILD = path.join(import.meta.dirname, "ingest-child.ts");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-ingest-kill-"));

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Pseudo-random numbers in [0, 1): Numerical Recipes' generator, which is enough to scatter kills. */
function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Runs the child until it is done with `more` sources of each Vault, or to its `dots`-th dot: then kills it with -9. */
async function run(vaults: string, { more, dots }: { more: number; dots: number }): Promise<void> {
  const words = [VAULTS, more, ROWS, BATCH_ROWS].map(String);
  const child = spawn(process.execPath, ["--no-warnings", CHILD, vaults, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    // Halves what it takes to start one.
    env: { ...process.env, NODE_COMPILE_CACHE: path.join(folder, "compiled") },
  });
  const errors: string[] = [];
  let seen = 0;
  child.stderr.on("data", (text) => errors.push(String(text)));
  child.stdout.on("data", (text: Buffer) => {
    seen += text.length;
    if (seen >= dots) child.kill("SIGKILL");
  });
  const [code, signal] = await once(child, "exit");
  if (code !== 0 && signal !== "SIGKILL") throw new Error(`ingest failed: ${errors.join("")}`);
}

/** What must hold of a Vault, however often it was killed. */
async function expectWhole(expect: ExpectStatic, directory: string): Promise<void> {
  const { vault } = await openFixture({ directory });
  const records = await recordsIn(vault, "customers");
  const { published, open } = await vault.records.runs();
  const status = await vault.status();
  await vault.close();
  const rows = published.length * ROWS;
  expect(rows).toBeGreaterThan(0);
  expect(status).toMatchObject({ records: rows, subjects: rows, batches_set_aside: 0 });
  expect(new Set(records.map(({ commitment }) => hex(commitment))).size).toBe(rows);
  expect(open).toEqual([]);
  const named = new Set(records.map(({ batch_id }) => `${hex(batch_id)}.batch`));
  const files = fs.readdirSync(path.join(directory, "batches"));
  expect(files.toSorted()).toEqual([...named].toSorted());
  const stored = files.map((file) => fs.readFileSync(path.join(directory, "batches", file)));
  const counts = stored.map((bytes) => parseBatchHeader(bytes).record_count);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows);
}

test.for(Array.from({ length: LANES }, (_, index) => index))(
  `[PL-7] [DS-1] ${VAULTS} Vaults of a process that is killed with -9 at ${KILLS} moments (number %i of ${LANES}): nothing lost, doubled or left over`,
  { timeout: LIMIT_MS, concurrent: true },
  async (index, { expect }) => {
    const vaults = path.join(folder, `lane-${index}`);
    const random = numbersFrom(SEED + index);
    for (let kill = 0; kill < KILLS; kill += 1) {
      await run(vaults, { more: ENDLESS, dots: random() * DOTS_MAX * VAULTS });
    }
    await run(vaults, { more: 1, dots: Infinity });
    for (let vault = 0; vault < VAULTS; vault += 1) {
      await expectWhole(expect, path.join(vaults, `vault-${vault}`));
    }
  },
);
