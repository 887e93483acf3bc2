import { equalBytes } from "../bytes.ts";
import { parseCose } from "../signing.ts";
import {
  ACTOR_REGISTRATION,
  KEY_ROTATION,
  type ActorDecision,
  type KeyRotation,
} from "./actor-objects.ts";
import { eventFault } from "./event-fault.ts";
import type { Actor, Genesis, GovernanceDecision } from "./governance-objects.ts";
import { slashFor, verifyViolation } from "./violations.ts";
import {
  depositStake,
  openingAccount,
  slashStake,
  startUnbonding,
  unbonded,
  withdrawStake,
} from "./stakes.ts";
import type { GovernanceState, RegisteredActor } from "./governance-state.ts";

/** Actors that one network registers, the retired ones included. */
export const ACTORS_MAX = 1024;

/** Signing keys that one actor has in its life. */
export const ACTOR_KEYS_MAX = 16;

/** The actors of a genesis. */
export function genesisActors({ actors }: Genesis): ReadonlyMap<string, RegisteredActor> {
  return new Map(actors.map((actor) => [actor.actor_id, registered(actor, 0)]));
}

function registered(actor: Actor, epochId: number): RegisteredActor {
  const { signing_key: signingKey, box_key: boxKey } = actor;
  return {
    ...actor,
    keys: [{ signingKey, boxKey, fromEpoch: epochId, untilEpoch: null }],
    stake: openingAccount(actor.stake_minor),
  };
}

/** Decisions that one actor's signature alone makes. */
export type OwnDecision = Extract<
  GovernanceDecision,
  {
    readonly type:
      | "epoch_closed"
      | "proposal_decided"
      | "violation_proven"
      | "actor_key_rotated"
      | "unbonding_started";
  }
>;

/** Whether a decision is one actor's own, and not for voters. */
export function isOwnDecision(decision: GovernanceDecision): decision is OwnDecision {
  switch (decision.type) {
    case "epoch_closed":
    case "proposal_decided":
    case "violation_proven":
    case "actor_key_rotated":
    case "unbonding_started":
      return true;
    default:
      return false;
  }
}

/**
 * The actor that makes a decision alone: the coordinator, about what it alone knows or what proves itself, and any
 * active actor about its own keys and stake. Undefined when there is no such actor.
 */
export function ownerOf(
  { genesis, actors }: GovernanceState,
  decision: OwnDecision,
): RegisteredActor | undefined {
  switch (decision.type) {
    case "epoch_closed":
    case "proposal_decided":
    case "violation_proven":
      return actors.get(genesis.coordinator_id);
    case "actor_key_rotated":
    case "unbonding_started": {
      const actor = actors.get(decision.actor_id);
      return actor?.status === "active" ? actor : undefined;
    }
  }
}

/** Whether a decision is one about an actor or its stake. */
export function isActorDecision(decision: GovernanceDecision): decision is ActorDecision {
  return DECIDED[decision.type] === true;
}

const DECIDED: Readonly<Record<string, true>> = {
  actor_registered: true,
  actor_key_rotated: true,
  actor_key_replaced: true,
  actor_role_changed: true,
  actor_suspended: true,
  actor_reinstated: true,
  actor_retired: true,
  stake_deposited: true,
  unbonding_started: true,
  stake_withdrawn: true,
  actor_slashed: true,
  violation_proven: true,
} satisfies Record<ActorDecision["type"], true>;

/**
 * Folds a decision about an actor. What is withdrawn from actors that execute is counted in `withdrawals`, which never
 * decreases: suspensions, retirements, replaced keys, and roles taken for others. What is given back is not counted.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID; PROOF_SIGNATURE_INVALID for a statement that another key signed
 */
export function decideActor(state: GovernanceState, decision: ActorDecision): GovernanceState {
  const actor = afterDecision(state, decision);
  const actors = new Map(state.actors).set(actor.actor_id, actor);
  const before = state.actors.get(actor.actor_id)?.role ?? actor.role;
  const isOther = decision.type !== "actor_role_changed" || before !== actor.role;
  const counts = WITHDRAWS.has(decision.type) && isOther && before !== "submitter";
  return { ...state, actors, withdrawals: state.withdrawals + (counts ? 1 : 0) };
}

const WITHDRAWS: ReadonlySet<ActorDecision["type"]> = new Set([
  "actor_suspended",
  "actor_retired",
  "actor_key_replaced",
  "actor_role_changed",
]);

function afterDecision(state: GovernanceState, decision: ActorDecision): RegisteredActor {
  switch (decision.type) {
    case "actor_registered":
      return registerActor(state, decision.signed_registration);
    case "actor_key_rotated": {
      const { epochId } = state.epoch;
      return rotateKey(state, { ...decision, previous_until_epoch: epochId });
    }
    case "actor_key_replaced":
      return rotateKey(state, decision);
    case "actor_role_changed":
      return { ...notFounding(state, decision.actor_id), role: decision.role };
    case "actor_suspended":
      return { ...inStatus(state, decision.actor_id, "active"), status: "suspended" };
    case "actor_reinstated":
      return { ...inStatus(state, decision.actor_id, "suspended"), status: "active" };
    case "actor_retired": {
      const actor = notFounding(state, decision.actor_id);
      return { ...unbonded(actor, actor.stake_minor, state), status: "retired" };
    }
    case "stake_deposited":
      return depositStake(state, decision);
    case "unbonding_started":
      return startUnbonding(state, decision);
    case "stake_withdrawn":
      return withdrawStake(state, decision);
    case "actor_slashed":
      return slashStake(state, slashFor(state, decision));
    case "violation_proven":
      return slashStake(state, verifyViolation(state, decision));
  }
}

