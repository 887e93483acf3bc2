import { afterEach, beforeEach, expect, test } from "vitest";

import {
  closingTrigger,
  createGovernanceEvent,
  type Epoch,
  type EpochTrigger,
} from "../../../host/governance/index.ts";
import { beginClosing, closeEpoch, openEpoch } from "../../../host/governance/epochs.ts";
import type { StorePlace } from "../../../host/store/index.ts";
import { EPOCH_LIFECYCLE } from "../../../protocol/index.ts";
import { openGovernanceRig, type GovernanceRig } from "../../helpers/governance-rig.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";
import { describePlaces } from "../../helpers/store-places.ts";

const network = await createNetwork();
const EPOCH_MS = network.genesis.policy.epoch.time_ms_max;
const LIMITS = { time_ms_max: 1_000, settlement_volume_max: 3 };
const BOOTSTRAP = openEpoch({
  epochId: 0,
  nowMs: NETWORK_TIME_MS,
  semanticVersion: "semantics-1",
  policyVersion: "policy-1",
});

const TRIGGERS: readonly {
  title: string;
  at: Partial<Parameters<typeof closingTrigger>[0]>;
  expected: EpochTrigger | null;
}[] = [
  { title: "stays open before every limit", at: {}, expected: null },
  { title: "stays open a moment before", at: { nowMs: NETWORK_TIME_MS + 999 }, expected: null },
  { title: "closes by time", at: { nowMs: NETWORK_TIME_MS + 1_000 }, expected: "time" },
  { title: "stays open below the volume", at: { settlements: 2 }, expected: null },
  { title: "closes by volume", at: { settlements: 3 }, expected: "volume" },
  { title: "closes by governance", at: { boundaryRequested: true }, expected: "governance" },
  {
    title: "gives one reason for one state: governance first",
    at: { boundaryRequested: true, settlements: 3, nowMs: NETWORK_TIME_MS + 1_000 },
    expected: "governance",
  },
  {
    title: "gives one reason for one state: then time",
    at: { settlements: 3, nowMs: NETWORK_TIME_MS + 1_000 },
    expected: "time",
  },
];

test.for(TRIGGERS)("[EP-2] an epoch $title", ({ at, expected }) => {
  const still = {
    epoch: BOOTSTRAP,
    limits: LIMITS,
    nowMs: NETWORK_TIME_MS,
    settlements: 0,
    boundaryRequested: false,
  };
  expect(closingTrigger({ ...still, ...at })).toBe(expected);
});

test("[EP-2][GS-2] it closes through closing, with every scope frozen, and no other way", () => {
  const closing = beginClosing(BOOTSTRAP, "volume");
  const closed = closeEpoch(closing, NETWORK_TIME_MS + 7);
  expect(closed).toMatchObject({
    status: "closed",
    close_at_ms: NETWORK_TIME_MS + 7,
    close_reason: "volume",
    scopes: { settlement: "frozen", reward: "frozen", candidate: "frozen" },
  });
  const illegal = expect.objectContaining({ code: "EXECUTION_ILLEGAL_TRANSITION" });
  expect(() => closeEpoch(BOOTSTRAP, 1)).toThrow(illegal);
  expect(() => beginClosing(closed, "time")).toThrow(illegal);
  expect(EPOCH_LIFECYCLE.states).toEqual(["open", "closing", "closed"]);
  const everything = { limits: LIMITS, nowMs: 9e15, settlements: 9, boundaryRequested: true };
  const done: Epoch = closed;
  expect(closingTrigger({ ...everything, epoch: done })).toBeNull();
});

let at: StorePlace;
let rig: GovernanceRig;

async function open(): Promise<void> {
  rig = await openGovernanceRig({ network, at, nowMs: () => NETWORK_TIME_MS });
}

async function requestBoundary(): Promise<void> {
  const decision = { type: "epoch_boundary_requested", reason: "a test" } as const;
  const keys = network.governanceKeys.slice(0, 2);
  const timeMs = NETWORK_TIME_MS;
  const state = rig.governance.state();
  await rig.governance.submit(createGovernanceEvent({ state, decision, keys, timeMs }));
}

