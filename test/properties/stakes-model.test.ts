import fc from "fast-check";
import { expect, test } from "vitest";

import { createGovernanceEvent } from "../../host/governance/index.ts";
import {
  ACTOR_REGISTRATION,
  KEY_ROTATION,
  SymphonyError,
  applyGovernanceEvent,
  foldGovernance,
  genesisState,
  signingKeyFromSeed,
  slashedMinor,
  unbondingMinor,
  type GovernanceDecision,
  type GovernanceState,
} from "../../protocol/index.ts";
import { createNetwork, testSeed } from "../helpers/network.ts";
import { actorsReference, type ActorStep } from "./stakes-reference.ts";

const RUNS = 25;
const KEYS = Array.from({ length: 8 }, (_, n) => signingKeyFromSeed(testSeed(`stake key ${n}`)));
const STAKE = 40;
const FIRST = "vault-1";

const network = await createNetwork({
  genesis: (genesis) => ({
    ...genesis,
    actors: genesis.actors.map((actor) =>
      actor.actor_id === FIRST
        ? { ...actor, stake_minor: STAKE, signing_key: keyAt(0).publicKey }
        : actor,
    ),
  }),
});
const WINDOW = network.genesis.policy.economics.unbonding_epochs;

function keyAt(index: number) {
  const key = KEYS[index];
  if (key === undefined) throw new Error("no such key");
  return key;
}

const actor = fc.constantFrom(FIRST, FIRST, "vault-8", "vault-9");
const key = fc.integer({ min: 0, max: KEYS.length - 1 });
const amount = fc.integer({ min: 1, max: 30 });
const reference = fc.integer({ min: 0, max: 12 });
const step: fc.Arbitrary<ActorStep> = fc.oneof(
  fc.record({ kind: fc.constant("register" as const), actor, key }),
  fc.record({ kind: fc.constant("rotate" as const), actor, by: key, key }),
  fc.record({ kind: fc.constantFrom("suspend", "reinstate", "reinstate", "retire"), actor }),
  fc.record({ kind: fc.constantFrom("deposit", "withdraw"), actor, amount, reference }),
  // Mostly the first actor with its first key: other pairs are refused more often than not.
  fc.record({ kind: fc.constant("unbond" as const), actor, by: fc.constantFrom(0, 0, 1), amount }),
  fc.record({ kind: fc.constant("slash" as const), actor, amount, task: reference }),
  fc.record({ kind: fc.constant("close" as const) }),
);

function decisionOf(made: ActorStep, state: GovernanceState): GovernanceDecision {
  switch (made.kind) {
    case "register": {
      const { publicKey: signing_key } = keyAt(made.key);
      const role = "enterprise" as const;
      const statement = { role, signing_key, box_key: null, ...about(made.actor) };
      const signed = ACTOR_REGISTRATION.sign(statement, keyAt(made.key));
      return { type: "actor_registered", signed_registration: signed };
    }
    case "rotate": {
      const { publicKey: signing_key } = keyAt(made.key);
      const previous_key = keyAt(made.by).publicKey;
      const statement = { previous_key, signing_key, box_key: null, ...about(made.actor) };
      const signed_rotation = KEY_ROTATION.sign(statement, keyAt(made.key));
      return { type: "actor_key_rotated", actor_id: made.actor, signed_rotation };
    }
    case "suspend":
      return { type: "actor_suspended", actor_id: made.actor };
    case "reinstate":
      return { type: "actor_reinstated", actor_id: made.actor };
    case "retire":
      return { type: "actor_retired", actor_id: made.actor };
    case "deposit":
      return { type: "stake_deposited", ...moneyOf(made) };
    case "withdraw":
      return { type: "stake_withdrawn", ...moneyOf(made) };
    case "unbond":
      return { type: "unbonding_started", actor_id: made.actor, amount_minor: made.amount };
    case "slash": {
      const grounds = { condition: "result_undelivered", task_id: `t-${made.task}` } as const;
      const { actor: actor_id, amount: amount_minor } = made;
      return { type: "actor_slashed", actor_id, amount_minor, grounds };
    }
    case "close": {
      const { epochId: epoch_id } = state.epoch;
      return { type: "epoch_closed", epoch_id, trigger: "time", settlements: 0 };
    }
  }
}

function about(actor_id: string) {
  return { version: 1, genesis_digest: network.genesisDigest, actor_id } as const;
}

function moneyOf(made: { actor: string; amount: number; reference: number }) {
  const { actor: actor_id, amount: amount_minor } = made;
  return { actor_id, amount_minor, reference: `wire-${made.reference}` };
}

function signersOf(made: ActorStep) {
  if (made.kind === "close") return [network.coordinator.signing];
  const own = made.kind === "rotate" || made.kind === "unbond";
  return own ? [keyAt(made.by)] : network.governanceKeys.slice(0, 2);
}

function apply(state: GovernanceState, made: ActorStep) {
  const { openedMs } = state.epoch;
  const timeMs = openedMs + network.genesis.policy.epoch.time_ms_max;
  const decision = decisionOf(made, state);
  const event = createGovernanceEvent({ state, decision, keys: signersOf(made), timeMs });
  try {
    return { state: applyGovernanceEvent(state, event), event };
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

function viewOf(state: GovernanceState) {
  const others = new Set(network.genesis.actors.map((each) => each.actor_id));
  others.delete(FIRST);
  return [...state.actors.values()]
    .filter(({ actor_id }) => !others.has(actor_id))
    .map(({ actor_id, status, stake, stake_minor, signing_key }) => ({
      actor: actor_id,
      status,
      key: KEYS.findIndex(({ publicKey }) => Buffer.compare(publicKey, signing_key) === 0),
      deposited: stake.depositedMinor,
      places: [stake_minor, unbondingMinor(stake), stake.withdrawnMinor, slashedMinor(stake)],
    }));
}

test("[GS-3][DT-1] any history of actors and stakes is what the reference says; deposits are conserved in every prefix", () => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 12, maxLength: 24 }), (history) => {
      const founding = { actor: FIRST, key: 0, stake: STAKE, window: WINDOW };
      const model = actorsReference(founding);
      let state = genesisState(network.genesisBytes);
      const events: Uint8Array[] = [];
      for (const made of history) {
        const applied = apply(state, made);
        expect(applied !== undefined, JSON.stringify(made)).toBe(model.apply(made));
        if (applied === undefined) continue;
        accepted += 1;
        ({ state } = applied);
        events.push(applied.event);
        const view = viewOf(state);
        expect(view).toEqual(model.view());
        for (const { deposited, places } of view) {
          expect(places.reduce((sum, each) => sum + each, 0)).toBe(deposited);
        }
      }
      const folded = foldGovernance(network.genesisBytes, events);
      expect(viewOf(folded)).toEqual(viewOf(state));
      expect(folded.head).toEqual(state.head);
    }),
    { numRuns: RUNS, seed: 11 },
  );
  expect(accepted, "histories that go somewhere").toBeGreaterThan(4 * RUNS);
});
