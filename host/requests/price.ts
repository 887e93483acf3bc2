import { compositionPrice } from "#aggregation";
import type { GovernanceState, SemanticResolution, TaskRequest } from "#protocol";

/** Rounds that a request asks for. */
export function roundsOfRequest({ parameters }: Pick<TaskRequest, "parameters">): number {
  return parameters.task_class === "train" ? parameters.rounds : 1;
}

/** The least epsilon that a request of this meaning must offer: 0 where its class needs no budget (AC-4). */
export function priceMicro(
  { task_class }: Pick<TaskRequest, "task_class">,
  { operator, operandEpsilonsMicro }: SemanticResolution,
  { policy }: GovernanceState,
): number {
  if (!policy.classes[task_class].budget_required) return 0;
  return Math.max(1, compositionPrice({ operator, operandEpsilonsMicro }));
}

/**
 * The most that rewards for a task can come to, minor units: every Vault it names, and the aggregator of several, staked
 * and in every round. See `accountTask` of settlement.
 */
export function rewardMaxMinor(
  request: Pick<TaskRequest, "parameters" | "vault_ids">,
  { policy }: GovernanceState,
): number {
  const vaults = request.vault_ids.length;
  const paid = vaults > 1 ? vaults + 1 : vaults;
  const base = policy.classes[request.parameters.task_class].slice_reward_minor;
  const percent = Math.max(100, policy.economics.staked_multiplier_percent);
  return Math.floor((base * paid * roundsOfRequest(request) * percent) / 100);
}

/** What a submitter can have locked and spent, minor units: what it has deposited with the network. */
export function fundsMinor({ actors }: GovernanceState, actorId: string): number {
  return actors.get(actorId)?.stake_minor ?? 0;
}
