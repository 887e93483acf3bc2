import type { NitroMeasurement } from "#attestation";
import type { Budget, Policy, UsageScope } from "#protocol";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** Simulator reference values are accepted for ten years: nothing real depends on them. */
const DECADE_MS = 10 * 365 * 24 * 60 * MINUTE;

/** What each task class must meet. `parse` is free for the data producer (TC-6). */
function simulatedClasses(): Policy["classes"] {
  const shared = {
    tee_required: true as const,
    budget_required: true,
    budget_lock_required: true,
    multi_vault: true,
    execution_ms_max: 2 * MINUTE,
    rows_max: 20_000,
  };
  return {
    parse: {
      ...shared,
      multi_vault: false,
      budget_required: false,
      budget_lock_required: false,
      slice_reward_minor: 0,
    },
    query: { ...shared, slice_reward_minor: 200 },
    compute: { ...shared, slice_reward_minor: 300 },
    train: { ...shared, slice_reward_minor: 500 },
  };
}

/** A plain budget: one allowance for every privacy class, never replenished, no bound on a record scope. */
export function budgetOf(usage_scope: UsageScope, epsilon_micro: number): Budget {
  return {
    usage_scope,
    epsilon_micro,
    class_allowances: [],
    record_scope_epsilon_micro: null,
    replenish_epsilon_micro_max: null,
  };
}

/** The policy of a simulated network: every number written down, small enough to watch. */
export function simulatedPolicy(measurement: NitroMeasurement, nowMs: number): Policy {
  return {
    policy_version_id: "policy-1",
    effective_from_epoch: 0,
    predecessor_version_id: null,
    classes: simulatedClasses(),
    privacy: {
      budgets: [
        budgetOf("marketing", 10_000_000),
        budgetOf("analytics", 10_000_000),
        budgetOf("training", 20_000_000),
        budgetOf("personal_use", 0),
      ],
      minimum_result_cardinality: 20,
      minimum_local_cardinality: 5,
      delta_pico: 1_000_000,
      tolerance_micro: 0,
      minimum_train_vaults: 2,
    },
    multi_vault: {
      minimum_vault_quorum: 2,
      per_vault_timeout_ms: 20 * SECOND,
      aggregation_environment: "tee",
      partial_coverage_accepted: true,
      witness_quorum: 1,
    },
    semantics: { deprecated_resolvable: false, sub_domains_permitted: false },
    admission: {
      resolving_timeout_ms: 20 * SECOND,
      concurrent_tasks_max: 16,
      task_timeout_ms_max: 10 * MINUTE,
      request_age_ms_max: 5 * MINUTE,
    },
    economics: {
      master_stake_minor: 1_000_000,
      enterprise_stake_minor: 500_000,
      producer_stake_minor: 0,
      staked_multiplier_percent: 150,
      violation_penalty_minor: 100_000,
    },
    governance: {
      challenge_window_ms: 2 * SECOND,
      challenge_bond_minor: 1_000,
      challenge_deadline_ms: MINUTE,
      checkpoint_quorum: 2,
    },
    epoch: { time_ms_max: MINUTE, settlement_volume_max: 1 },
    attestation: {
      platforms: ["sim"],
      reference_values: [
        { ...measurement, valid_from_ms: nowMs - MINUTE, valid_until_ms: nowMs + DECADE_MS },
      ],
      age_ms_max: 5 * MINUTE,
    },
  };
}
