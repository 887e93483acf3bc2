import { isStaked, noOutput } from "#protocol";
import type {
  Actor,
  ChallengePenalty,
  ConsumptionRecord,
  ExecutionResultBundle,
  Policy,
  ResolvedBy,
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

/** How a challenge ends that governance has not decided by its deadline. */
export const UNDECIDED: ResolvedBy = { resolution: "closed_without_penalty", penalty: null };

/**
 * The entry of a task whose challenge governance has ended.
 *
 * Approved: nobody earns, whom governance found at fault pays, and the entry commits to no output, so that no Vault
 * releases anything for it. Not confirmed: the challenger pays its bond. Closed without penalty: the entry as it was.
 */
export function applyChallenge(
  entry: SettlementEntry,
  { resolution, penalty }: ResolvedBy,
): SettlementEntry {
  switch (resolution) {
    case "closed_without_penalty":
      return entry;
    case "not_confirmed": {
      const bond = penaltyLines(penalty, "challenge_bond");
      return { ...entry, accounting: ordered([...entry.accounting, ...bond]) };
    }
    case "approved": {
      const accounting = ordered(penaltyLines(penalty, "challenge_approved"));
      return { ...entry, output_commitment: noOutput(), accounting };
    }
  }
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

/** What governance has taken from a stake, as the entry repeats it. */
function penaltyLines(penalty: ChallengePenalty | null, reason: string): AccountingEntry[] {
  return penalty === null ? [] : [{ ...penalty, kind: "penalty", reason }];
}

function ordered(lines: readonly AccountingEntry[]): AccountingEntry[] {
  const name = (line: AccountingEntry): string => `${line.actor_id} ${line.kind} ${line.reason}`;
  return lines.filter((line) => line.amount_minor > 0).sort((a, b) => (name(a) < name(b) ? -1 : 1));
}
