import { buildLogisticModel } from "../../enclave/workloads/train/index.ts";
import {
  sha256,
  type ComputeParameters,
  type Feature,
  type QueryParameters,
} from "../../protocol/index.ts";

/** Everybody of the test network's customers who is at least 18. */
export const ADULTS: QueryParameters = {
  task_class: "query",
  predicate: {
    operator: "AND",
    operands: [{ attribute: "customer.age", op: "range", min: 18, max: 121 }],
  },
  audience_cap: 1000,
};

/** Age as a model input, in years. */
const AGE: Feature = {
  attribute: "customer.age",
  mean_micro: 0,
  scale_micro: 1_000_000,
  min_micro: 0,
  max_micro: 120_000_000,
};

/** The same with a mean near 0 and a deviation near 1, as training takes it. */
export const SCALED_AGE: Feature = { ...AGE, mean_micro: 48_000_000, scale_micro: 18_000_000 };

/** Scores grow with age; half of the customers score above one half. */
export const AGE_MODEL = buildLogisticModel({
  weights: Float32Array.of(0.1, -4.8),
  features: [AGE],
});

/** Scores everybody with {@link AGE_MODEL}: how many lie below one half, and how many above. */
export const AGE_SCORES: ComputeParameters = {
  task_class: "compute",
  model_digest: sha256(AGE_MODEL),
  features: [AGE],
  bin_edges_micro: [0, 500_000, 1_000_000],
  work_units_max: 1_000_000,
};
