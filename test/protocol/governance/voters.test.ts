import { expect, test } from "vitest";

import type { Vote } from "../../../protocol/governance/governance-state.ts";
import { tallyOf, votersOf } from "../../../protocol/governance/voters.ts";
import {
  applyGovernanceEvent,
  genesisState,
  keyIdOf,
  policySchema,
  type Actor,
  type GovernanceProcess,
} from "../../../protocol/index.ts";
import { createGovernanceEvent } from "../../../host/governance/index.ts";
import { processesOf } from "../../../sim/network/policy.ts";
import { createNetwork, testActor } from "../../helpers/network.ts";

const PROCESS: GovernanceProcess = {
  quorum: 2,
  threshold_basis_points: 5_001,
  window_ms: 0,
  weight: "actor",
};

const outcomeOf = (
  votes: Readonly<Record<string, Vote>>,
  weights: Readonly<Record<string, bigint>> = { a: 1n, b: 1n, c: 1n, d: 1n },
  process: Partial<GovernanceProcess> = {},
) =>
  tallyOf(
    { process: { ...PROCESS, ...process }, weights: new Map(Object.entries(weights)) },
    new Map(Object.entries(votes)),
  ).outcome;

const [yes, no] = ["approve", "reject"] as const;

test("[GS-7] what is not cast does not approve: the threshold is of all who may vote", () => {
  expect(outcomeOf({ a: yes, b: yes })).toBe("undecided");
  expect(outcomeOf({ a: yes, b: yes, c: yes })).toBe("approved");
  expect(outcomeOf({ a: yes, b: yes, c: yes, d: no })).toBe("approved");
  expect(outcomeOf({ a: yes, b: yes, x: yes }), "a stranger's vote").toBe("undecided");
});

test("[GS-7] a quorum votes, however much one voter weighs", () => {
  const weights = { a: 90n, b: 5n, c: 5n };
  expect(outcomeOf({ a: yes }, weights)).toBe("undecided");
  expect(outcomeOf({ a: yes, b: no }, weights)).toBe("approved");
  expect(outcomeOf({ b: yes, c: yes }, weights)).toBe("undecided");
});

test("[GS-7] a vote is lost once the rest cannot approve any more", () => {
  expect(outcomeOf({ a: no })).toBe("undecided");
  expect(outcomeOf({ a: no, b: no })).toBe("rejected");
  expect(outcomeOf({ a: no }, undefined, { threshold_basis_points: 10_000 })).toBe("rejected");
});

test("[GS-7] exactly the threshold is enough, in whole numbers of any size", () => {
  const half = { threshold_basis_points: 5_000 };
  expect(outcomeOf({ a: yes, b: yes }, undefined, half)).toBe("approved");
  const huge = { a: 9_007_199_254_740_991n, b: 9_007_199_254_740_992n };
  expect(outcomeOf({ a: yes, b: no }, huge, half)).toBe("rejected");
});

test("[GS-7] voters without any weight approve nothing", () => {
  expect(outcomeOf({ a: yes, b: yes }, { a: 0n, b: 0n })).toBe("undecided");
});

async function governanceActor(number: number): Promise<Actor> {
  const actor = await testActor(`governor-${number}`, "governance");
  return {
    actor_id: actor.actorId,
    role: actor.role,
    signing_key: actor.signing.publicKey,
    box_key: null,
    stake_minor: 10 * number,
    status: "active",
  };
}

async function networkOf(governors: readonly Actor[], process = PROCESS) {
  return createNetwork({
    policy: (policy) => ({
      ...policy,
      governance: { ...policy.governance, processes: processesOf(process) },
    }),
    genesis: (genesis) => ({ ...genesis, actors: [...genesis.actors, ...governors] }),
  });
}

test("[GS-7] founding keys decide until there are as many governance actors as every process needs", async () => {
  const governors = await Promise.all([1, 2].map(governanceActor));
  const alone = await networkOf(governors.slice(0, 1));
  const founding = votersOf(genesisState(alone.genesisBytes));
  expect(founding.map(({ voterId }) => voterId)).toEqual(
    alone.governanceKeys.map(({ publicKey }) => keyIdOf(publicKey)),
  );
  const both = await networkOf(governors);
  const voters = votersOf(genesisState(both.genesisBytes));
  expect(voters.map(({ voterId }) => voterId)).toEqual(["governor-1", "governor-2"]);
});

test("[GS-7] by stake, a voter weighs what it has staked", async () => {
  const governors = await Promise.all([1, 2, 3].map(governanceActor));
  const keys = await Promise.all(
    [1, 2, 3].map(async (number) => (await testActor(`governor-${number}`, "governance")).signing),
  );
  const network = await networkOf(governors, { ...PROCESS, weight: "stake" });
  const state = genesisState(network.genesisBytes);
  const decision = { type: "epoch_boundary_requested", reason: "" } as const;
  const decided = (signers: typeof keys) => {
    const event = createGovernanceEvent({ state, decision, keys: signers, timeMs: 0 });
    return () => applyGovernanceEvent(state, event);
  };
  const tooFew = expect.objectContaining({ code: "GOVERNANCE_QUORUM_NOT_MET" });
  expect(decided(keys.slice(0, 2)), "30 of 60").toThrow(tooFew);
  expect(decided(keys.slice(1)), "50 of 60").not.toThrow();
  expect(decided([...network.governanceKeys]), "no voters any more").toThrow(tooFew);
});

test("[PV-1] a policy says how everything is decided and admitted; a field left out is no policy", async () => {
  const { policy } = (await networkOf([])).genesis;
  expect(policySchema.safeParse(policy).success).toBe(true);
  const { processes } = policy.governance;
  for (const kind of Object.keys(processes)) {
    const rest = Object.fromEntries(Object.entries(processes).filter(([name]) => name !== kind));
    const partial = { ...policy, governance: { ...policy.governance, processes: rest } };
    expect(policySchema.safeParse(partial).success, kind).toBe(false);
  }
  for (const field of ["rate_limits", "actor_concurrent_tasks_max", "concurrent_tasks_max"]) {
    const rest = Object.entries(policy.admission).filter(([name]) => name !== field);
    const partial = { ...policy, admission: Object.fromEntries(rest) };
    expect(policySchema.safeParse(partial).success, field).toBe(false);
  }
  const none = { ...PROCESS, quorum: 0 };
  const governance = { ...policy.governance, processes: { ...processes, actor: none } };
  expect(policySchema.safeParse({ ...policy, governance }).success, "no quorum").toBe(false);
});
