// The calls that do move a task, made again, at once, and after each other in every order.
import { afterAll, beforeAll, expect, test } from "vitest";

import { CONSUMPTION_RECORD, TASK_ENVELOPE, hex } from "../../../../protocol/index.ts";
import { changedTables, storeState } from "./store-state.ts";
import { openWorld, type Bringable, type HostileTask, type TaskCall, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await openWorld();
});

afterAll(() => world.close());

async function perform(task: HostileTask, call: TaskCall) {
  const { answer, code } = await world.rig.perform(task.work[call]);
  return { answer: answer === null ? null : hex(answer), code };
}

const MOVES: readonly { readonly state: Bringable; readonly call: TaskCall }[] = [
  { state: "unknown", call: "admit" },
  { state: "reserved", call: "settle" },
  { state: "reserved", call: "abort" },
  { state: "executing", call: "settle" },
  { state: "executing", call: "abort" },
  { state: "given_back", call: "settle" },
  { state: "charged", call: "settle" },
];

test.for(MOVES)(
  "[DS-7] [PB-4] a call made ten times at once and again is made once: a task $state, asked to $call",
  async ({ state, call }) => {
    const task = await world.bring(state, `${state} ${call}`);
    const { directory } = world.fixture;
    const first = await Promise.all(Array.from({ length: 10 }, () => perform(task, call)));
    expect(new Set(first.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(first[0]?.code).toBeNull();
    const after = storeState(directory);
    expect(await perform(task, call)).toEqual(first[0]);
    expect(changedTables(after, storeState(directory))).toEqual([]);
  },
);

test("[RD-2] a share that was asked for ten times at once left once, with the same bytes ever after", async () => {
  const task = world.tasks.final;
  const { directory, vault } = world.fixture;
  const size = vault.log.size;
  const shares = await Promise.all(Array.from({ length: 10 }, () => perform(task, "release")));
  expect(new Set(shares.map(({ answer }) => answer)).size).toBe(1);
  expect(shares[0]?.answer).not.toBeNull();
  expect(vault.log.size).toBe(size + 1);
  const after = storeState(directory);
  expect(await perform(task, "release")).toEqual(shares[0]);
  expect(changedTables(after, storeState(directory))).toEqual([]);
});

/** What a task has taken and holds in the end, whoever was first. */
async function settledAt(task: HostileTask): Promise<number> {
  const signed = await world.fixture.vault.settle(task.envelope, task.work.settle.bundles);
  const { publicKey } = world.fixture.actor.signing;
  return CONSUMPTION_RECORD.verify(signed, publicKey).consumed_epsilon_micro;
}

test("[PB-4] settle and abort race for one reservation: it is given back, and no slice runs after", async () => {
  for (const round of [0, 1, 2]) {
    const task = await world.bring("reserved", `race ${round}`);
    const calls = ["settle", "abort", "settle"] as const;
    await Promise.all(calls.map((call) => perform(task, call)));
    expect(await settledAt(task)).toBe(0);
    world.rig.posted.length = 0;
    await perform(task, "slice");
    expect(world.rig.posted).toEqual([
      { kind: "failed", code: "PRIVACY_BUDGET_STATE_CONFLICT", executing: false },
    ]);
  }
});

test("[PB-4] what began is charged whichever of settle and abort comes first, and once", async () => {
  for (const order of [
    ["settle", "abort"],
    ["abort", "settle"],
  ] as const) {
    const task = await world.bring("executing", order.join(" then "));
    for (const call of order) await perform(task, call);
    expect(await settledAt(task)).toBe(task.envelope.epsilon_micro);
  }
});

test("[DS-4] a task settled before it began, under whatever envelope, took nothing and runs under none", async () => {
  const task = await world.bring("reserved", "settled under another");
  const { vault, actor, governance } = world.fixture;
  const other = { ...task.envelope, epoch_id: task.envelope.epoch_id + 1 };
  const signed = await vault.settle(other, []);
  const record = CONSUMPTION_RECORD.verify(signed, actor.signing.publicKey);
  expect(record).toMatchObject({
    consumed_epsilon_micro: 0,
    envelope_digest: TASK_ENVELOPE.digest(other),
  });
  for (const envelope of [task.envelope, other]) {
    const reference = { round: 0, attempt: 0 };
    await expect(vault.prepareSlice(envelope, governance, reference)).rejects.toMatchObject({
      code: "PRIVACY_BUDGET_STATE_CONFLICT",
    });
  }
});
