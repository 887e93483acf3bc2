// Shares of noise and of result keys leave a Vault once, though its process is killed between any two steps and the
// coordinator asks again, for the same and for another.
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { TASK_ENVELOPE, encodeCbor } from "../../../../protocol/index.ts";
import { execute, finish, proofOf, signedBundle } from "../finished-task.ts";
import { ask } from "../operator/run-task.ts";
import { envelopeOf, newFixture, newFolder, stocked } from "../vault-fixture.ts";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
const LIMIT_MS = 600_000;
/** More steps than any of the jobs has. */
const STEPS_MAX = 40;

type Job = "slice" | "another" | "release";

/** A Vault at rest with a task admitted and a task settled, and what a coordinator holds of both. */
interface AtRest {
  readonly directory: string;
  readonly admitted: string;
  readonly settled: string;
}

let atRest: AtRest;

beforeEach(async () => {
  const folder = newFolder();
  const directory = path.join(folder, "vault");
  const fixture = await newFixture({ directory });
  await stocked(fixture);
  const finished = await finish(await execute(fixture, "settled"));
  const settled = {
    envelope: TASK_ENVELOPE.encode(finished.envelope),
    proof: proofOf(finished),
    bundle: signedBundle(finished, finished.bundle),
    share: finished.sealedShare,
  };
  const asked = await ask(fixture, "admitted");
  // The node's governance is in its first epoch.
  const admitted = { ...envelopeOf(fixture, asked, asked.decision), epoch_id: 0 };
  await fixture.vault.close();
  atRest = {
    directory,
    admitted: write(folder, "admitted", { ...settled, envelope: TASK_ENVELOPE.encode(admitted) }),
    settled: write(folder, "settled", settled),
  };
});

function write(folder: string, name: string, given: Parameters<typeof encodeCbor>[0]): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, encodeCbor(given));
  return file;
}

/** The Vault as it was at rest, for one life and what follows it. */
function copied(): string {
  const directory = path.join(newFolder(), "vault");
  fs.cpSync(atRest.directory, directory, { recursive: true });
  return directory;
}

/** Lets a Vault's process live until step `at`, 0 for to its end. */
async function life(directory: string, jobs: readonly Job[], at: number) {
  const script = path.join(import.meta.dirname, "share-child.ts");
  const file = jobs[0] === "release" ? atRest.settled : atRest.admitted;
  const child = spawn(process.execPath, [script, directory, file, jobs.join(), String(at)], {
    ...{ cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] },
  });
  const out: string[] = [];
  const errors: string[] = [];
  child.stdout.on("data", (text) => out.push(String(text)));
  child.stderr.on("data", (text) => errors.push(String(text)));
  const [code, signal] = await once(child, "close");
  if (code !== 0 && signal !== "SIGKILL") throw new Error(errors.join(""));
  const lines = out.join("").split("\n");
  const left = lines.filter((line) => /^(contribution|share) /.test(line));
  return { killed: signal === "SIGKILL", left };
}

/** Kills a job at every step it has, and gives what left the Vault in that life and in those after it. */
async function killedEverywhere(job: Job, after: readonly Job[]) {
  const outcomes: { readonly first: readonly string[]; readonly later: readonly string[] }[] = [];
  for (let at = 1; at < STEPS_MAX; at += 1) {
    const directory = copied();
    const first = await life(directory, [job], at);
    const { left: later } = await life(directory, after, 0);
    outcomes.push({ first: first.left, later });
    if (!first.killed) return outcomes;
  }
  throw new Error(`expected fewer than ${STEPS_MAX} steps`);
}

test(
  "[DS-7] [PB-4] a noise share leaves for one execution alone, killed between any two steps and asked again",
  { timeout: LIMIT_MS },
  async () => {
    const outcomes = await killedEverywhere("slice", ["slice", "another"]);
    expect(outcomes.length).toBeGreaterThan(6);
    for (const { first, later } of outcomes) {
      expect(new Set([...first, ...later]).size).toBeLessThanOrEqual(1);
      if (first.length > 0) expect(later).toEqual([]);
    }
    // Killed before its charge was durable, it can still be run; whole, it leaves in its first life.
    expect(outcomes.some(({ later }) => later.length === 1)).toBe(true);
    expect(outcomes.at(-1)?.first).toHaveLength(1);
  },
);

test(
  "[RD-2] a result-key share leaves with the same bytes ever after, killed between any two steps",
  { timeout: LIMIT_MS },
  async () => {
    const outcomes = await killedEverywhere("release", ["release", "release"]);
    expect(outcomes.length).toBeGreaterThan(3);
    for (const { first, later } of outcomes) {
      expect(later).toHaveLength(2);
      expect(new Set([...first, ...later]).size).toBe(1);
    }
  },
);
