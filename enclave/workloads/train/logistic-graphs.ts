import type { Feature } from "#protocol";

import { encodeModel, type OnnxGraph, type OnnxNode, type OnnxValue } from "./onnx-encoder.ts";

/**
 * The names and shapes every step graph shares, whatever it computes inside:
 *
 *     features float [rows, F]   rows of one Vault, clamped and scaled
 *     labels   float [rows, 1]   0 or 1
 *     order    int64 [steps, batch]   which rows each step takes
 *     rate     float [1]         learning rate
 *     weights  float [P]         flat weights   ->   weights_out float [P]
 */
export const STEP_SIGNATURE = {
  inputs: ["features", "labels", "order", "rate", "weights"],
  outputs: ["weights_out"],
} as const;

const floats = (name: string, dims: readonly (number | string)[]): OnnxValue => ({
  name,
  type: "float",
  dims,
});
const node = (op: string, inputs: readonly string[], outputs: readonly string[]): OnnxNode => ({
  op,
  inputs,
  outputs,
});
const int64s = (name: string, values: readonly number[], dims: readonly number[]) => ({
  name,
  dims,
  data: BigInt64Array.from(values.map(BigInt)),
});
const constants = (name: string, values: readonly number[]) => ({
  name,
  dims: [values.length],
  data: Float32Array.from(values),
});

/** One gradient step of logistic regression over the rows that `order[step]` names. */
function stepBody(features: number): OnnxGraph {
  return {
    name: "step",
    nodes: [
      node("Identity", ["more"], ["more_out"]),
      node("Gather", ["order", "step"], ["rows_of_step"]),
      node("Gather", ["features", "rows_of_step"], ["x"]),
      node("Gather", ["labels", "rows_of_step"], ["y"]),
      node("MatMul", ["x", "slope"], ["xw"]),
      node("Add", ["xw", "bias"], ["logit"]),
      node("Sigmoid", ["logit"], ["p"]),
      node("Sub", ["p", "y"], ["error"]),
      // The rate per row is folded into the errors, so that one Gemm is the whole update of the slope.
      node("Mul", ["error", "rate_per_row"], ["step_error"]),
      {
        ...node("Gemm", ["x", "step_error", "slope"], ["slope_out"]),
        attributes: [
          { name: "alpha", kind: "float", value: -1 },
          { name: "beta", kind: "float", value: 1 },
          { name: "transA", kind: "int", value: 1 },
        ],
      },
      {
        ...node("ReduceSum", ["step_error", "axis_zero"], ["bias_step"]),
        attributes: [{ name: "keepdims", kind: "int", value: 0 }],
      },
      node("Sub", ["bias", "bias_step"], ["bias_out"]),
    ],
    initializers: [int64s("axis_zero", [0], [1])],
    inputs: [
      { name: "step", type: "int64", dims: [] },
      { name: "more", type: "bool", dims: [] },
      floats("slope", [features, 1]),
      floats("bias", [1]),
    ],
    outputs: [
      { name: "more_out", type: "bool", dims: [] },
      floats("slope_out", [features, 1]),
      floats("bias_out", [1]),
    ],
  };
}

/**
 * The step graph of logistic regression: a whole local epoch in one `Loop`, so that batch order is an input
 * and no weight crosses into JavaScript between steps.
 *
 * Weights are `features` slopes and then the bias.
 *
 * @param features - Number of features; [1, 4096].
 * @returns ModelProto bytes; equal for equal arguments, under 2 KiB.
 */
