import fc from "fast-check";
import { expect, test } from "vitest";

import { createGovernanceEvent } from "../../host/governance/index.ts";
import {
  SymphonyError,
  applyGovernanceEvent,
  foldGovernance,
  genesisState,
  type GovernanceDecision,
  type GovernanceState,
  type Policy,
} from "../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork } from "../helpers/network.ts";
import { AdmittedTasks, viewOf } from "./governance-history.ts";
import { referenceOf, type Step } from "./governance-reference.ts";

const network = await createNetwork();
const LIMITS = network.genesis.policy.epoch;
const RUNS = 60;

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("announce" as const),
    version: fc.integer({ min: 2, max: 6 }),
    predecessor: fc.integer({ min: 1, max: 6 }),
    fromEpoch: fc.integer({ min: 0, max: 8 }),
  }),
  fc.record({
    kind: fc.constant("retire" as const),
    version: fc.integer({ min: 1, max: 6 }),
    fromEpoch: fc.integer({ min: 0, max: 8 }),
  }),
  fc.record({ kind: fc.constant("request" as const) }),
  fc.record({
    kind: fc.constant("close" as const),
    // Mostly the epoch that is open: the reference says which that is.
    epochOffset: fc.constantFrom(0, 0, 0, 0, 1, -1),
    trigger: fc.constantFrom("time" as const, "volume" as const, "governance" as const),
    elapsedMs: fc.constantFrom(-1, 0, LIMITS.time_ms_max - 1, LIMITS.time_ms_max),
    settlements: fc.constantFrom(0, LIMITS.settlement_volume_max - 1, LIMITS.settlement_volume_max),
  }),
);

function policyOf(version: number, predecessor: number, fromEpoch: number): Policy {
  return {
    ...network.genesis.policy,
    policy_version_id: `policy-${version}`,
    predecessor_version_id: `policy-${predecessor}`,
    effective_from_epoch: fromEpoch,
  };
}

function decisionOf(made: Step, openEpoch: number): GovernanceDecision {
  switch (made.kind) {
    case "announce": {
      const policy = policyOf(made.version, made.predecessor, made.fromEpoch);
      return { type: "policy_announced", policy };
    }
    case "retire": {
      const policy_version_id = `policy-${made.version}`;
      return { type: "policy_retired", policy_version_id, from_epoch: made.fromEpoch };
    }
    case "request":
      return { type: "epoch_boundary_requested", reason: "" };
    case "close": {
      const { trigger, settlements } = made;
      const epoch_id = Math.max(0, openEpoch + made.epochOffset);
      return { type: "epoch_closed", epoch_id, trigger, settlements };
    }
  }
}

/** What the protocol makes of one step: the state after it and its event, or nothing when it is refused. */
function apply(state: GovernanceState, made: Step) {
  const decision = decisionOf(made, state.epoch.epochId);
  const byCoordinator = decision.type === "epoch_closed";
  const keys = byCoordinator ? [network.coordinator.signing] : network.governanceKeys.slice(0, 2);
  const timeMs =
    made.kind === "close" ? state.epoch.openedMs + made.elapsedMs : state.epoch.openedMs;
  const event = createGovernanceEvent({ state, decision, keys, timeMs });
  try {
    return { state: applyGovernanceEvent(state, event), event };
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

test("[GS-1][GS-5][GS-6][EP-1][PV-2][DT-1] any history of versions and epochs is what the reference says, in every prefix", () => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 24 }), (history) => {
      const reference = referenceOf(LIMITS);
      let state = genesisState(network.genesisBytes);
      const events: Uint8Array[] = [];
      const admitted = new AdmittedTasks();
      for (const made of history) {
        const applied = apply(state, made);
        expect(applied !== undefined, JSON.stringify(made)).toBe(reference.apply(made));
        if (applied === undefined) continue;
        accepted += 1;
        ({ state } = applied);
        events.push(applied.event);
        expect(viewOf(state)).toEqual(reference.view());
        admitted.expectUnchanged(state);
      }
      const folded = foldGovernance(network.genesisBytes, events);
      expect(viewOf(folded)).toEqual(viewOf(state));
      expect(folded.head).toEqual(state.head);
    }),
    { numRuns: RUNS, seed: 5 },
  );
  expect(accepted, "histories that go somewhere").toBeGreaterThan(RUNS);
});

test("the time that the generated network opened is where its first epoch begins", () => {
  expect(genesisState(network.genesisBytes).epoch.openedMs).toBe(NETWORK_TIME_MS);
});
