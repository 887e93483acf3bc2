import { noOutput } from "#protocol";
import type {
  Actor,
  Challenge,
  ChallengeResolution,
  ConsumptionRecord,
  ExecutionResultBundle,
  Policy,
  SettlementEntry,
  TaskEnvelope,
} from "#protocol";

/** One line of a settlement entry's accounting. */
export type AccountingEntry = SettlementEntry["accounting"][number];

/** What accounting follows from; nothing else, so that equal inputs give equal lines (SP-3, DT-2). */
export interface AccountingInput {
  readonly envelope: TaskEnvelope;
  readonly policy: Policy;
  readonly actors: ReadonlyMap<string, Actor>;
  /** In round order. */
  readonly bundles: readonly ExecutionResultBundle[];
  /** In order of Vault identifier. */
  readonly consumption: readonly ConsumptionRecord[];
}

/** A challenge and how governance ended it. */
export interface ResolvedChallenge {
  readonly challenge: Challenge;
  readonly resolution: ChallengeResolution;
}

/**
 * Rewards and penalties of one task: whole minor units, ordered by actor, kind and reason.
 *
 * A Vault earns the class' slice reward for each round it took part in, an aggregator for each round it combined;
 * staked actors earn the staked multiplier of it, rounded down. A Vault without a consumption record earns nothing,
 * because its commit is not proven. A flagged record is a violation: no reward, and the penalty (SP-4).
 */
export function accountTask(input: AccountingInput): AccountingEntry[] {
  const lines = input.consumption.flatMap((record) => vaultLines(input, record));
  return ordered([...lines, ...aggregatorLines(input)]);
}

/**
 * The entry of a task whose challenge governance has ended.
 *
 * Approved: nobody earns, the disputed actor pays, and the entry commits to no output, so that no Vault releases
 * anything for it. Not confirmed: the challenger loses its bond. Closed without penalty: the entry as it was.
 */
export function applyChallenge(
  entry: SettlementEntry,
  resolved: ResolvedChallenge,
  { envelope, policy }: { readonly envelope: TaskEnvelope; readonly policy: Policy },
): SettlementEntry {
  const { challenge, resolution } = resolved;
  switch (resolution) {
    case "closed_without_penalty":
      return entry;
    case "not_confirmed":
      return { ...entry, accounting: ordered([...entry.accounting, bondLine(challenge)]) };
    case "approved": {
      const accounting = ordered([penaltyLine(challenge, envelope, policy)]);
      return { ...entry, output_commitment: noOutput(), accounting };
    }
  }
}

/**
 * Whether an actor's stake reaches its role's minimum (GS-3); an actor without stake never is staked, whatever the
 * minimum. An aggregator is under the rules of enterprise actors (AG-3).
 */
export function isStaked(actor: Actor, { economics }: Policy): boolean {
  const minimum = {
    master: economics.master_stake_minor,
    enterprise: economics.enterprise_stake_minor,
    aggregator: economics.enterprise_stake_minor,
    producer: economics.producer_stake_minor,
    submitter: Infinity,
    verifier: Infinity,
    auditor: Infinity,
    governance: Infinity,
  }[actor.role];
  return actor.stake_minor > 0 && actor.stake_minor >= minimum;
}

/** Reward of `rounds` accepted pieces of work by one actor: whole minor units, rounded down once. */
export function rewardOf(args: {
  readonly actor: Actor;
  readonly policy: Policy;
  readonly taskClass: TaskEnvelope["task_class"];
  readonly rounds: number;
}): number {
  const { actor, policy, taskClass, rounds } = args;
  const base = policy.classes[taskClass].slice_reward_minor * rounds;
  if (!isStaked(actor, policy)) return base;
  return Math.floor((base * policy.economics.staked_multiplier_percent) / 100);
}

function vaultLines(input: AccountingInput, record: ConsumptionRecord): AccountingEntry[] {
  const { policy, envelope } = input;
  const actor = input.actors.get(record.vault_id);
  if (actor === undefined) return [];
  if (record.flagged) {
    const amount_minor = policy.economics.violation_penalty_minor;
    return [{ actor_id: actor.actor_id, kind: "penalty", amount_minor, reason: "budget_exceeded" }];
  }
  const rounds = input.bundles.filter((bundle) =>
    bundle.slices.some((slice) => slice.vault_id === record.vault_id),
  ).length;
  const amount_minor = rewardOf({ actor, policy, taskClass: envelope.task_class, rounds });
  return [{ actor_id: actor.actor_id, kind: "reward", amount_minor, reason: "slice" }];
}

function aggregatorLines(input: AccountingInput): AccountingEntry[] {
  const { policy, envelope, bundles } = input;
  const actor = input.actors.get(envelope.coordination_envelope?.aggregator_id ?? "");
  if (actor === undefined) return [];
  const rounds = bundles.length;
  const amount_minor = rewardOf({ actor, policy, taskClass: envelope.task_class, rounds });
  return [{ actor_id: actor.actor_id, kind: "reward", amount_minor, reason: "aggregation" }];
}

function bondLine({ challenger, bond_minor }: Challenge): AccountingEntry {
  return {
    actor_id: challenger,
    kind: "penalty",
    amount_minor: bond_minor,
    reason: "challenge_bond",
  };
}

/** A slice challenge accuses its Vault; any other the aggregator, or the one Vault of a sole task. */
function penaltyLine(
  challenge: Challenge,
  envelope: TaskEnvelope,
  policy: Policy,
): AccountingEntry {
  const executor =
    envelope.coordination_envelope?.aggregator_id ?? envelope.inputs[0]?.vault_id ?? "";
  return {
    actor_id: challenge.target.kind === "slice" ? challenge.target.vault_id : executor,
    kind: "penalty",
    amount_minor: policy.economics.violation_penalty_minor,
    reason: "challenge_approved",
  };
}

function ordered(lines: readonly AccountingEntry[]): AccountingEntry[] {
  const name = (line: AccountingEntry): string => `${line.actor_id} ${line.kind} ${line.reason}`;
  return lines.filter((line) => line.amount_minor > 0).sort((a, b) => (name(a) < name(b) ? -1 : 1));
}
