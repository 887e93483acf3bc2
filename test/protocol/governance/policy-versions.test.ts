import { expect, test } from "vitest";

import {
  applyGovernanceEvent,
  genesisState,
  governanceFor,
  governanceOnceOf,
  policyDigest,
  policyVersionIn,
  type GovernanceDecision,
  type GovernanceState,
  type Policy,
} from "../../../protocol/index.ts";
import { createGovernanceEvent } from "../../../host/governance/index.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";

const network = await createNetwork();
const GENESIS_STATE = genesisState(network.genesisBytes);
const EPOCH_MS = network.genesis.policy.epoch.time_ms_max;

const refused = expect.objectContaining({ code: "GOVERNANCE_EVENT_INVALID" });
const notActive = expect.objectContaining({ code: "POLICY_NOT_ACTIVE" });

function decided(state: GovernanceState, decision: GovernanceDecision, timeMs = 0) {
  const byCoordinator = decision.type === "epoch_closed";
  const keys = byCoordinator ? [network.coordinator.signing] : network.governanceKeys.slice(0, 2);
  return applyGovernanceEvent(
    state,
    createGovernanceEvent({ state, decision, keys, timeMs: NETWORK_TIME_MS + timeMs }),
  );
}

function policy(number: number, fromEpoch: number, predecessor = `policy-${number - 1}`): Policy {
  return {
    ...network.genesis.policy,
    policy_version_id: `policy-${number}`,
    effective_from_epoch: fromEpoch,
    predecessor_version_id: predecessor,
    economics: { ...network.genesis.policy.economics, violation_penalty_minor: 1_000 + number },
  };
}

const announce = (state: GovernanceState, announced: Policy): GovernanceState =>
  decided(state, { type: "policy_announced", policy: announced });

/** Closes `count` epochs, each when its time is over. */
function closed(state: GovernanceState, count: number): GovernanceState {
  let after = state;
  for (let index = 0; index < count; index += 1) {
    const { epochId: epoch_id, openedMs } = after.epoch;
    const boundary = { type: "epoch_closed", epoch_id, trigger: "time", settlements: 0 } as const;
    after = decided(after, boundary, openedMs - NETWORK_TIME_MS + EPOCH_MS);
  }
  return after;
}

const statuses = ({ policies }: GovernanceState): string[] =>
  [...policies.values()].map(({ policy: { policy_version_id: id }, status }) => `${id} ${status}`);

const taskOf = (version: Policy, epochId: number) => ({
  policy_version: version.policy_version_id,
  policy_digest: policyDigest(version),
  epoch_id: epochId,
});

test("[PV-2][GS-1][GS-5] draft, active, deprecated, retired: each step at the boundary it was announced for", () => {
  const announced = announce(GENESIS_STATE, policy(2, 2));
  expect(statuses(announced)).toEqual(["policy-1 active", "policy-2 draft"]);
  const between = closed(announced, 1);
  expect(statuses(between)).toEqual(["policy-1 active", "policy-2 draft"]);
  const succeeded = closed(between, 1);
  expect(statuses(succeeded)).toEqual(["policy-1 deprecated", "policy-2 active"]);
  expect(succeeded.policy).toEqual(policy(2, 2));
  const retire = { type: "policy_retired", policy_version_id: "policy-1", from_epoch: 4 } as const;
  const retiring = decided(succeeded, retire);
  expect(statuses(closed(retiring, 1))).toEqual(["policy-1 deprecated", "policy-2 active"]);
  expect(statuses(closed(retiring, 2))).toEqual(["policy-1 retired", "policy-2 active"]);
  expect(() => decided(retiring, { ...retire, from_epoch: 5 })).toThrow(refused);
});

test("[PV-2] says which version was active in which epoch, of those that have begun", () => {
  const state = closed(announce(announce(GENESIS_STATE, policy(2, 1)), policy(3, 3)), 3);
  const ids = [0, 1, 2, 3, 4].map(
    (epochId) => policyVersionIn(state, epochId)?.policy.policy_version_id,
  );
  expect(ids).toEqual(["policy-1", "policy-2", "policy-2", "policy-3", undefined]);
});

test.for([
  { title: "takes effect in the epoch in which it is announced", announced: policy(2, 0) },
  {
    title: "has the identifier of another",
    announced: { ...policy(2, 1), policy_version_id: "policy-1" },
  },
  { title: "follows no version", announced: { ...policy(2, 1), predecessor_version_id: null } },
  { title: "follows a version that is not the last", announced: policy(3, 2) },
])("[PV-2] refuses a version that $title", ({ announced }) => {
  expect(() => announce(GENESIS_STATE, announced)).toThrow(refused);
});

