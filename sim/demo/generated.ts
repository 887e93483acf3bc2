import { buildLogisticModel, buildLogisticStepGraph } from "#enclave";
import type { Feature } from "#protocol";
import { DEMO_COLUMNS, generateDemoCompanies, generateDemoReceipts } from "../data/index.ts";
import type { DemoPlan, PlannedColumn, PlannedScope, PlannedTask } from "../network/plan.ts";

const MICRO = 1_000_000;

/** Attributes that name a person; never queryable. */
const IDENTIFYING = new Set(["customer_id", "email"]);

/** The `customers` scope of the generated companies. */
export function customersScope(): PlannedScope {
  return {
    scope: "customers",
    domain: "retail",
    columns: DEMO_COLUMNS.map((column): PlannedColumn => ({
      name: column.name,
      type: column.type,
      scale: "scale" in column ? column.scale : 0,
      range: "min" in column ? { min: column.min, max: column.max } : null,
      queryable: !IDENTIFYING.has(column.name),
    })),
    subject: "email",
    link: "email",
  };
}

/** The `receipts` scope: one image a record. */
export function receiptsScope(): PlannedScope {
  const column = (name: string, type: "text" | "bytes"): PlannedColumn => ({
    name,
    type,
    scale: 0,
    range: null,
    queryable: false,
  });
  return {
    scope: "receipts",
    domain: "documents",
    columns: [column("receipt_name", "text"), column("owner", "text"), column("image", "bytes")],
    subject: "owner",
    link: null,
  };
}

/** A model input from a column: scaled to about [-2, 2] and held to its registered range. */
export function feature(
  attribute: string,
  mean: number,
  scale: number,
  range: [number, number],
): Feature {
  return {
    attribute,
    mean_micro: Math.round(mean * MICRO),
    scale_micro: Math.round(scale * MICRO),
    min_micro: Math.round(range[0] * MICRO),
    max_micro: Math.round(range[1] * MICRO),
  };
}

/** A value as it is, for a model that scales its inputs itself: held to its range and nothing else. */
export function rawFeature({ attribute, min_micro, max_micro }: Feature): Feature {
  return { attribute, mean_micro: 0, scale_micro: MICRO, min_micro, max_micro };
}

const CHURN_FEATURES: readonly Feature[] = [
  feature("age", 50, 18, [18, 90]),
  feature("balance", 3_000, 2_500, [0, 10_000]),
  feature("visits", 20, 15, [0, 60]),
];

/** Weights of the registered model that the compute task scores with: an analyst's earlier guess at churn. */
const SCORE_WEIGHTS = new Float32Array([-0.6, -0.8, -1.1, 0.2]);

/** Receipts that one Vault holds; one of them is read. */
const RECEIPTS = 3;

/** The demo on data this project generates: three companies with overlapping customers, and receipts. */
export function generatedPlan(): DemoPlan {
  const companies = generateDemoCompanies();
  const vaultIds = companies.map(({ vaultName }) => vaultName).toSorted();
  const [first = ""] = vaultIds;
  return {
    network: "demo",
    scopes: [customersScope(), receiptsScope()],
    vaults: companies.map(({ vaultName, csv }) => ({
      vaultId: vaultName,
      tables: [{ scope: "customers", csv }],
      documents: vaultName === first ? receiptDocuments() : [],
    })),
    models: [
      {
        name: "churn-score",
        kind: "model",
        bytes: buildLogisticModel({
          weights: SCORE_WEIGHTS,
          features: CHURN_FEATURES,
        }),
      },
      {
        name: "churn-step",
        kind: "step_graph",
        bytes: buildLogisticStepGraph({ features: CHURN_FEATURES.length }),
      },
    ],
    tasks: [parseTask(first), queryTask(vaultIds), computeTask(vaultIds), trainTask(vaultIds)],
    policy: (policy) => policy,
  };
}

function receiptDocuments(): DemoPlan["vaults"][number]["documents"] {
  return generateDemoReceipts(RECEIPTS).map(({ name, image }) => ({
    scope: "receipts",
    subject: "p000001@example.org",
    name,
    image,
  }));
}

/** Reads the first receipt that `vaultId` holds. */
export function parseTask(vaultId: string): PlannedTask {
  return {
    title: "read one receipt",
    taskClass: "parse",
    scope: "receipts",
    usageScope: "personal_use",
    vaultIds: [vaultId],
    epsilonMicro: 0,
    parameters: ({ records }) => ({
      task_class: "parse",
      record_commitment: records(vaultId, "receipts")[0] ?? new Uint8Array(32),
    }),
  };
}

function queryTask(vaultIds: readonly string[]): PlannedTask {
  return {
    title: "count people of 30 to 49 with a balance of 2 000 and more",
    taskClass: "query",
    scope: "customers",
    usageScope: "marketing",
    vaultIds,
    epsilonMicro: 1 * MICRO,
    parameters: () => ({
      task_class: "query",
      predicate: {
        operator: "AND",
        operands: [
          { attribute: "age", op: "range", min: 30, max: 50 },
          { attribute: "balance", op: "range", min: 200_000, max: 1_000_001 },
        ],
      },
      audience_cap: 10_000,
    }),
  };
}

function computeTask(vaultIds: readonly string[]): PlannedTask {
  return {
    title: "score everyone with a registered model",
    taskClass: "compute",
    scope: "customers",
    usageScope: "analytics",
    vaultIds,
    epsilonMicro: 1 * MICRO,
    parameters: ({ model }) => ({
      task_class: "compute",
      model_digest: model("churn-score"),
      // The registered model scales its inputs itself.
      features: CHURN_FEATURES.map(rawFeature),
      bin_edges_micro: [0, 200_000, 400_000, 600_000, 800_000, 1_000_001],
      work_units_max: 10_000_000,
    }),
  };
}

function trainTask(vaultIds: readonly string[]): PlannedTask {
  return {
    title: "train a churn model over three companies",
    taskClass: "train",
    scope: "customers",
    usageScope: "training",
    vaultIds,
    epsilonMicro: 8 * MICRO,
    parameters: ({ model }) => ({
      task_class: "train",
      model_digest: model("churn-step"),
      features: [...CHURN_FEATURES],
      label: { attribute: "churned", positive: 1 },
      rounds: 5,
      groups: 128,
      local_steps: 4,
      batch_size: 8,
      learning_rate_micro: 300_000,
      clip_norm_micro: 300_000,
      fraction_bits: 16,
      convergence_threshold_micro: 1 * MICRO,
    }),
  };
}
