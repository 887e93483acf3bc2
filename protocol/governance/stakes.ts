import { RefusedError } from "../errors.ts";
import type { ActorRole } from "../fields.ts";
import type { ActorDecision } from "./actor-objects.ts";
import { eventFault } from "./event-fault.ts";
import type { Actor } from "./governance-objects.ts";
import type { Policy } from "./policy.ts";
import type {
  GovernanceState,
  RegisteredActor,
  Slash,
  StakeAccount,
  UnbondingEntry,
} from "./governance-state.ts";

/** Withdrawals that one actor may have under way at a time. */
export const UNBONDING_ENTRIES_MAX = 16;

/** The largest total that one actor ever deposits, minor units: every sum stays exact. */
export const DEPOSITS_MINOR_MAX = Number.MAX_SAFE_INTEGER;

/** The account of an actor that has deposited `stakeMinor` and nothing else. */
export function openingAccount(stakeMinor: number): StakeAccount {
  return {
    depositedMinor: stakeMinor,
    unbonding: [],
    withdrawnMinor: 0,
    slashes: [],
    references: [],
  };
}

/** What an account's slashes came to, minor units. */
export function slashedMinor({ slashes }: StakeAccount): number {
  return slashes.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
}

/** What its owner has asked for and not been paid, minor units. */
export function unbondingMinor({ unbonding }: StakeAccount): number {
  return unbonding.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
}

/**
 * The stake below which an actor in `role` takes no new work, minor units; 0 for roles that need none. A producer may
 * stake, and need not; an aggregator is under the rules of enterprise actors (AG-3).
 */
export function requiredStakeMinor(role: ActorRole, { economics }: Policy): number {
  switch (role) {
    case "master":
      return economics.master_stake_minor;
    case "enterprise":
    case "aggregator":
      return economics.enterprise_stake_minor;
    case "producer":
    case "submitter":
    case "verifier":
    case "auditor":
    case "governance":
      return 0;
  }
}

/**
 * Whether an actor earns the staked reward (GS-3): its stake reaches its tier's minimum. An actor without stake never
 * does, whatever the minimum; nor does one whose role has no tier.
 */
export function isStaked(actor: Actor, policy: Policy): boolean {
  const { role, stake_minor: stakeMinor } = actor;
  const hasTier = ["master", "enterprise", "aggregator", "producer"].includes(role);
  const minimum =
    role === "producer" ? policy.economics.producer_stake_minor : requiredStakeMinor(role, policy);
  return hasTier && stakeMinor > 0 && stakeMinor >= minimum;
}

/**
 * Refuses new work for an actor whose bonded stake is below its tier's minimum.
 *
 * @throws {@link RefusedError} POLICY_STAKE_INSUFFICIENT
 */
export function requireStake(actor: Actor, policy: Policy): void {
  const expected = requiredStakeMinor(actor.role, policy);
  const { actor_id: actorId, stake_minor: actual } = actor;
  if (actual >= expected) return;
  throw new RefusedError(
    { code: "POLICY_STAKE_INSUFFICIENT", actor_id: actorId, expected, actual },
    `stake of ${actorId}: expected at least ${expected} bonded as ${actor.role}, got ${actual}`,
  );
}

type Decision<Type extends ActorDecision["type"]> = Extract<ActorDecision, { readonly type: Type }>;

/** @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a retired actor or a reference that was counted */
export function depositStake(
  state: GovernanceState,
  decision: Decision<"stake_deposited">,
): RegisteredActor {
  const actor = stakeOwner(state, decision.actor_id);
  if (actor.status === "retired")
    throw eventFault("actor_id", "one that is not retired", "another");
  const { stake } = actor;
  const { amount_minor: amountMinor } = decision;
  const depositedMinor = stake.depositedMinor + amountMinor;
  if (depositedMinor > DEPOSITS_MINOR_MAX) {
    throw eventFault("amount_minor", `a total of at most ${DEPOSITS_MINOR_MAX}`, "more");
  }
  const references = withReference(state, stake, decision.reference);
  const bonded = actor.stake_minor + amountMinor;
  return { ...actor, stake_minor: bonded, stake: { ...stake, depositedMinor, references } };
}

