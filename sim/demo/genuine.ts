import { readFileSync } from "node:fs";

import { UsageError } from "#cli";
import { buildLogisticModel, buildLogisticStepGraph } from "#enclave";
import type { Feature, TrainParameters } from "#protocol";
import {
  BANK_COLUMNS,
  HEART_COLUMNS,
  HEART_FEATURES,
  missingGenuineSets,
  readBankVaults,
  readHeartCentres,
  readSroieReceipts,
  type CompanyData,
  type GenuineReceipt,
  type HeartCentre,
} from "../data/index.ts";
import type {
  DemoPlan,
  PlannedColumn,
  PlannedOutcome,
  PlannedReport,
  PlannedScope,
  PlannedTask,
} from "../network/plan.ts";
import { accuraciesOfModel, accuraciesWithoutNoise } from "./accuracy.ts";
import { feature, parseTask, rawFeature, receiptsScope } from "./generated.ts";

const MICRO = 1_000_000;
const TRAIN_EPSILON_MICRO = 8 * MICRO;
/** Genuine receipts that one Vault holds; one of them is read. */
const RECEIPTS = 3;
/** Four Vaults, the largest with 15 071 clients, share the cores of one machine. */
const PER_VAULT_TIMEOUT_MS = 60_000;

/** What the columns of the hospitals and of the bank may hold: public, from their documentation, and rounded outwards. */
const HEART_RANGES: ReadonlyMap<string, readonly [number, number]> = new Map([
  ["age", [0, 120]],
  ["cp", [1, 4]],
  ["trestbps", [0, 300]],
  ["chol", [0, 1_000]],
  ["restecg", [0, 2]],
  ["thalach", [0, 250]],
  ["oldpeak", [-100, 100]],
]);
const BANK_RANGES: ReadonlyMap<string, readonly [number, number]> = new Map([
  ["age", [0, 120]],
  ["balance", [-100_000, 1_000_000]],
  ["y", [0, 1]],
]);

/**
 * Scaling of the 13 inputs: round numbers from general medical knowledge, not from these records. Measured inputs
 * are named, the others are indicators.
 */
const HEART_SCALING: ReadonlyMap<
  string,
  readonly [mean: number, scale: number, range: [number, number]]
> = new Map([
  ["age", [54, 10, [20, 90]]],
  ["trestbps", [130, 20, [80, 220]]],
  ["chol", [220, 100, [0, 600]]],
  ["thalach", [140, 25, [60, 210]]],
  ["oldpeak", [1, 1, [-3, 7]]],
]);

const RESPONSE_FEATURES: readonly Feature[] = [
  feature("age", 41, 12, [18, 100]),
  feature("balance", 1_400, 3_000, [-10_000, 110_000]),
];
/** Weights of the bank's registered model: an analyst's guess at who responds. */
const RESPONSE_WEIGHTS = new Float32Array([0.35, 0.9, -0.3]);

function patientsScope(): PlannedScope {
  return {
    scope: "patients",
    domain: "health",
    columns: HEART_COLUMNS.map((name): PlannedColumn => {
      if (name === "patient_id") return identifying(name);
      return numeric(name, HEART_RANGES.get(name) ?? [0, 1], name === "oldpeak" ? 1 : 0);
    }),
    subject: "patient_id",
    link: null,
  };
}

function clientsScope(): PlannedScope {
  return {
    scope: "clients",
    domain: "banking",
    columns: BANK_COLUMNS.map((name): PlannedColumn => {
      if (name === "customer_id" || name === "email") return identifying(name);
      const range = BANK_RANGES.get(name);
      if (range !== undefined) return numeric(name, range, 0);
      return { name, type: "text", scale: 0, range: null, queryable: true };
    }),
    subject: "email",
    link: "email",
  };
}

function identifying(name: string): PlannedColumn {
  return { name, type: "text", scale: 0, range: null, queryable: false };
}