function registerActor(state: GovernanceState, signed: Uint8Array): RegisteredActor {
  const claimed = ACTOR_REGISTRATION.decode(parseCose(signed).payload);
  const registration = ACTOR_REGISTRATION.verify(signed, claimed.signing_key);
  const { genesis_digest, actor_id, role, signing_key, box_key } = registration;
  requireNetwork(state, genesis_digest);
  if (state.actors.has(actor_id)) throw eventFault("actor_id", "a new identifier", actor_id);
  if (state.actors.size >= ACTORS_MAX) {
    throw eventFault("actor_id", `at most ${ACTORS_MAX} actors`, "one more");
  }
  requireNewKeys(state, registration);
  const actor = { actor_id, role, signing_key, box_key, stake_minor: 0, status: "active" } as const;
  return registered(actor, state.epoch.epochId);
}

function rotateKey(
  state: GovernanceState,
  decision: {
    readonly actor_id: string;
    readonly signed_rotation: Uint8Array;
    readonly previous_until_epoch: number | null;
  },
): RegisteredActor {
  const actor = member(state, decision.actor_id);
  if (actor.status === "retired")
    throw eventFault("actor_id", "one that is not retired", "another");
  if (actor.actor_id === state.genesis.coordinator_id) {
    throw eventFault("actor_id", "another than the coordinator, whose key the log is", "it");
  }
  if (actor.keys.length >= ACTOR_KEYS_MAX) {
    throw eventFault("actor_id", `fewer than ${ACTOR_KEYS_MAX} keys so far`, "as many");
  }
  const rotation = verifyRotation(state, actor, decision.signed_rotation);
  const { epochId } = state.epoch;
  const untilEpoch = decision.previous_until_epoch ?? -1;
  if (untilEpoch > epochId) {
    throw eventFault("previous_until_epoch", `at most ${epochId}, which is open`, `${untilEpoch}`);
  }
  const { signing_key, box_key } = rotation;
  const earlier = actor.keys.map((key) => (key.untilEpoch === null ? { ...key, untilEpoch } : key));
  const present = {
    signingKey: signing_key,
    boxKey: box_key,
    fromEpoch: epochId,
    untilEpoch: null,
  };
  return { ...actor, signing_key, box_key, keys: [...earlier, present] };
}

function verifyRotation(
  state: GovernanceState,
  actor: RegisteredActor,
  signed: Uint8Array,
): KeyRotation {
  const claimed = KEY_ROTATION.decode(parseCose(signed).payload);
  const rotation = KEY_ROTATION.verify(signed, claimed.signing_key);
  requireNetwork(state, rotation.genesis_digest);
  const { actor_id: actorId } = actor;
  if (rotation.actor_id !== actorId) {
    throw eventFault("signed_rotation.actor_id", actorId, rotation.actor_id);
  }
  if (!equalBytes(rotation.previous_key, actor.signing_key)) {
    throw eventFault("signed_rotation.previous_key", "the actor's present key", "another");
  }
  requireNewKeys(state, rotation);
  return rotation;
}

/** A key is one actor's, once: nobody takes a key that somebody had, and no actor one that governance decides with. */
function requireNewKeys(
  { actors, genesis }: GovernanceState,
  next: { readonly signing_key: Uint8Array; readonly box_key: Uint8Array | null },
): void {
  const { signing_key: signingKey, box_key: boxKey } = next;
  const same = (a: Uint8Array | null, b: Uint8Array | null): boolean =>
    a !== null && b !== null && equalBytes(a, b);
  const held = [...actors.values()].flatMap(({ keys }) => keys);
  const founding = genesis.governance_keys.some((key) => same(key, signingKey));
  if (founding || held.some((key) => same(key.signingKey, signingKey))) {
    throw eventFault("signing_key", "one that nobody has had", "another");
  }
  if (held.some((key) => same(key.boxKey, boxKey))) {
    throw eventFault("box_key", "one that nobody has had", "another");
  }
}

function requireNetwork({ genesisDigest }: GovernanceState, digest: Uint8Array): void {
  if (equalBytes(digest, genesisDigest)) return;
  throw eventFault("genesis_digest", "this network's", "another");
}

function member({ actors }: GovernanceState, actorId: string): RegisteredActor {
  const actor = actors.get(actorId);
  if (actor === undefined) throw eventFault("actor_id", "a registered actor", "another");
  return actor;
}

function inStatus(
  state: GovernanceState,
  actorId: string,
  status: Actor["status"],
): RegisteredActor {
  const actor = member(state, actorId);
  if (actor.status !== status)
    throw eventFault("actor_id", `an actor that is ${status}`, actor.status);
  return actor;
}

/** An actor that is not retired, and not the coordinator or aggregator that the genesis names in their places. */
function notFounding(state: GovernanceState, actorId: string): RegisteredActor {
  const actor = member(state, actorId);
  const { coordinator_id: coordinator, aggregator_id: aggregator } = state.genesis;
  if (actor.status === "retired")
    throw eventFault("actor_id", "one that is not retired", "another");
  if (actorId !== coordinator && actorId !== aggregator) return actor;
  throw eventFault("actor_id", "an actor whose place the genesis does not name", actorId);
}
