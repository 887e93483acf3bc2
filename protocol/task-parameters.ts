import { z } from "zod";

import { bytes32, identifier, natural } from "./fields.ts";

const literal = z.union([z.int(), z.string().max(200)]);

/** One comparison of an attribute. `range` is `[min, max)` in the attribute's scaled integers. */
export const operandSchema = z.discriminatedUnion("op", [
  z.strictObject({ attribute: identifier, op: z.literal("eq"), value: literal }),
  z.strictObject({
    attribute: identifier,
    op: z.literal("in"),
    values: z.array(literal).min(1).max(64),
  }),
  z.strictObject({ attribute: identifier, op: z.literal("range"), min: z.int(), max: z.int() }),
]);

/**
 * A flat composition of operands (AC-1): `AND` and `OR`, of one record; `NOT` of one operand; `JOIN` of two or more, each
 * met by some record of the same subject in the same Vault, so that records of different kinds are linked.
 */
export const predicateSchema = z.strictObject({
  operator: z.enum(["AND", "OR", "NOT", "JOIN"]),
  operands: z.array(operandSchema).min(1).max(64),
});

/**
 * One model input, made from one attribute by public constants, in millionths of the attribute's natural unit.
 *
 * The value is held to [min, max] first; then comes (value - mean) / scale.
 */
export const featureSchema = z
  .strictObject({
    attribute: identifier,
    mean_micro: z.int(),
    scale_micro: z.int().min(1),
    min_micro: z.int(),
    max_micro: z.int(),
  })
  .refine((feature) => feature.min_micro <= feature.max_micro, {
    error: "expected min_micro of at most max_micro",
  });

const increasing = (edges: readonly number[]): boolean =>
  edges.every((edge, index) => index === 0 || edge > (edges[index - 1] ?? edge));

/** `parse`: one record of one Vault, named by its commitment. */
export const parseParametersSchema = z.strictObject({
  task_class: z.literal("parse"),
  record_commitment: bytes32,
});

/** `query`: how many distinct subjects match, and a handle to them. */
export const queryParametersSchema = z.strictObject({
  task_class: z.literal("query"),
  predicate: predicateSchema,
  audience_cap: natural,
});

/** `compute`: a registered model over each record; a histogram of its scores. */
export const computeParametersSchema = z.strictObject({
  task_class: z.literal("compute"),
  model_digest: bytes32,
  features: z.array(featureSchema).min(1).max(256),
  bin_edges_micro: z
    .array(z.int())
    .min(2)
    .max(65)
    .refine(increasing, { error: "expected increasing edges" }),
  /** Rows times operators of the model's graph. */
  work_units_max: natural,
});

/**
 * `train`: federated averaging of a registered step graph over all Vaults.
 *
 * `label.positive` is in the attribute's scaled integers; `groups` is the m of sample-and-aggregate.
 * `convergence_threshold_micro` is the most by which the last round may move the model, in millionths of a weight, as
 * `model_change_micro` of its bundle measures it: a model that moved further is rejected (TC-5). Null sets no threshold.
 */
export const trainParametersSchema = z.strictObject({
  task_class: z.literal("train"),
  model_digest: bytes32,
  features: z.array(featureSchema).min(1).max(256),
  label: z.strictObject({ attribute: identifier, positive: z.int() }),
  rounds: z.int().min(1).max(100),
  groups: z.int().min(1).max(4096),
  local_steps: z.int().min(1).max(10_000),
  batch_size: z.int().min(1).max(4096),
  learning_rate_micro: z.int().min(1).max(10_000_000),
  clip_norm_micro: z.int().min(1).max(1_000_000_000),
  fraction_bits: z.int().min(8).max(24),
  convergence_threshold_micro: z.int().min(1).max(1_000_000_000).nullable(),
});

/** What a task asks for, by class. */
export const taskParametersSchema = z.discriminatedUnion("task_class", [
  parseParametersSchema,
  queryParametersSchema,
  computeParametersSchema,
  trainParametersSchema,
]);

export type Operand = z.infer<typeof operandSchema>;
export type Predicate = z.infer<typeof predicateSchema>;
export type Feature = z.infer<typeof featureSchema>;
export type ParseParameters = z.infer<typeof parseParametersSchema>;
export type QueryParameters = z.infer<typeof queryParametersSchema>;
export type ComputeParameters = z.infer<typeof computeParametersSchema>;
export type TrainParameters = z.infer<typeof trainParametersSchema>;
export type TaskParameters = z.infer<typeof taskParametersSchema>;