export function buildLogisticStepGraph({ features }: { readonly features: number }): Uint8Array {
  return encodeModel({
    name: "logistic-step",
    nodes: [
      node("Split", ["weights", "parts"], ["slope_flat", "bias_start"]),
      node("Reshape", ["slope_flat", "column"], ["slope_start"]),
      node("Shape", ["order"], ["order_shape"]),
      node("Gather", ["order_shape", "index_zero"], ["steps"]),
      node("Gather", ["order_shape", "index_one"], ["batch"]),
      {
        ...node("Cast", ["batch"], ["batch_float"]),
        attributes: [{ name: "to", kind: "int", value: 1 }],
      },
      node("Div", ["rate", "batch_float"], ["rate_per_row"]),
      {
        ...node(
          "Loop",
          ["steps", "always", "slope_start", "bias_start"],
          ["slope_end", "bias_end"],
        ),
        attributes: [{ name: "body", kind: "graph", value: stepBody(features) }],
      },
      node("Reshape", ["slope_end", "flat"], ["slope_end_flat"]),
      {
        ...node("Concat", ["slope_end_flat", "bias_end"], ["weights_out"]),
        attributes: [{ name: "axis", kind: "int", value: 0 }],
      },
    ],
    initializers: [
      int64s("parts", [features, 1], [2]),
      int64s("column", [features, 1], [2]),
      int64s("flat", [features], [1]),
      int64s("index_zero", [0], []),
      int64s("index_one", [1], []),
      { name: "always", dims: [], data: Uint8Array.of(1) },
    ],
    inputs: [
      floats("features", ["rows", features]),
      floats("labels", ["rows", 1]),
      { name: "order", type: "int64", dims: ["steps", "batch"] },
      floats("rate", [1]),
      floats("weights", [features + 1]),
    ],
    outputs: [floats("weights_out", [features + 1])],
  });
}

/**
 * The model that is delivered: raw attribute values in, label and probability out.
 *
 * Clamping and scaling are baked in from the task's public feature constants. Input `attributes`
 * is float [rows, A]: the distinct attributes in order of first use, also written into the metadata.
 * Outputs: `label` int64 [rows] and `probability` float [rows].
 *
 * @param weights - One slope per feature and then the bias.
 */
export function buildLogisticModel({
  weights,
  features,
}: {
  readonly weights: Float32Array;
  readonly features: readonly Feature[];
}): Uint8Array {
  const attributes = [...new Set(features.map(({ attribute }) => attribute))];
  const micro = (pick: (feature: Feature) => number): number[] =>
    features.map((feature) => pick(feature) / 1e6);
  const count = features.length;
  return encodeModel(
    {
      name: "logistic",
      nodes: modelNodes(),
      initializers: [
        int64s(
          "columns",
          features.map(({ attribute }) => attributes.indexOf(attribute)),
          [count],
        ),
        constants(
          "minimum",
          micro(({ min_micro: min }) => min),
        ),
        constants(
          "maximum",
          micro(({ max_micro: max }) => max),
        ),
        constants(
          "mean",
          micro(({ mean_micro: mean }) => mean),
        ),
        constants(
          "scale",
          micro(({ scale_micro: scale }) => scale),
        ),
        { name: "slope", dims: [count, 1], data: weights.slice(0, count) },
        { name: "bias", dims: [1], data: weights.slice(count, count + 1) },
        { name: "half", dims: [1], data: Float32Array.of(0.5) },
        int64s("flat", [-1], [1]),
      ],
      inputs: [floats("attributes", ["rows", attributes.length])],
      outputs: [{ name: "label", type: "int64", dims: ["rows"] }, floats("probability", ["rows"])],
    },
    [["attributes", JSON.stringify(attributes)]],
  );
}

function modelNodes(): readonly OnnxNode[] {
  return [
    {
      ...node("Gather", ["attributes", "columns"], ["raw"]),
      attributes: [{ name: "axis", kind: "int", value: 1 }],
    },
    node("Max", ["raw", "minimum"], ["raised"]),
    node("Min", ["raised", "maximum"], ["clamped"]),
    node("Sub", ["clamped", "mean"], ["centred"]),
    node("Div", ["centred", "scale"], ["scaled"]),
    node("MatMul", ["scaled", "slope"], ["xw"]),
    node("Add", ["xw", "bias"], ["logit"]),
    node("Sigmoid", ["logit"], ["p"]),
    node("Reshape", ["p", "flat"], ["probability"]),
    node("Greater", ["probability", "half"], ["positive"]),
    {
      ...node("Cast", ["positive"], ["label"]),
      attributes: [{ name: "to", kind: "int", value: 7 }],
    },
  ];
}