function numeric(
  name: string,
  [min, max]: readonly [number, number],
  scale: number,
): PlannedColumn {
  const type = scale === 0 ? "integer" : "decimal";
  return { name, type, scale, range: { min, max }, queryable: true };
}

function heartFeatures(): Feature[] {
  return HEART_FEATURES.map((name) => {
    const [mean, scale, range] = HEART_SCALING.get(name) ?? [0.5, 0.5, [0, 1]];
    return feature(name, mean, scale, range);
  });
}

/** What the hospitals train, but for the digest of the step graph. */
export function heartParameters(modelDigest: Uint8Array): TrainParameters {
  return {
    task_class: "train",
    model_digest: modelDigest,
    features: heartFeatures(),
    label: { attribute: "disease", positive: 1 },
    rounds: 5,
    groups: 128,
    local_steps: 4,
    batch_size: 2,
    learning_rate_micro: 200_000,
    clip_norm_micro: 300_000,
    fraction_bits: 16,
    convergence_threshold_micro: null,
  };
}

/**
 * The demo on genuine public data: four hospitals as Vaults, the first three of which also hold a third each of a
 * bank's clients, and the first some scanned receipts.
 *
 * @param folder - Holds `heart-disease`, `bank-marketing` and `sroie-mini`, itself or in its folder `data`.
 * @throws {@link UsageError} when one of the three is missing
 * @throws {@link MalformedError} when one is not what its documentation says
 */
export function genuinePlan(folder: string): DemoPlan {
  const missing = missingGenuineSets(folder);
  if (missing.length > 0) {
    throw new UsageError(
      `--data: expected the genuine sets in ${folder}, but found no ${missing.join(", no ")}`,
    );
  }
  const hospitals = readHeartCentres(folder);
  const banks = readBankVaults(folder);
  const receipts = readSroieReceipts(folder).slice(0, RECEIPTS);
  const hospitalIds = hospitals.map(({ vaultName }) => vaultName);
  return {
    network: "demo-genuine",
    scopes: [patientsScope(), clientsScope(), receiptsScope()],
    vaults: hospitals.map((hospital, index) =>
      vaultOf(hospital, banks[index], index === 0 ? receipts : []),
    ),
    models: [
      {
        name: "response-score",
        kind: "model",
        bytes: buildLogisticModel({
          weights: RESPONSE_WEIGHTS,
          features: RESPONSE_FEATURES,
        }),
      },
      {
        name: "heart-step",
        kind: "step_graph",
        bytes: buildLogisticStepGraph({ features: HEART_FEATURES.length }),
      },
    ],
    tasks: [
      parseTask(hospitalIds[0] ?? ""),
      ...clientTasks(hospitalIds.slice(0, banks.length).toSorted()),
      trainTask(hospitalIds.toSorted()),
    ],
    policy: (policy) => ({
      ...policy,
      multi_vault: { ...policy.multi_vault, per_vault_timeout_ms: PER_VAULT_TIMEOUT_MS },
    }),
    report: (outcomes) => reportOf(outcomes, { hospitals, receipts }),
  };
}

function vaultOf(
  hospital: HeartCentre,
  bank: CompanyData | undefined,
  receipts: readonly GenuineReceipt[],
): DemoPlan["vaults"][number] {
  const patients = { scope: "patients", csv: hospital.csv };
  return {
    vaultId: hospital.vaultName,
    tables: bank === undefined ? [patients] : [patients, { scope: "clients", csv: bank.csv }],
    documents: receipts.map(({ id, imagePath }) => ({
      scope: "receipts",
      subject: `shopper-${id}@example.org`,
      name: `${id}.jpg`,
      image: new Uint8Array(readFileSync(imagePath)),
    })),
  };
}

