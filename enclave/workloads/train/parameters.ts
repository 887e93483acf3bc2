import { z } from "zod";

const MICRO_MAX = 1_000_000_000_000;
const micro = z.int().min(-MICRO_MAX).max(MICRO_MAX);

/**
 * One model feature, made from one attribute by public constants, in millionths.
 *
 * The value is held to [min, max] first. With `equals_micro` set it then becomes 1 if it equals that and 0
 * otherwise, else it stays. Last comes (value - mean) / scale. Several features may read one attribute.
 */
export const trainFeatureSchema = z
  .strictObject({
    attribute: z.string().min(1).max(256),
    mean_micro: micro,
    scale_micro: micro.min(1),
    min_micro: micro,
    max_micro: micro,
    equals_micro: micro.nullable(),
  })
  .refine((feature) => feature.min_micro <= feature.max_micro, "min_micro exceeds max_micro");

/** See {@link trainFeatureSchema}. */
export type TrainFeature = z.infer<typeof trainFeatureSchema>;

/** What counts as the positive class: a number at or above a bound, or one exact text. */
export const trainLabelSchema = z.strictObject({
  attribute: z.string().min(1).max(256),
  positive: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("at_least"), micro }),
    z.strictObject({ kind: z.literal("text"), text: z.string().max(256) }),
  ]),
});

/** See {@link trainLabelSchema}. */
export type TrainLabel = z.infer<typeof trainLabelSchema>;

/**
 * The parameters of a `train` task, all public and all integers, fixed at admission.
 *
 * `groups` is m of sample-and-aggregate; `vaults_per_subject` says in how many participating Vaults one
 * subject may be (the number of participants unless tokens deduplicate); `delta_pico` and `epsilon_micro` are
 * charged for all rounds together.
 */
export const trainParametersSchema = z.strictObject({
  features: z.array(trainFeatureSchema).min(1).max(4096),
  label: trainLabelSchema,
  rounds: z.int().min(1).max(1000),
  groups: z.int().min(1).max(65_536),
  local_steps: z.int().min(1).max(10_000),
  batch_size: z.int().min(1).max(4096),
  learning_rate_micro: z.int().min(1).max(100_000_000),
  clip_norm_micro: z.int().min(1).max(1_000_000_000),
  fraction_bits: z.int().min(4).max(24),
  vaults_per_subject: z.int().min(1).max(1024),
  epsilon_micro: z.int().min(1).max(50_000_000),
  delta_pico: z.int().min(1).max(10_000_000_000),
});

/** See {@link trainParametersSchema}. */
export type TrainParameters = z.infer<typeof trainParametersSchema>;
