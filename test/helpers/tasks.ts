import type { Task } from "../../host/client/index.ts";
import { hex, sha256, utf8, type TaskClass } from "../../protocol/index.ts";

/** The bytes that stand for a registered model, and for a registered step graph. */
export const MODEL = utf8("a registered model");
export const STEPS = utf8("a registered step graph");

const VAULTS = ["vault-1", "vault-2", "vault-3"];
const FEATURE = {
  attribute: "customer.age",
  ...{ mean_micro: 0, scale_micro: 1_000_000, min_micro: 0, max_micro: 120_000_000 },
};

/** A task of each class over the generated scopes, as the published client takes it. */
export const TASKS: { readonly [Class in TaskClass]: Task } = {
  parse: {
    record_scope: "receipts",
    usage_scope: "personal_use",
    vault_ids: ["vault-1"],
    parameters: { task_class: "parse", record_commitment: hex(sha256(utf8("a record"))) },
    epsilon_micro: 0,
  },
  query: {
    record_scope: "customers",
    usage_scope: "marketing",
    vault_ids: VAULTS,
    parameters: {
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
    epsilon_micro: 8_000_000,
  },
  compute: {
    record_scope: "customers",
    usage_scope: "analytics",
    vault_ids: VAULTS,
    parameters: {
      task_class: "compute",
      model_digest: hex(sha256(MODEL)),
      features: [FEATURE],
      bin_edges_micro: [0, 500_000, 1_000_000],
      work_units_max: 1_000_000,
    },
    epsilon_micro: 8_000_000,
  },
  train: {
    record_scope: "customers",
    usage_scope: "training",
    vault_ids: VAULTS,
    parameters: {
      task_class: "train",
      model_digest: hex(sha256(STEPS)),
      features: [FEATURE],
      label: { attribute: "customer.subscribed", positive: 1 },
      ...{ rounds: 4, groups: 8, local_steps: 2, batch_size: 8, fraction_bits: 16 },
      ...{ learning_rate_micro: 100_000, clip_norm_micro: 300_000 },
      convergence_threshold_micro: null,
    },
    epsilon_micro: 8_000_000,
  },
};
