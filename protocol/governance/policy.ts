import { z } from "zod";

import { digestOf } from "../hash.ts";
import {
  identifier,
  microEpsilon,
  natural,
  sessionPlatformName,
  unixMs,
  usageScope,
  type UsageScope,
} from "../fields.ts";

/** Those who may vote in one network, at most: their votes fit into one event. */
export const VOTERS_MAX = 128;

/** A year: longer windows are mistakes. */
const WINDOW_MS_MAX = 366 * 24 * 60 * 60 * 1000;

const hexPcr = z.string().regex(/^[0-9a-f]{96}$/, { error: "expected 96 lower-case hex digits" });

/** A reference value: one enclave image, and when it is accepted. `[valid_from_ms, valid_until_ms)`. */
export const referenceValueSchema = z.strictObject({
  pcr0: hexPcr,
  pcr1: hexPcr,
  pcr2: hexPcr,
  valid_from_ms: unixMs,
  valid_until_ms: unixMs,
});

const classConstraintsSchema = z.strictObject({
  /** Every class runs in an attested enclave here; a policy that permits otherwise is refused, not passed over (TT-6). */
  tee_required: z.literal(true),
  multi_vault: z.boolean(),
  budget_required: z.boolean(),
  budget_lock_required: z.boolean(),
  execution_ms_max: natural,
  /** Public bound that slice outputs are padded to: rows a Vault may contribute. */
  rows_max: natural,
  /** Reward per accepted slice, minor units. */
  slice_reward_minor: natural,
});

/**
 * The privacy budget of one purpose. Each amount is a whole allowance: what may be consumed since the last replenishment.
 *
 * `class_allowances` lowers a subject's allowance for sensitive work: a task is measured against the entry with the
 * highest `privacy_class` that is not above its own, and against `epsilon_micro` when there is none.
 */
export const budgetSchema = z.strictObject({
  usage_scope: usageScope,
  /** Of one subject. */
  epsilon_micro: microEpsilon,
  class_allowances: z
    .array(z.strictObject({ privacy_class: z.int().min(0).max(9), epsilon_micro: microEpsilon }))
    .max(10),
  /** Of one record scope as a whole, whoever its subjects are; null for no bound but theirs. */
  record_scope_epsilon_micro: natural.nullable(),
  /** The most that governance may give back to each subject at one epoch boundary; null for never. */
  replenish_epsilon_micro_max: microEpsilon.nullable(),
});

/**
 * How fast an actor's tasks of one class are taken: a store of `actor_tasks_max` tokens, one for each task, that fills
 * evenly, all of it in `window_ms`.
 */
const rateLimitSchema = z.strictObject({
  actor_tasks_max: natural,
  window_ms: z.int().min(1).max(WINDOW_MS_MAX),
});

/**
 * How governance decides one kind of thing (GS-7).
 *
 * Approval takes `quorum` voters who voted, one way or the other, and approval by `threshold_basis_points` of the weight
 * of all who may vote: whose vote is withheld counts as not approving.
 */
const processSchema = z.strictObject({
  quorum: z.int().min(1).max(VOTERS_MAX),
  /** Of 10 000. */
  threshold_basis_points: z.int().min(1).max(10_000),
  /** How long a proposal takes votes. 0: there is none, and who decides signs the decision itself. */
  window_ms: z.int().min(0).max(WINDOW_MS_MAX),
  /** Each voter weighs one, or its stake. */
  weight: z.enum(["actor", "stake"]),
});

/** What governance decides about, one process each. */
const processesSchema = z.strictObject({
  policy_change: processSchema,
  attribute_promotion: processSchema,
  challenge_adjudication: processSchema,
  protocol_upgrade: processSchema,
  /** Measurements and platforms, accepted and revoked. */
  measurement: processSchema,
  actor: processSchema,
  artifact: processSchema,
  semantics: processSchema,
  budget_replenishment: processSchema,
  epoch_boundary: processSchema,
});

/**
 * A policy version as one complete document (PV-1, PV-2). Nothing is optional and nothing has a default. It never
 * changes; whether it is a draft, active, deprecated or retired is governance's state and no part of it.
 *
 * `privacy.budgets` gives the whole allowance of one subject for one scope; without an entry there is none.
 */