const DUE = { reason: "time", settlements: 0, resolved: [] } as const;

/** Closes the open epoch when its time is over. */
async function roll(resolved: readonly string[] = []) {
  const nowMs = rig.epochs.current().open_at_ms + EPOCH_MS;
  return rig.store.write((trx) => rig.epochs.roll(trx, { ...DUE, nowMs, resolved }));
}

async function triggerAt(nowMs: number): Promise<EpochTrigger | null> {
  return rig.store.write((trx) => rig.epochs.trigger(trx, { nowMs, settlements: 0 }));
}

const assign = (id: string): Promise<number> =>
  rig.store.write((trx) => rig.epochs.assign(trx, id));

describePlaces((places) => {
  beforeEach(async () => {
    at = places.newPlace();
    await open();
  });

  afterEach(() => rig.store.close());

  test("[EP-1][GS-2] the bootstrap epoch is open, and carries its versions and scopes", () => {
    expect(rig.epochs.current()).toEqual({
      epoch_id: 0,
      status: "open",
      open_at_ms: NETWORK_TIME_MS,
      close_at_ms: null,
      close_reason: null,
      semantic_version_set: ["semantics-1"],
      policy_version_set: ["policy-1"],
      scopes: { settlement: "collecting", reward: "collecting", candidate: "collecting" },
    });
  });

  test("[EP-1] a new epoch opens only as the one before closes; two are never open", async () => {
    const { closed, opened } = await roll();
    expect([closed.status, opened.status, opened.epoch_id]).toEqual(["closed", "open", 1]);
    expect(rig.epochs.current()).toEqual(opened);
    const row = await rig.store.db
      .selectFrom("epoch")
      .selectAll()
      .where("epoch_id", "=", 1)
      .execute();
    const second = rig.store.write((trx) =>
      trx
        .insertInto("epoch")
        .values(row.map((each) => ({ ...each, epoch_id: 2 })))
        .execute(),
    );
    await expect(second).rejects.toThrow();
    await rig.store.close();
    await open();
    expect(rig.epochs.current()).toEqual(opened);
  });

  test("an epoch that could not be written stays the open one", async () => {
    const failed = rig.store.write(async (trx) => {
      await rig.epochs.roll(trx, { ...DUE, nowMs: NETWORK_TIME_MS + EPOCH_MS });
      throw new Error("the disk is gone");
    });
    await expect(failed).rejects.toThrow("the disk is gone");
    expect(rig.epochs.current().epoch_id).toBe(0);
    expect(rig.governance.state()).toMatchObject({ sequence: 0, epoch: { epochId: 0 } });
    expect((await roll()).opened.epoch_id).toBe(1);
  });

  test("[EP-3] a member that is assigned while an epoch closes joins the next one", async () => {
    const rolled = roll();
    const assigned = assign("t-1");
    await rolled;
    expect(await assigned).toBe(1);
  });

  test("[EP-4][GS-2] a parent keeps its admission epoch, each sub-task the epoch open at its dispatch", async () => {
    expect(await assign("t-1")).toBe(0);
    expect(await assign("t-1.r0")).toBe(0);
    await roll();
    expect(await assign("t-1")).toBe(0);
    expect(await assign("t-1.r0")).toBe(0);
    expect(await assign("t-1.r1")).toBe(1);
  });

  test("[EP-3] nothing joins a closed epoch, and its members stay what they were", async () => {
    await assign("t-1");
    await assign("t-2");
    await roll(["t-1"]);
    await assign("t-3");
    expect(await rig.epochs.members(0)).toEqual(["t-1", "t-2"]);
    expect(await rig.epochs.members(1)).toEqual(["t-3"]);
    await rig.store.close();
    await open();
    expect(await rig.epochs.members(0)).toEqual(["t-1", "t-2"]);
  });

  test("[EP-2][EP-4] what is unresolved at the close is deferred, what is resolved is not", async () => {
    for (const id of ["t-1", "t-2", "t-3"]) await assign(id);
    await rig.epochs.resolve("t-3");
    await roll(["t-1"]);
    await roll();
    const rows = await rig.store.db
      .selectFrom("epoch_member")
      .select(["member_id", "epoch_id", "deferred_to"])
      .orderBy("member_id")
      .execute();
    expect(rows).toEqual([
      { member_id: "t-1", epoch_id: 0, deferred_to: null },
      { member_id: "t-2", epoch_id: 0, deferred_to: 2 },
      { member_id: "t-3", epoch_id: 0, deferred_to: null },
    ]);
  });

  test("[EP-2] governance asks for a boundary once", async () => {
    expect(await triggerAt(NETWORK_TIME_MS)).toBeNull();
    await requestBoundary();
    expect(await triggerAt(NETWORK_TIME_MS)).toBe("governance");
    const asked = { ...DUE, reason: "governance", nowMs: NETWORK_TIME_MS } as const;
    await rig.store.write((trx) => rig.epochs.roll(trx, asked));
    expect(await triggerAt(NETWORK_TIME_MS)).toBeNull();
    const again = rig.store.write((trx) => rig.epochs.roll(trx, asked));
    await expect(again).rejects.toMatchObject({ code: "GOVERNANCE_EVENT_INVALID" });
  });

  test("[EP-2] time closes an epoch while something belongs to it", async () => {
    const lateMs = NETWORK_TIME_MS + EPOCH_MS;
    expect(await triggerAt(lateMs)).toBeNull();
    await assign("t-1");
    expect(await triggerAt(lateMs - 1)).toBeNull();
    expect(await triggerAt(lateMs)).toBe("time");
    await roll();
    expect(await triggerAt(lateMs + EPOCH_MS), "t-1 is deferred to it").toBe("time");
    await rig.epochs.resolve("t-1");
    expect(await triggerAt(lateMs + EPOCH_MS)).toBeNull();
  });

  test("[EP-1][EP-2] each boundary is an event of the governance log, by the coordinator alone", async () => {
    await roll();
    const state = rig.governance.state();
    expect(state.epoch).toEqual({
      epochId: 1,
      openedMs: NETWORK_TIME_MS + EPOCH_MS,
      boundaryRequested: false,
    });
    const { coordinator, governanceKeys, vaults } = network;
    const decision = {
      type: "epoch_closed",
      epoch_id: 1,
      trigger: "time",
      settlements: 0,
    } as const;
    const timeMs = NETWORK_TIME_MS + 2 * EPOCH_MS;
    for (const keys of [governanceKeys, vaults.map((vault) => vault.signing)]) {
      const event = createGovernanceEvent({ state, decision, keys, timeMs });
      await expect(rig.governance.submit(event)).rejects.toMatchObject({
        code: "GOVERNANCE_QUORUM_NOT_MET",
      });
    }
    const suspend = { type: "actor_suspended", actor_id: "analyst" } as const;
    const keys = [coordinator.signing];
    const event = createGovernanceEvent({ state, decision: suspend, keys, timeMs });
    await expect(rig.governance.submit(event)).rejects.toMatchObject({
      code: "GOVERNANCE_QUORUM_NOT_MET",
    });
    expect(rig.governance.state().epoch.epochId).toBe(1);
  });

  test("epochs of another governance log are refused", async () => {
    await rig.store.write((trx) => trx.updateTable("epoch").set({ epoch_id: 3 }).execute());
    await rig.store.close();
    await expect(open()).rejects.toThrow("epoch 0 of the governance log");
  });

  test("[EP-4] what is not taken after all belongs to no epoch", async () => {
    const failed = rig.store.write(async (trx) => {
      await rig.epochs.assign(trx, "t-1");
      throw new Error("refused");
    });
    await expect(failed).rejects.toThrow("refused");
    expect(await rig.epochs.members(0)).toEqual([]);
  });
});
