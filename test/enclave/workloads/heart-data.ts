import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { z } from "zod";

import type { Columns } from "../../../enclave/workloads/train/features.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SHARED = resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared");
const FOLDER = join(SHARED, "data/heart-disease");

/** The four hospitals of the published federated split. */
export const CENTRES = ["cleveland", "hungarian", "switzerland", "va"] as const;

/** Whether the data can be read; tests skip without it. */
export const heartDataPresent = existsSync(join(FOLDER, "flamby_split.json"));

/** Attribute names in the order of the first ten columns, as heart-disease.names lists them. */
const ATTRIBUTES = [
  "age",
  "sex",
  "cp",
  "trestbps",
  "chol",
  "fbs",
  "restecg",
  "thalach",
  "exang",
  "oldpeak",
] as const;

const splitSchema = z.object({
  centers: z.record(z.enum(CENTRES), z.object({ train: z.array(z.int()), test: z.array(z.int()) })),
});

/** One hospital's rows as columns, split as published; `subjects` names each row's patient. */
export interface CentreData {
  readonly train: Columns;
  readonly test: Columns;
  readonly subjects: readonly string[];
}

function columnsOf(lines: readonly string[], rows: readonly number[]): Columns {
  const cells = rows.map((row) => (lines[row] ?? "").split(","));
  const at = (index: number): (number | null)[] =>
    cells.map((row) => (row[index] === "?" ? null : Number(row[index])));
  const columns = ATTRIBUTES.map((name, i) => [name, at(i)] as const);
  return new Map<string, (number | null)[]>([...columns, ["num", at(13)]]);
}

/** Reads every hospital; call only when {@link heartDataPresent}. */
export function readHeartData(): readonly CentreData[] {
  const split = splitSchema.parse(
    JSON.parse(readFileSync(join(FOLDER, "flamby_split.json"), "utf8")),
  );
  return CENTRES.map((centre) => {
    const text = readFileSync(join(FOLDER, `processed.${centre}.data`), "utf8");
    const lines = text.trim().split("\n");
    const { train, test } = split.centers[centre];
    return {
      train: columnsOf(lines, train),
      test: columnsOf(lines, test),
      subjects: train.map((row) => `${centre}-${row}`),
    };
  });
}

const numeric = (
  attribute: string,
  mean: number,
  scale: number,
  range: readonly [number, number],
) => ({
  attribute,
  mean_micro: mean * 1e6,
  scale_micro: scale * 1e6,
  min_micro: range[0] * 1e6,
  max_micro: range[1] * 1e6,
  equals_micro: null,
});

const indicator = (attribute: string, code: number, codeMax: number) => ({
  attribute,
  mean_micro: 500_000,
  scale_micro: 500_000,
  min_micro: 0,
  max_micro: codeMax * 1e6,
  equals_micro: code * 1e6,
});

/**
 * Public parameters of the heart-disease task. Means and scales are round numbers from general medical
 * knowledge, not from these records; ten attributes give the thirteen features of the published models.
 */
export const HEART_TRAIN_PARAMETERS = {
  features: [
    numeric("age", 54, 10, [20, 90]),
    indicator("sex", 1, 1),
    indicator("cp", 2, 4),
    indicator("cp", 3, 4),
    indicator("cp", 4, 4),
    numeric("trestbps", 130, 20, [80, 220]),
    numeric("chol", 220, 100, [0, 600]),
    indicator("fbs", 1, 1),
    indicator("restecg", 1, 2),
    indicator("restecg", 2, 2),
    numeric("thalach", 140, 25, [60, 210]),
    indicator("exang", 1, 1),
    numeric("oldpeak", 1, 1, [-3, 7]),
  ],
  label: { attribute: "num", positive: { kind: "at_least", micro: 1_000_000 } },
  rounds: 5,
  groups: 128,
  local_steps: 4,
  batch_size: 2,
  learning_rate_micro: 200_000,
  clip_norm_micro: 300_000,
  fraction_bits: 16,
  vaults_per_subject: 4,
  epsilon_micro: 8_000_000,
  delta_pico: 1_000_000,
} as const;
