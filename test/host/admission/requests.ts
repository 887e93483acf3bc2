import { sha256, utf8, type TaskClass, type TaskParameters } from "../../../protocol/index.ts";

/** The bytes of the one registered model, which also stands for a step graph. */
export const MODEL = utf8("a registered model");

const FEATURE = {
  attribute: "customer.age",
  mean_micro: 0,
  scale_micro: 1_000_000,
  min_micro: 0,
  max_micro: 120_000_000,
};

/** Well-formed parameters of each class over the generated scopes. */
export const PARAMETERS: { readonly [Class in TaskClass]: TaskParameters } = {
  parse: { task_class: "parse", record_commitment: sha256(utf8("a record")) },
  query: {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [
        { attribute: "customer.age", op: "range", min: 20, max: 60 },
        { attribute: "customer.city", op: "eq", value: "Porto" },
      ],
    },
    audience_cap: 100,
  },
  compute: {
    task_class: "compute",
    model_digest: sha256(MODEL),
    features: [FEATURE],
    bin_edges_micro: [0, 500_000, 1_000_000],
    work_units_max: 1_000_000,
  },
  train: {
    task_class: "train",
    model_digest: sha256(MODEL),
    features: [FEATURE],
    label: { attribute: "customer.subscribed", positive: 1 },
    rounds: 4,
    groups: 8,
    local_steps: 2,
    batch_size: 8,
    learning_rate_micro: 100_000,
    clip_norm_micro: 300_000,
    fraction_bits: 16,
    convergence_threshold_micro: null,
  },
};
