// Shares of noise and of result keys leave a Vault once, though its process is killed between any two steps and the
// coordinator asks again, for the same and for another.
import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { TASK_ENVELOPE, encodeCbor } from "../../../../protocol/index.ts";
import { crashImages, runUntilKilled } from "../../../helpers/crash-images.ts";
import { execute, finish, proofOf, signedBundle } from "../finished-task.ts";
import { ask } from "../operator/run-task.ts";
import { doShareJob, type ShareJob } from "./share-jobs.ts";
import { envelopeOf, newFixture, newFolder, stocked } from "../vault-fixture.ts";

const SCRIPT = path.join(import.meta.dirname, "share-child.ts");

/** A Vault at rest with a task admitted and a task settled, and what a coordinator holds of both. */
interface AtRest {
  /** With the others inside. */
  readonly home: string;
  readonly directory: string;
  readonly admitted: string;
  readonly settled: string;
}

let atRest: AtRest;

beforeEach(async () => {
  const folder = newFolder();
  const home = path.join(folder, "home");
  const directory = path.join(home, "vault");
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
    home,
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

/** What leaves the Vault in a life that is not cut short. */
async function wholeLife(jobs: readonly ShareJob[]): Promise<string[]> {
  const { directory } = atRest;
  const fixture = await newFixture({ directory });
  fixture.clock.nowMs += 2_000;
  const leaving: string[] = [];
  const left = (what: string): void => void leaving.push(what);
  for (const job of jobs) await doShareJob(fixture, job, { file: fileOf(job), left });
  await fixture.vault.close();
  return leaving;
}

function fileOf(job: ShareJob): string {
  return job === "release" ? atRest.settled : atRest.admitted;
}

const ofShares = (line: string): boolean => /^(contribution|share) /.test(line);

/** Kills a job at every step it has, and gives what left the Vault in that life and in those after it. */
async function killedEverywhere(job: ShareJob, after: readonly ShareJob[]) {
  const { home, directory } = atRest;
  const words = [directory, fileOf(job), job];
  const images = await crashImages({
    script: SCRIPT,
    words,
    home,
    steps: "all",
  });
  const outcomes: { readonly first: readonly string[]; readonly later: readonly string[] }[] = [];
  const { steps, lines } = images;
  for (const at of steps) {
    images.putBack(at);
    const first = lines.slice(0, lines.indexOf(`image ${at}`)).filter(ofShares);
    outcomes.push({ first, later: await wholeLife(after) });
  }
  images.putBack(0);
  const { killed, lines: told } = await runUntilKilled(SCRIPT, [...words, `${steps.length >> 1}`]);
  expect(killed).toBe(true);
  outcomes.push({ first: told.filter(ofShares), later: await wholeLife(after) });
  images.putBack(0);
  const whole = await runUntilKilled(SCRIPT, [...words, "0"]);
  outcomes.push({ first: whole.lines.filter(ofShares), later: await wholeLife(after) });
  return outcomes;
}

test("[DS-7] [PB-4] a noise share leaves for one execution alone, killed between any two steps and asked again", async () => {
  const outcomes = await killedEverywhere("slice", ["slice", "another"]);
  expect(outcomes.length).toBeGreaterThan(6);
  for (const { first, later } of outcomes) {
    expect(new Set([...first, ...later]).size).toBeLessThanOrEqual(1);
    if (first.length > 0) expect(later).toEqual([]);
  }
  // Killed before its charge was durable, it can still be run; whole, it leaves in its first life.
  expect(outcomes.some(({ later }) => later.length === 1)).toBe(true);
  expect(outcomes.at(-1)?.first).toHaveLength(1);
});

test("[RD-2] a result-key share leaves with the same bytes ever after, killed between any two steps", async () => {
  const outcomes = await killedEverywhere("release", ["release", "release"]);
  expect(outcomes.length).toBeGreaterThan(3);
  for (const { first, later } of outcomes) {
    expect(later).toHaveLength(2);
    expect(new Set([...first, ...later]).size).toBe(1);
  }
});
