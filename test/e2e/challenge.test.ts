import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { readSeed } from "../../host/index.ts";
import {
  CHALLENGE,
  fromHex,
  signingKeyFromSeed,
  type Challenge,
  type ChallengeResolution,
} from "../../protocol/index.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import { govern } from "../helpers/govern.ts";
import { startLiveNetwork, type LiveNetwork } from "../helpers/live-network.ts";
import { livePlan, taskOf } from "../helpers/live-plan.ts";
import { symphony } from "../helpers/spoken.ts";

let live: LiveNetwork;
const plan = livePlan({
  network: "challenge",
  policy: (policy) => ({
    ...policy,
    governance: { ...policy.governance, challenge_window_ms: 8_000 },
  }),
});

beforeAll(async () => {
  live = await startLiveNetwork(plan);
});
afterAll(async () => live.stop());

const candidateBody = z.object({ envelope_digest: z.string(), round_bundles: z.array(z.string()) });

/** Waits until the task's result is a candidate and returns what a challenger needs of it. */
async function candidateOf(taskId: string): Promise<z.infer<typeof candidateBody>> {
  for await (const { type, body } of live.client.events(taskId, {
    signal: AbortSignal.timeout(60_000),
  })) {
    if (type === "settlement_candidate") return candidateBody.parse(body);
  }
  throw new Error("task: expected it to become a candidate");
}

/** What the command line does for the verifier. */
async function challenged(taskId: string, target: string) {
  const key = join(live.directory, SIM_ACTORS.verifier, "signing.seed");
  const why = ["--reason", "the sum cannot be right", "--target", target];
  const by = ["--by", SIM_ACTORS.verifier, "--key", key, "--dir", live.directory];
  return symphony("challenge", taskId, ...by, ...why);
}

/** A challenge that the command line would not make. */
async function challengeBy(
  taskId: string,
  change: (challenge: Challenge) => Challenge,
): Promise<Uint8Array> {
  const candidate = await candidateOf(taskId);
  const seed = await readSeed(join(live.directory, SIM_ACTORS.verifier, "signing.seed"));
  const challenge: Challenge = {
    version: 1,
    genesis_digest: live.network.genesisDigest,
    task_id: taskId,
    envelope_digest: fromHex(candidate.envelope_digest),
    round_bundle: fromHex(candidate.round_bundles.at(-1) ?? ""),
    target: { kind: "aggregation" },
    reason: "the sum cannot be right",
    challenger: SIM_ACTORS.verifier,
    bond_minor: plan.policy(live.network.genesis.policy).governance.challenge_bond_minor,
    opened_ms: Date.now(),
  };
  return CHALLENGE.sign(change(challenge), signingKeyFromSeed(seed));
}

const moveSchema = z.object({ from: z.string(), to: z.string() });
const CHALLENGEABLE = ["accepted", "resolving", "dispatched", "verifying", "awaiting_settlement"];

/** Every state that an ended task was in, as whoever watches it sees its moves. */
async function statesOf(taskId: string): Promise<string[]> {
  const states: string[] = [];
  for await (const { type, body } of live.submitter.watch(taskId)) {
    if (type !== "task_transition") continue;
    const { from, to } = moveSchema.parse(body);
    expect(from).toBe(states.at(-1) ?? "accepted");
    states.push(...(states.length === 0 ? [from, to] : [to]));
  }
  return states;
}

async function resolve(taskId: string, resolution: ChallengeResolution): Promise<void> {
  await govern(live, {
    type: "challenge_resolved",
    task_id: taskId,
    resolution,
    penalty: {
      actor_id: resolution === "approved" ? SIM_ACTORS.aggregator : SIM_ACTORS.verifier,
      amount_minor: 100,
    },
    reason: "reviewed",
  });
}

test("[CH-2][TL-1][TL-4][TL-8] a challenge in its window stops settlement, and an approved one ends the task unreleased", async () => {
  const taskId = await live.submit(taskOf(plan, "query"));
  const said = await challenged(taskId, "aggregation");
  expect(said).toMatchObject({ exit: 0, out: expect.stringContaining("challenged for") });
  expect((await live.client.status(taskId)).state).toBe("challenged");
  await resolve(taskId, "approved");
  const ended = await live.follow(taskId);
  expect(ended).toMatchObject({ state: "rejected", reason: "VERIFY_RESULT_REJECTED" });
  await expect(live.client.delivery(taskId)).rejects.toMatchObject({ code: "DELIVERY_NOT_READY" });
  expect(await statesOf(taskId)).toEqual([...CHALLENGEABLE, "challenged", "rejected"]);
});

test("[TL-4][TL-8] a challenge that is not confirmed lets the task settle and deliver, with the challenge in its evidence", async () => {
  const taskId = await live.submit(taskOf(plan, "compute"));
  expect(await challenged(taskId, "slice 0 of vault-b")).toMatchObject({ exit: 0, err: "" });
  expect((await challenged(taskId, "composite")).err).toContain("GOVERNANCE_CHALLENGE_CLOSED");
  await resolve(taskId, "not_confirmed");
  const ended = await live.follow(taskId);
  expect(ended).toMatchObject({ state: "completed", delivered: true });
  expect((await live.client.evidence(taskId)).length).toBeGreaterThan(0);
  const looped = [...CHALLENGEABLE, "challenged", "awaiting_settlement", "completed"];
  expect(await statesOf(taskId)).toEqual(looped);
});

test("[TL-2] a challenge against another bundle, or by a submitter, is refused and stops nothing", async () => {
  const taskId = await live.submit(taskOf(plan, "query"));
  expect((await challenged(taskId, "slice 0 of vault-z")).err).toContain(
    "PROOF_COMMITMENT_MISMATCH",
  );
  const foreign = await challengeBy(taskId, (challenge) => ({
    ...challenge,
    round_bundle: new Uint8Array(32),
  }));
  await expect(live.client.challenge(taskId, foreign)).rejects.toMatchObject({ status: 403 });
  const byAnalyst = await challengeBy(taskId, (challenge) => ({
    ...challenge,
    challenger: SIM_ACTORS.submitter,
  }));
  await expect(live.client.challenge(taskId, byAnalyst)).rejects.toMatchObject({
    name: "RemoteProblem",
  });
  expect((await live.client.status(taskId)).state).toBe("awaiting_settlement");
  expect(await live.follow(taskId)).toMatchObject({ state: "completed" });
  expect(await statesOf(taskId)).toEqual([...CHALLENGEABLE, "completed"]);
});
