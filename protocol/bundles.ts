import { z } from "zod";

import {
  bytes32,
  bytesUpTo,
  identifier,
  microEpsilon,
  natural,
  platformName,
  taskClass,
} from "./fields.ts";
import { defineObject } from "./object.ts";

/** A slice enclave's signed statement of what it did: commitments and bounds, nothing of the data (MV-2). */
export const sliceResultBundleSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  order_digest: bytes32,
  vault_id: identifier,
  round: natural,
  attempt: natural,
  task_class: taskClass,
  enclave_manifest: bytes32,
  aggregator_manifest: bytes32,
  input_commitment: bytes32,
  workload: identifier,
  model_digest: bytes32.nullable(),
  /** Commitment to the padded slice output; equal inputs give an equal commitment. */
  output_commitment: bytes32,
  /** Digest of the sealed slice output as it travels. */
  sealed_output_digest: bytes32,
  epsilon_micro: microEpsilon,
  bounds_met: z.literal(true),
});

export type SliceResultBundle = z.infer<typeof sliceResultBundleSchema>;
export const SLICE_RESULT_BUNDLE = defineObject(
  "slice-result-bundle",
  sliceResultBundleSchema,
  16 * 1024,
);

/** The signed outcome of one round, or of an atomic task: what the Settlement Plane verifies (XP-6, AG-4). */
export const executionResultBundleSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  task_class: taskClass,
  round: natural,
  final: z.boolean(),
  attempt: natural,
  platform: platformName,
  enclave_manifest: bytes32,
  aggregation_method: z.enum(["none", "union", "intersection", "secure_sum", "federated_average"]),
  /** What went in, in order of Vault identifier. */
  slices: z
    .array(
      z.strictObject({
        vault_id: identifier,
        manifest: bytes32,
        order_digest: bytes32,
        output_commitment: bytes32,
        sealed_output_digest: bytes32,
        epsilon_micro: microEpsilon,
      }),
    )
    .min(1)
    .max(64),
  partial_coverage: z.boolean(),
  input_state: bytes32.nullable(),
  /**
   * L2 norm by which the round moved the noised model, in millionths of a weight, rounded up; null exactly when the request
   * sets no `convergence_threshold_micro` (TC-5).
   */
  model_change_micro: natural.nullable(),
  output_commitment: bytes32,
  /** Digest of the ciphertext under the shared key: the result, or the state of the next round. */
  sealed_digest: bytes32,
  /** Commitment to the shared key and, in order of Vault identifier, digests of its sealed shares. */
  key_commitment: bytes32,
  share_digests: z
    .array(z.strictObject({ vault_id: identifier, digest: bytes32 }))
    .min(1)
    .max(64),
  share_threshold: natural,
  epsilon_micro: microEpsilon,
});

export type ExecutionResultBundle = z.infer<typeof executionResultBundleSchema>;
export const EXECUTION_RESULT_BUNDLE = defineObject(
  "execution-result-bundle",
  executionResultBundleSchema,
  64 * 1024,
);

/** Ciphertext of a result or a state, with the sealed shares of its key. Travels beside the bundle. */
export const sealedOutcomeSchema = z.strictObject({
  ciphertext: bytesUpTo(32 * 1024 * 1024),
  shares: z
    .array(z.strictObject({ vault_id: identifier, sealed: bytesUpTo(4096) }))
    .min(1)
    .max(64),
});

export type SealedOutcome = z.infer<typeof sealedOutcomeSchema>;
export const SEALED_OUTCOME = defineObject("sealed-outcome", sealedOutcomeSchema, 33 * 1024 * 1024);
