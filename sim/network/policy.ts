import type { NitroMeasurement } from "#attestation";
import type { Budget, GovernanceProcess, Policy, UsageScope } from "#protocol";

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

/** One process for everything that governance decides. */
export function processesOf(process: GovernanceProcess): Policy["governance"]["processes"] {
  return {
    policy_change: process,
    attribute_promotion: process,
    challenge_adjudication: process,
    protocol_upgrade: process,
    measurement: process,
    actor: process,
    artifact: process,
    semantics: process,
    budget_replenishment: process,
    epoch_boundary: process,
  };
}

type RateLimits = Policy["admission"]["rate_limits"];

/** One limit for every class. */
export function rateLimitsOf(limit: RateLimits["query"]): RateLimits {
  return { parse: limit, query: limit, compute: limit, train: limit };
}

/** Two of the three founding keys decide; what changes the rules is proposed and voted on. */
function simulatedProcesses(): Policy["governance"]["processes"] {
  const atOnce = {
    quorum: 2,
    threshold_basis_points: 6_600,
    window_ms: 0,
    weight: "actor",
  } as const;
  const voted = { ...atOnce, window_ms: 10 * MINUTE };
  return { ...processesOf(atOnce), policy_change: voted, protocol_upgrade: voted };
}

function simulatedSemantics(): Policy["semantics"] {
  return {
    deprecated_resolvable: false,
    sub_domains_permitted: false,
    local_attributes: {
      high_activity_domains: [],
      minimum_vaults: 3,
      stability_percent: 80,
      vault_scoped_epochs: 5,
    },
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
    semantics: simulatedSemantics(),
    admission: {
      resolving_timeout_ms: 20 * SECOND,
      concurrent_tasks_max: 16,
      actor_concurrent_tasks_max: 16,
      rate_limits: rateLimitsOf({ actor_tasks_max: 120, window_ms: MINUTE }),
      task_timeout_ms_max: 10 * MINUTE,
      request_age_ms_max: 5 * MINUTE,
    },
    economics: {
      master_stake_minor: 1_000_000,
      enterprise_stake_minor: 500_000,
      producer_stake_minor: 0,
      staked_multiplier_percent: 150,
      violation_penalty_minor: 100_000,
      unbonding_epochs: 10,
    },
    governance: {
      challenge_window_ms: 2 * SECOND,
      challenge_bond_minor: 1_000,
      challenge_deadline_ms: MINUTE,
      checkpoint_quorum: 2,
      processes: simulatedProcesses(),
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