/** @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for more than is bonded, or too many at a time */
export function startUnbonding(
  state: GovernanceState,
  decision: Decision<"unbonding_started">,
): RegisteredActor {
  const actor = stakeOwner(state, decision.actor_id);
  const { amount_minor: amountMinor } = decision;
  if (amountMinor > actor.stake_minor) {
    throw eventFault(
      "amount_minor",
      `at most ${actor.stake_minor}, which is bonded`,
      `${amountMinor}`,
    );
  }
  if (actor.stake.unbonding.length >= UNBONDING_ENTRIES_MAX) {
    throw eventFault(
      "actor_id",
      `fewer than ${UNBONDING_ENTRIES_MAX} withdrawals under way`,
      "as many",
    );
  }
  return unbonded(actor, amountMinor, state);
}

/** An actor with `amountMinor` of its bonded stake on the way out. */
export function unbonded(
  actor: RegisteredActor,
  amountMinor: number,
  { epoch, policy }: GovernanceState,
): RegisteredActor {
  if (amountMinor === 0) return actor;
  const releaseEpoch = epoch.epochId + policy.economics.unbonding_epochs;
  const unbonding = [...actor.stake.unbonding, { amountMinor, releaseEpoch }].toSorted(
    (a, b) => a.releaseEpoch - b.releaseEpoch,
  );
  const stake_minor = actor.stake_minor - amountMinor;
  return { ...actor, stake_minor, stake: { ...actor.stake, unbonding } };
}

/** @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a suspended actor, or more than is released */
export function withdrawStake(
  state: GovernanceState,
  decision: Decision<"stake_withdrawn">,
): RegisteredActor {
  const actor = stakeOwner(state, decision.actor_id);
  if (actor.status === "suspended") {
    throw eventFault("actor_id", "one that is not suspended", actor.status);
  }
  const { stake } = actor;
  const { amount_minor: amountMinor } = decision;
  const released = stake.unbonding.filter((each) => each.releaseEpoch <= state.epoch.epochId);
  const available = released.reduce((sum, each) => sum + each.amountMinor, 0);
  if (amountMinor > available) {
    throw eventFault("amount_minor", `at most ${available}, which is released`, `${amountMinor}`);
  }
  const references = withReference(state, stake, decision.reference);
  const unbonding = without(stake.unbonding, amountMinor);
  const withdrawnMinor = stake.withdrawnMinor + amountMinor;
  return { ...actor, stake: { ...stake, unbonding, withdrawnMinor, references } };
}

/**
 * Takes up to `amountMinor` of an actor's stake: what is bonded first, then what is unbonding, and no more than there
 * is. An actor that retired or was suspended pays like any other.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for an unknown actor, or the same evidence twice
 */
export function slashStake(
  state: GovernanceState,
  slash: Slash & { readonly actorId: string },
): RegisteredActor {
  const { actorId, condition, evidence } = slash;
  const actor = stakeOwner(state, actorId);
  const { stake } = actor;
  const known = stake.slashes.some(
    (each) => each.condition === condition && each.evidence === evidence,
  );
  if (known) throw eventFault("evidence", `one that ${actorId} has not paid for`, "the same again");
  const bonded = Math.min(slash.amountMinor, actor.stake_minor);
  const leaving = Math.min(slash.amountMinor - bonded, unbondingMinor(stake));
  const slashes = [...stake.slashes, { condition, evidence, amountMinor: bonded + leaving }];
  const unbonding = without(stake.unbonding, leaving);
  return {
    ...actor,
    stake_minor: actor.stake_minor - bonded,
    stake: { ...stake, unbonding, slashes },
  };
}

/** Entries less `amountMinor`, which they hold, from the first to be released on. */
function without(entries: readonly UnbondingEntry[], amountMinor: number): UnbondingEntry[] {
  let left = amountMinor;
  const kept: UnbondingEntry[] = [];
  for (const entry of entries) {
    const taken = Math.min(left, entry.amountMinor);
    left -= taken;
    if (taken < entry.amountMinor) kept.push({ ...entry, amountMinor: entry.amountMinor - taken });
  }
  return kept;
}

function stakeOwner({ actors }: GovernanceState, actorId: string): RegisteredActor {
  const actor = actors.get(actorId);
  if (actor === undefined) throw eventFault("actor_id", "a registered actor", "another");
  return actor;
}

/** One payment counts for one actor, once. */
function withReference(
  { actors }: GovernanceState,
  { references }: StakeAccount,
  reference: string,
): readonly string[] {
  for (const { stake } of actors.values()) {
    if (stake.references.includes(reference)) {
      throw eventFault("reference", "one that was not counted", reference);
    }
  }
  return [...references, reference];
}