function clientTasks(vaultIds: readonly string[]): PlannedTask[] {
  return [
    {
      title:
        "count clients of 30 to 49 with a balance of 1 000 and more who are reached by mobile phone",
      taskClass: "query",
      scope: "clients",
      usageScope: "marketing",
      vaultIds,
      epsilonMicro: MICRO,
      parameters: () => ({
        task_class: "query",
        predicate: {
          operator: "AND",
          operands: [
            { attribute: "age", op: "range", min: 30, max: 50 },
            { attribute: "balance", op: "range", min: 1_000, max: 1_000_001 },
            { attribute: "contact", op: "eq", value: "cellular" },
          ],
        },
        audience_cap: 50_000,
      }),
    },
    {
      title: "score every client with a registered model",
      taskClass: "compute",
      scope: "clients",
      usageScope: "analytics",
      vaultIds,
      epsilonMicro: MICRO,
      parameters: ({ model }) => ({
        task_class: "compute",
        model_digest: model("response-score"),
        features: RESPONSE_FEATURES.map(rawFeature),
        bin_edges_micro: [0, 300_000, 400_000, 500_000, 600_000, 1_000_001],
        work_units_max: 10_000_000,
      }),
    },
  ];
}

function trainTask(vaultIds: readonly string[]): PlannedTask {
  return {
    title: "train a heart disease model over four hospitals",
    taskClass: "train",
    scope: "patients",
    usageScope: "training",
    vaultIds,
    epsilonMicro: TRAIN_EPSILON_MICRO,
    parameters: ({ model }) => heartParameters(model("heart-step")),
  };
}

/** Published mean accuracies over the four centres on this split (FLamby): federated averaging, and all rows pooled. */
const PUBLISHED = { fed_avg: 0.685, pooled: 0.735 } as const;

/** The results next to what anybody can compute from the public files or read in them. */
async function reportOf(
  outcomes: readonly PlannedOutcome[],
  {
    hospitals,
    receipts,
  }: { readonly hospitals: readonly HeartCentre[]; readonly receipts: readonly GenuineReceipt[] },
): Promise<PlannedReport> {
  const task = { parameters: heartParameters(new Uint8Array(32)), subject: "patient_id" };
  const noiseless = await accuraciesWithoutNoise(hospitals, task);
  const model = outcomes.flatMap(({ result }) =>
    result?.result.kind === "model" ? [result.result.model] : [],
  )[0];
  const noised = model === undefined ? null : await accuraciesOfModel(model, hospitals, task);
  const names = hospitals.map(({ vaultName }) => vaultName.replace(/^hospital-/, ""));
  const shown = (values: readonly number[]): string => {
    const each = names.map((name, at) => `${name} ${(values[at] ?? 0).toFixed(3)}`);
    return `mean ${mean(values).toFixed(3)} (${each.join(", ")})`;
  };
  const epsilon = TRAIN_EPSILON_MICRO / MICRO;
  const [receipt] = receipts;
  const accuracy = {
    centres: names,
    without_noise: summary(noiseless),
    delivered: noised === null ? null : { ...summary(noised), epsilon_micro: TRAIN_EPSILON_MICRO },
    published: PUBLISHED,
  };
  return {
    lines: [
      "\nAccuracy on the hospitals' published held-out patients",
      `  without noise, in the open    ${shown(noiseless)}`,
      `  delivered, epsilon ${epsilon} charged  ${noised === null ? "no model was delivered" : shown(noised)}`,
      `  published                     FedAvg ${PUBLISHED.fed_avg}, pooled ${PUBLISHED.pooled}`,
      `The receipt's published key says: ${keyLine(receipt)}`,
    ],
    facts: { accuracy, receipt_key: receipt === undefined ? null : keyLine(receipt) },
  };
}

function keyLine(receipt: GenuineReceipt | undefined): string {
  if (receipt === undefined) return "no receipts were found";
  return `${receipt.company}, ${receipt.date}, ${(receipt.total / 100).toFixed(2)}`;
}

function summary(values: readonly number[]) {
  return { mean: mean(values), by_centre: [...values] };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
