import { keysSince } from "./actor-keys.ts";
import type { GovernanceProcess } from "./policy.ts";
import { keyIdOf } from "../signing.ts";
import type { Electorate, GovernanceState, Vote } from "./governance-state.ts";

/** Who may vote, by the name its vote is counted under, and the key it votes with. */
export interface Voter {
  readonly voterId: string;
  readonly publicKey: Uint8Array;
  /** What it weighs where stake does. */
  readonly stakeMinor: number;
}

/** How a vote stands. An outcome is final: nothing that could still be cast would change it. */
export interface Tally {
  readonly voted: number;
  readonly approvedWeight: bigint;
  readonly rejectedWeight: bigint;
  readonly eligibleWeight: bigint;
  readonly outcome: "approved" | "rejected" | "undecided";
}

const BASIS_POINTS = 10_000n;

/**
 * Whose votes count now: the active governance actors, as soon as there are enough of them for every process of the
 * policy in force, and the founding keys until then. A founding key is named by its key id, and weighs one: it has no
 * stake.
 */
export function votersOf(state: GovernanceState): readonly Voter[] {
  const actors = [...state.actors.values()]
    .filter(({ role, status }) => role === "governance" && status === "active")
    .map((actor) => ({
      voterId: actor.actor_id,
      publicKey: actor.signing_key,
      stakeMinor: actor.stake_minor,
    }));
  const quorums = Object.values(state.policy.governance.processes).map(({ quorum }) => quorum);
  if (actors.length >= Math.max(...quorums)) return actors;
  const founding = new Map(state.genesis.governance_keys.map((key) => [keyIdOf(key), key]));
  return [...founding].map(([voterId, publicKey]) => ({ voterId, publicKey, stakeMinor: 1 }));
}

/** Every key that a voter has had, by key id: of the founders and of all actors that govern, in any status. */
export function voterKeysOf(
  state: Pick<GovernanceState, "genesis" | "actors">,
): ReadonlyMap<string, Uint8Array> {
  const governing = [...state.actors.values()].filter(({ role }) => role === "governance");
  const keys = governing.flatMap((actor) => keysSince(actor, 0).map(({ publicKey }) => publicKey));
  return new Map([...state.genesis.governance_keys, ...keys].map((key) => [keyIdOf(key), key]));
}

/** The voters of now with their weights under `process`. */
export function electorateOf(state: GovernanceState, process: GovernanceProcess): Electorate {
  const weights = votersOf(state).map(
    ({ voterId, stakeMinor }) => [voterId, weightOf(stakeMinor, process)] as const,
  );
  return { process, weights: new Map(weights) };
}

function weightOf(stakeMinor: number, { weight }: GovernanceProcess): bigint {
  switch (weight) {
    case "actor":
      return 1n;
    case "stake":
      return BigInt(stakeMinor);
  }
}

/**
 * Counts votes. Approval needs the quorum of voters and the threshold of the *eligible* weight, so that leaving votes
 * out never helps; rejection, that what has not rejected weighs too little to approve.
 *
 * @param votes - By voter; those of others than the electorate count nothing.
 */
export function tallyOf({ process, weights }: Electorate, votes: ReadonlyMap<string, Vote>): Tally {
  let [voted, approvedWeight, rejectedWeight, eligibleWeight] = [0, 0n, 0n, 0n];
  for (const [voterId, weight] of weights) {
    eligibleWeight += weight;
    const vote = votes.get(voterId);
    if (vote === undefined) continue;
    voted += 1;
    if (vote === "approve") approvedWeight += weight;
    else rejectedWeight += weight;
  }
  const needed = BigInt(process.threshold_basis_points) * eligibleWeight;
  const isApproved =
    voted >= process.quorum && approvedWeight > 0n && approvedWeight * BASIS_POINTS >= needed;
  const isRejected = (eligibleWeight - rejectedWeight) * BASIS_POINTS < needed;
  const outcome = isApproved ? "approved" : isRejected ? "rejected" : "undecided";
  return { voted, approvedWeight, rejectedWeight, eligibleWeight, outcome };
}