export const policySchema = z.strictObject({
  policy_version_id: identifier,
  effective_from_epoch: natural,
  predecessor_version_id: identifier.nullable(),
  classes: z.strictObject({
    parse: classConstraintsSchema,
    query: classConstraintsSchema,
    compute: classConstraintsSchema,
    train: classConstraintsSchema,
  }),
  privacy: z.strictObject({
    budgets: z.array(budgetSchema).max(16),
    minimum_result_cardinality: natural,
    minimum_local_cardinality: natural,
    delta_pico: natural,
    tolerance_micro: microEpsilon,
    minimum_train_vaults: natural,
  }),
  multi_vault: z.strictObject({
    minimum_vault_quorum: natural,
    per_vault_timeout_ms: natural,
    aggregation_environment: z.literal("tee"),
    partial_coverage_accepted: z.boolean(),
    /**
     * How many other Vaults cosign the head of a Vault's log before it seals a key. 0 gives up protection from a Vault
     * restored from an old copy, and is all that a network of one Vault can have.
     */
    witness_quorum: natural,
  }),
  semantics: z.strictObject({
    /** Whether deprecated domains and attributes still resolve for new tasks. */
    deprecated_resolvable: z.boolean(),
    /** Whether sub-domains take part in resolution. */
    sub_domains_permitted: z.boolean(),
    local_attributes: z.strictObject({
      /** Domains whose candidates have windows of 5 epochs instead of 10. */
      high_activity_domains: z.array(identifier).max(64),
      /** Vaults that have a column before an attribute is proposed for it. */
      minimum_vaults: natural.min(1),
      /** Of the epochs of a window, in how many each of these Vaults must have it. */
      stability_percent: z.int().min(1).max(100),
      /** Of the last ten epochs, in how many a Vault must have it before it may query it for itself. */
      vault_scoped_epochs: z.int().min(1).max(10),
    }),
  }),
  admission: z.strictObject({
    resolving_timeout_ms: natural,
    /** Of the network. */
    concurrent_tasks_max: natural,
    /** Of one actor. */
    actor_concurrent_tasks_max: natural,
    rate_limits: z.strictObject({
      parse: rateLimitSchema,
      query: rateLimitSchema,
      compute: rateLimitSchema,
      train: rateLimitSchema,
    }),
    task_timeout_ms_max: natural,
    request_age_ms_max: natural,
  }),
  economics: z.strictObject({
    master_stake_minor: natural,
    enterprise_stake_minor: natural,
    producer_stake_minor: natural,
    staked_multiplier_percent: natural,
    violation_penalty_minor: natural,
    /** Whole epochs that stake stays slashable after its owner has asked for it back. */
    unbonding_epochs: natural,
  }),
  governance: z.strictObject({
    challenge_window_ms: natural,
    challenge_bond_minor: natural,
    challenge_deadline_ms: natural,
    checkpoint_quorum: natural,
    processes: processesSchema,
  }),
  epoch: z.strictObject({ time_ms_max: natural, settlement_volume_max: natural }),
  attestation: z.strictObject({
    platforms: z.array(sessionPlatformName).min(1).max(8),
    reference_values: z.array(referenceValueSchema).min(1).max(64),
    age_ms_max: natural,
  }),
});

export type Budget = z.infer<typeof budgetSchema>;
export type GovernanceProcess = z.infer<typeof processSchema>;
export type Policy = z.infer<typeof policySchema>;
export type ReferenceValue = z.infer<typeof referenceValueSchema>;

/**
 * What one subject may have consumed and reserved for a purpose, micro-epsilon, when a task of `privacyClass` is admitted;
 * 0 when the policy has no budget for the purpose. See {@link budgetSchema}.
 */
export function allowanceMicro(policy: Policy, scope: UsageScope, privacyClass: number): number {
  const budget = policy.privacy.budgets.find((each) => each.usage_scope === scope);
  if (budget === undefined) return 0;
  const entry = budget.class_allowances
    .filter((each) => each.privacy_class <= privacyClass)
    .toSorted((a, b) => b.privacy_class - a.privacy_class)[0];
  return Math.min(budget.epsilon_micro, entry?.epsilon_micro ?? budget.epsilon_micro);
}

/** Digest that envelopes and orders bind to: equal documents have equal digests. */
export function policyDigest(policy: Policy): Uint8Array {
  return digestOf("policy", policy);
}
