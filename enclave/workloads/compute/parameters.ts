import { z } from "zod";

import { trainFeatureSchema } from "../train/parameters.ts";

const increasing = (edges: readonly number[]): boolean =>
  edges.every((edge, i) => i === 0 || edge > (edges[i - 1] ?? edge));

/**
 * The parameters of a `compute` task of kind `onnx`, all public and all integers, fixed at admission.
 *
 * `model_digest` is SHA-256 of the registered ModelProto in lower-case hex. The model reads `input`, float
 * [rows, features], and writes `output`, one float per row. Bounds are declared here and nowhere else:
 * work units are rows times operators of the graph.
 */
export const computeParametersSchema = z.strictObject({
  kind: z.literal("onnx"),
  model_digest: z.string().regex(/^[0-9a-f]{64}$/),
  input: z.string().min(1).max(256),
  output: z.string().min(1).max(256),
  features: z.array(trainFeatureSchema).min(1).max(4096),
  edges_micro: z
    .array(z.int().min(-1_000_000_000_000).max(1_000_000_000_000))
    .min(2)
    .max(1025)
    .refine(increasing, "edges do not increase"),
  rows_per_subject_max: z.int().min(1).max(1000),
  bounds: z.strictObject({
    rows_max: z.int().min(1).max(10_000_000),
    work_units_max: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
    milliseconds_max: z.int().min(1).max(3_600_000),
  }),
  epsilon_micro: z.int().min(1).max(50_000_000),
  delta_pico: z.int().min(1).max(10_000_000_000),
});

/** See {@link computeParametersSchema}. */
export type ComputeParameters = z.infer<typeof computeParametersSchema>;
