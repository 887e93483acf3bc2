import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import type { Columns } from "../../../enclave/workloads/train/features.ts";

const SHARED = process.env["SYMPHONY_SHARED"] ?? join(import.meta.dirname, "../../../../shared");
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
