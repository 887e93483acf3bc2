import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { foldGovernance } from "../../../protocol/index.ts";
import { crashImages, runUntilKilled, type CrashImages } from "../../helpers/crash-images.ts";
import type { GovernanceRig } from "../../helpers/governance-rig.ts";
import { ASKED, ask, genesisBytes, openKillWorld } from "./kill-world.ts";

const SCRIPT = path.join(import.meta.dirname, "kill-child.ts");
const FULL = process.env["SYMPHONY_FULL"] === "1";

let folder: string;
let home: string;
let images: CrashImages;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-governance-kill-"));
  home = path.join(folder, "home");
  const { store } = await openKillWorld(home);
  await store.close();
  images = await crashImages({ script: SCRIPT, words: [home], home, steps: "all" });
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What had been answered when the process took a step. */
function answeredAt(step: number): readonly string[] {
  const until = images.lines.indexOf(`image ${step}`);
  const said = images.lines.slice(0, until).filter((line) => line.startsWith("answered "));
  return said.map((line) => line.slice("answered ".length));
}

/** What governance has of everything that was asked: its log, its state, and its votes say the same. */
async function takenBy({ governance, ballots }: GovernanceRig): Promise<readonly string[]> {
  const state = governance.state();
  expect(foldGovernance(genesisBytes, governance.events())).toEqual(state);
  expect(governance.pendingState()).toBe(state);
  const [proposal] = state.proposals.values();
  if (proposal === undefined) return [];
  const votes = await ballots.votes(proposal.proposalId);
  // The vote that decides is in the log with what it decides, or nowhere.
  expect(proposal.outcome).toBe(votes.length === 2 ? "approved" : "open");
  expect(state.policies.has("policy-2")).toBe(votes.length === 2);
  const suspended = state.actors.get("analyst")?.status === "suspended";
  return ASKED.slice(0, 1 + votes.length + (suspended ? 1 : 0));
}

async function expectWhole(answered: readonly string[]): Promise<string> {
  const rig = await openKillWorld(home);
  try {
    const taken = await takenBy(rig);
    expect(taken.slice(0, answered.length), "what was answered is there").toEqual(answered);
    for (const what of ASKED) await ask(rig, what);
    for (const what of ASKED) await ask(rig, what);
    expect(await takenBy(rig)).toEqual(ASKED);
    expect(rig.governance.state().sequence).toBe(3);
    return rig.governance.note();
  } finally {
    await rig.store.close();
  }
}

test("[GS-7][DT-1] killed before any write of an announcement, its votes or a decision, governance has all of it or nothing, and takes it again once", async () => {
  expect(images.steps.length).toBeGreaterThan(8);
  const notes = new Set<string>();
  for (const step of images.steps) {
    images.putBack(step);
    notes.add(await expectWhole(answeredAt(step)));
  }
  expect(notes.size, "one log, however it came about").toBe(1);
});

test("[GS-7] a process that is killed for good leaves what its image says", async () => {
  const { steps } = images;
  const moments = FULL ? steps : [steps[Math.floor(steps.length / 2)] ?? 1];
  for (const at of moments) {
    images.putBack(0);
    const { killed, lines } = await runUntilKilled(SCRIPT, [home, `${at}`]);
    expect(killed).toBe(true);
    const answered = lines.map((line) => line.slice("answered ".length));
    expect(answered).toEqual(answeredAt(at));
    await expectWhole(answered);
  }
});