test("[PV-2] refuses a version before its predecessor, or one whose epoch has begun", () => {
  const waiting = announce(GENESIS_STATE, policy(2, 5));
  expect(() => announce(waiting, policy(3, 5))).toThrow(refused);
  expect(statuses(announce(waiting, policy(3, 6)))).toHaveLength(3);
  const later = closed(GENESIS_STATE, 2);
  expect(() => announce(later, policy(2, 2))).toThrow(refused);
  expect(statuses(announce(later, policy(2, 3)))).toHaveLength(2);
});

test.for([
  { title: "is active", policy_version_id: "policy-2", from_epoch: 9 },
  { title: "is unknown", policy_version_id: "policy-9", from_epoch: 9 },
  { title: "would retire at once", policy_version_id: "policy-1", from_epoch: 1 },
])("[PV-2] does not retire a version that $title", ({ policy_version_id, from_epoch }) => {
  const state = closed(announce(GENESIS_STATE, policy(2, 1)), 1);
  expect(() => decided(state, { type: "policy_retired", policy_version_id, from_epoch })).toThrow(
    refused,
  );
});

test("[GS-6][PV-2] a task keeps the version of its epoch, until that is retired", () => {
  const first = network.genesis.policy;
  const state = closed(announce(GENESIS_STATE, policy(2, 1)), 1);
  expect(governanceFor(state, taskOf(first, 0)).policy).toEqual(first);
  expect(governanceFor(state, taskOf(policy(2, 1), 1)).policy).toEqual(policy(2, 1));
  expect(state.policy).toEqual(policy(2, 1));
  const retire = { type: "policy_retired", policy_version_id: "policy-1", from_epoch: 2 } as const;
  const retired = closed(decided(state, retire), 1);
  expect(() => governanceFor(retired, taskOf(first, 0))).toThrow(notActive);
  expect(governanceOnceOf(retired, taskOf(first, 0)).policy).toEqual(first);
});

test.for([
  { title: "a version in an epoch after its end", task: taskOf(network.genesis.policy, 1) },
  { title: "a version in an epoch before its beginning", task: taskOf(policy(2, 1), 0) },
  { title: "an epoch that has not begun", task: taskOf(policy(2, 1), 2) },
  { title: "an unknown version", task: { ...taskOf(policy(2, 1), 1), policy_version: "policy-9" } },
  {
    title: "another document",
    task: { ...taskOf(policy(2, 1), 1), policy_digest: policyDigest(network.genesis.policy) },
  },
])("[GS-6][PV-2] no task is bound to $title", ({ task }) => {
  const state = closed(announce(GENESIS_STATE, policy(2, 1)), 1);
  expect(() => governanceFor(state, task)).toThrow(notActive);
  expect(() => governanceOnceOf(state, task)).toThrow(notActive);
});

test.for([
  { title: "of another epoch", change: { epoch_id: 1 }, timeMs: EPOCH_MS },
  { title: "before its time is over", change: {}, timeMs: EPOCH_MS - 1 },
  { title: "before it opened", change: { trigger: "governance" as const }, timeMs: -1 },
  {
    title: "by a volume not reached",
    change: { trigger: "volume" as const, settlements: 9 },
    timeMs: 1,
  },
  {
    title: "that governance has not asked for",
    change: { trigger: "governance" as const },
    timeMs: 1,
  },
])("[EP-2] refuses a boundary $title", ({ change, timeMs }) => {
  const boundary = { type: "epoch_closed", epoch_id: 0, trigger: "time", settlements: 0 } as const;
  const asked = decided(GENESIS_STATE, { type: "epoch_boundary_requested", reason: "" });
  const state = timeMs < 0 ? asked : GENESIS_STATE;
  expect(() => decided(state, { ...boundary, ...change }, timeMs)).toThrow(refused);
  expect(decided(GENESIS_STATE, boundary, EPOCH_MS).epoch.epochId).toBe(1);
});

test("[EP-2] governance and a volume that is reached close an epoch, too", () => {
  const asked = decided(GENESIS_STATE, { type: "epoch_boundary_requested", reason: "" });
  const boundary = { type: "epoch_closed", epoch_id: 0, settlements: 0 } as const;
  expect(decided(asked, { ...boundary, trigger: "governance" }, 1).epoch.epochId).toBe(1);
  const { settlement_volume_max: settlements } = network.genesis.policy.epoch;
  const full = { ...boundary, trigger: "volume", settlements } as const;
  expect(decided(GENESIS_STATE, full, 1).epoch.epochId).toBe(1);
});
