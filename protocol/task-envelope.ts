import { z } from "zod";

import {
  actorRole,
  boxPublicKey,
  bytes32,
  bytesUpTo,
  identifier,
  microEpsilon,
  natural,
  taskClass,
  unixMs,
  usageScope,
} from "./fields.ts";
import { defineObject } from "./object.ts";
import { operandSchema, taskParametersSchema, type TaskParameters } from "./task-parameters.ts";

/** The declared composition of a multi-attribute task (AC-1). */
export const attributeCompositionSchema = z.strictObject({
  composition_id: identifier,
  operator: z.enum(["AND", "OR", "NOT", "FILTER", "JOIN"]),
  operand_attributes: z.array(operandSchema).min(1).max(64),
  combined_privacy_class: z.int().min(0).max(9),
  minimum_result_cardinality: natural,
});

/** What all slices of a multi-Vault task share (MV-1, AG-2). */
export const coordinationEnvelopeSchema = z.strictObject({
  parent_task_id: identifier,
  participating_vault_ids: z.array(identifier).min(1).max(64),
  minimum_vault_quorum: natural,
  aggregation_method: z.enum(["union", "intersection", "secure_sum", "federated_average"]),
  aggregation_environment: z.enum(["tee", "mpc", "he"]),
  aggregator_id: identifier,
  per_vault_timeout: natural,
});

/** How often a composite task may iterate, and how still its model must be after the last round (CT-4). */
export const iterationPolicySchema = z.strictObject({
  maximum_rounds: natural,
  convergence_threshold_micro: natural.nullable(),
  early_stop: z.boolean(),
  failed_round: z.enum(["reject"]),
});

/**
 * The admitted task, complete and immutable (TE-1 to TE-3). Its digest names the task from here on.
 *
 * Times are milliseconds; `task_timeout` and `per_vault_timeout` are durations.
 */
export const taskEnvelopeSchema = z.strictObject({
  version: z.literal(1),
  task_id: identifier,
  task_class: taskClass,
  caller_context: z.strictObject({
    actor_id: identifier,
    role: actorRole,
    request_digest: bytes32,
    /** The request as its submitter signed it: COSE_Sign1. */
    signed_request: bytesUpTo(128 * 1024),
  }),
  authorization_context: z
    .array(z.strictObject({ vault_id: identifier, grant_id: identifier, decision_digest: bytes32 }))
    .min(1)
    .max(64),
  consent_references: z
    .array(z.strictObject({ vault_id: identifier, consent_commitment: bytes32 }))
    .max(64),
  semantic_version: identifier,
  policy_version: identifier,
  policy_digest: bytes32,
  epoch_id: natural,
  attribute_composition: attributeCompositionSchema.nullable(),
  derivation_rule_refs: z.array(identifier).max(64),
  budget_lock_ref: identifier.nullable(),
  privacy_budget_reservation: z
    .array(
      z.strictObject({
        vault_id: identifier,
        reservation_id: identifier,
        epsilon_micro: microEpsilon,
        expires_ms: unixMs,
      }),
    )
    .max(64),
  coordination_envelope: coordinationEnvelopeSchema.nullable(),
  iteration_policy: iterationPolicySchema.nullable(),
  admission_timestamp: unixMs,
  task_timeout: natural,
  genesis_digest: bytes32,
  record_scope: identifier,
  usage_scope: usageScope,
  parameters: taskParametersSchema,
  epsilon_micro: microEpsilon,
  delta_pico: natural,
  delivery_key: boxPublicKey,
  /** Each Vault's input commitment and noise-share commitments, in the order of its Vault identifier. */
  inputs: z
    .array(
      z.strictObject({
        vault_id: identifier,
        input_commitment: bytes32,
        share_commitments: z.array(bytes32).min(1).max(100),
      }),
    )
    .min(1)
    .max(64),
});

export type TaskEnvelope = z.infer<typeof taskEnvelopeSchema>;
export type CoordinationEnvelope = z.infer<typeof coordinationEnvelopeSchema>;
export type AttributeComposition = z.infer<typeof attributeCompositionSchema>;

export const TASK_ENVELOPE = defineObject("task-envelope", taskEnvelopeSchema, 512 * 1024);

/**
 * The iteration policy that a request's parameters ask for; null for a class that does not iterate (CT-4).
 *
 * Admission writes it into the envelope, and Vault, enclave and verifier each hold the envelope to it.
 */
export function iterationPolicyOf(parameters: TaskParameters): TaskEnvelope["iteration_policy"] {
  if (parameters.task_class !== "train") return null;
  return {
    maximum_rounds: parameters.rounds,
    convergence_threshold_micro: parameters.convergence_threshold_micro,
    early_stop: false,
    failed_round: "reject",
  };
}

/** Rounds a task runs: `maximum_rounds` of its iteration policy, or one. */
export function roundsOf(envelope: TaskEnvelope): number {
  return envelope.iteration_policy?.maximum_rounds ?? 1;
}

/** Epsilon one round costs: an equal share of the whole, rounded up. */
export function epsilonOfRound(envelope: TaskEnvelope): number {
  return Math.ceil(envelope.epsilon_micro / roundsOf(envelope));
}
