import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, test } from "vitest";

import { hex, parseBatchHeader } from "../../protocol/index.ts";
import { openFixture, recordsIn } from "../host/sovereignty/vault-world.ts";

/** Fixes the moments of every kill; a failing run prints the seed it drew. */
const SEED = Number(process.env["SYMPHONY_SEED"] ?? Date.now() % 1_000_000);
/** Vaults that are killed side by side, and how often each. */
const LANES = 2;
const KILLS_PER_LANE = 50;
/** Of one source, and of a batch. */
const ROWS = 100;
const BATCH_ROWS = 10;
/** About what the child writes for one source from its opening to its publication. */
const DOTS_MAX = 120;
/** It takes some 40 s on two quiet processors. */
const LIMIT_MS = 600_000;

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

/** Runs the child until it is done, or to its `dots`-th dot: then kills it with -9. Returns whether it was killed. */
async function run(directory: string, source: number, dots: number): Promise<boolean> {
  const words = [ROWS, source * ROWS, BATCH_ROWS].map(String);
  const child = spawn(process.execPath, ["--no-warnings", CHILD, directory, ...words], {
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
  return signal === "SIGKILL";
}

/** Sends sources to one Vault, one after the other; sends each again until it got through. Returns how many. */
async function lane(directory: string, random: () => number): Promise<number> {
  let kills = 0;
  for (let source = 0; ; source += 1) {
    while (await run(directory, source, kills < KILLS_PER_LANE ? random() * DOTS_MAX : Infinity)) {
      kills += 1;
    }
    if (kills >= KILLS_PER_LANE) return source + 1;
  }
}

test.for(Array.from({ length: LANES }, (_, index) => index))(
  `[PL-7] [DS-1] killed with -9 at ${KILLS_PER_LANE} moments (of ${LANES} Vaults, number %i): nothing lost, doubled or left over`,
  { timeout: LIMIT_MS, concurrent: true },
  async (index, { expect }) => {
    process.stdout.write(`SYMPHONY_SEED=${SEED}\n`);
    const directory = path.join(folder, `vault-${index}`);
    const sources = await lane(directory, numbersFrom(SEED + index));
    const { vault } = await openFixture({ directory });
    const records = await recordsIn(vault, "customers");
    const { published, open } = await vault.records.runs();
    const status = await vault.status();
    await vault.close();
    const rows = sources * ROWS;
    expect(status).toMatchObject({ records: rows, subjects: rows });
    expect(new Set(records.map(({ commitment }) => hex(commitment))).size).toBe(rows);
    expect(published).toHaveLength(sources);
    expect(open).toEqual([]);
    const named = new Set(records.map(({ batch_id }) => `${hex(batch_id)}.batch`));
    const files = fs.readdirSync(path.join(directory, "batches"));
    expect(files.toSorted()).toEqual([...named].toSorted());
    const stored = files.map((file) => fs.readFileSync(path.join(directory, "batches", file)));
    const counts = stored.map((bytes) => parseBatchHeader(bytes).record_count);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows);
  },
);
