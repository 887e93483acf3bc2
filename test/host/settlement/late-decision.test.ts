import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { createGovernanceEvent } from "../../../host/governance/index.ts";
import type { VerifiedExecution } from "../../../host/settlement/index.ts";
import {
  noOutput,
  parseEvent,
  slashedMinor,
  verifySettlementProof,
} from "../../../protocol/index.ts";
import { closeRun, runTask, verifyRun, type TestRun } from "../../helpers/evidence-rig.ts";
import { createNetwork, type TestNetwork } from "../../helpers/network.ts";
import {
  challengeApproved,
  consumptionRecord,
  governanceChallenge,
  openSettlementRig,
  type SettlementRig,
} from "../../helpers/settlement-rig.ts";

const DEADLINE_MS = 60_000;
const PENALTY_MINOR = 500;

let network: TestNetwork;
let run: TestRun;
let execution: VerifiedExecution;
let consumption: Uint8Array[];
let taskId: string;

beforeAll(async () => {
  network = await createNetwork();
  run = await runTask({ network });
  execution = verifyRun(run);
  const { participants } = execution;
  consumption = await Promise.all(participants.map((vaultId) => consumptionRecord(run, vaultId)));
  taskId = run.task.envelope.task_id;
});

afterAll(() => closeRun(run));

/** A task that governance has challenged, by a settlement that follows the coordinator's own governance log. */
async function challenged(): Promise<SettlementRig> {
  const rig = await openSettlementRig(network, run.governance);
  Object.defineProperty(rig.governance, "state", { get: () => rig.own.pendingState() });
  await rig.settlement.candidate(execution, consumption);
  await rig.settlement.openChallenge(governanceChallenge(run));
  return rig;
}

/** As {@link challenged}, when nobody has decided by the deadline. */
async function closed(): Promise<SettlementRig> {
  const rig = await challenged();
  rig.clock.ms += DEADLINE_MS;
  const ended = await rig.settlement.resolveChallenges();
  expect(ended).toEqual([{ taskId, resolution: "closed_without_penalty" }]);
  return rig;
}

async function decide(rig: SettlementRig, task = taskId): Promise<void> {
  const decision = challengeApproved(task);
  const keys = network.governanceKeys.slice(0, 2);
  const [state, timeMs] = [rig.own.pendingState(), rig.clock.ms];
  await rig.own.submit(createGovernanceEvent({ state, decision, keys, timeMs }));
}

async function statesOf(rig: SettlementRig): Promise<string[]> {
  const shape = z.object({ to: z.string() });
  const events = (await rig.log.entriesForTask(taskId)).map(({ event }) => parseEvent(event));
  const steps = events.filter(({ type }) => type === "challenge_transition");
  return steps.map(({ body }) => shape.parse(body).to);
}

/** What the stakes lost, and what the entry under the root says they did; null without such an entry. */
async function takenAndSaid({ own, settlement }: SettlementRig) {
  const actor = own.state().actors.get("vault-2");
  const taken = actor === undefined ? 0 : slashedMinor(actor.stake);
  if (!(await settlement.isFinal(taskId))) return { taken, said: null };
  const { coordinator, genesisDigest } = network;
  const pinned = { coordinatorKey: coordinator.signing.publicKey, genesisDigest };
  const { entry } = verifySettlementProof(await settlement.proofFor(taskId), pinned);
  const penalties = entry.accounting.filter(({ kind }) => kind === "penalty");
  const said = penalties.reduce((sum, { amount_minor: amount }) => sum + amount, 0);
  return { taken, said, hasOutput: Buffer.compare(entry.output_commitment, noOutput()) !== 0 };
}

const CLOSED = expect.objectContaining({ code: "GOVERNANCE_CHALLENGE_CLOSED" });

test("[SP-2][SP-4][CH-1] a decision after the deadline reopens the challenge, and the entry says what was taken", async () => {
  const rig = await closed();
  await decide(rig);
  await rig.requestBoundary();
  expect(await rig.settlement.finalizeDue(), "the entry does not say it yet").toMatchObject({
    taskIds: [],
  });
  expect(await rig.settlement.resolveChallenges()).toEqual([{ taskId, resolution: "approved" }]);
  expect(await rig.settlement.resolveChallenges()).toEqual([]);
  await rig.requestBoundary();
  expect(await rig.settlement.finalizeDue()).toMatchObject({ taskIds: [taskId] });
  const said = PENALTY_MINOR;
  expect(await takenAndSaid(rig)).toEqual({ taken: said, said, hasOutput: false });
  expect(await statesOf(rig)).toEqual([
    ...["opened", "closed_without_penalty", "reopened", "reviewing"],
    ...["confirmed", "approved", "penalty_recorded"],
  ]);
  await rig.store.close();
});

test("[SP-10] what has settled is decided about no more: no stake is taken that no entry names", async () => {
  const rig = await closed();
  await rig.settlement.finalizeDue();
  const before = rig.own.state();
  await expect(decide(rig)).rejects.toThrow(CLOSED);
  await expect(decide(rig, "t-unknown")).rejects.toThrow(CLOSED);
  expect(rig.own.pendingState()).toBe(before);
  expect(await takenAndSaid(rig)).toEqual({ taken: 0, said: 0, hasOutput: true });
  await rig.requestBoundary();
  expect(rig.own.state().sequence, "the log goes on").toBe(before.sequence + 1);
  await rig.store.close();
});

test.for(["decision", "settlement"] as const)(
  "[SP-10] of a decision and a settlement that come at once, the %s first, both know",
  async (first) => {
    const rig = await closed();
    await rig.requestBoundary();
    const settle = (): Promise<unknown> => rig.settlement.finalizeDue();
    const both = first === "decision" ? [decide(rig), settle()] : [settle(), decide(rig)];
    await Promise.allSettled(both);
    await rig.settlement.resolveChallenges();
    const { taken, said } = await takenAndSaid(rig);
    expect({ taken, said }).toEqual(
      first === "decision" ? { taken: PENALTY_MINOR, said: null } : { taken: 0, said: 0 },
    );
    await rig.store.close();
  },
);
