import { MalformedError, digestOfBytes, utf8 } from "#protocol";

import type { TrainFeature, TrainLabel } from "./parameters.ts";

/** Columns of one Vault: attribute to one value per row; `null` is absent. */
export type Columns = ReadonlyMap<string, readonly (number | string | null)[]>;

/** Model inputs of one Vault, rows in the order of the columns. */
export interface FeatureMatrix {
  /** Row-major, `rows.length` times the number of features; every value finite. */
  readonly features: Float32Array;
  /** 0 or 1 per row. */
  readonly labels: Float32Array;
  /** For each kept row, its index in the columns. */
  readonly rows: Int32Array;
}

function column(columns: Columns, attribute: string): readonly (number | string | null)[] {
  const values = columns.get(attribute);
  if (values !== undefined) return values;
  throw new MalformedError(
    { code: "EXECUTION_INPUT_MISMATCH", attribute },
    `columns: expected attribute ${attribute}, got none`,
  );
}

/** The model input that one value gives; an absent or unreadable value counts as the public mean. */
function featureValue(feature: TrainFeature, value: number | string | null): number {
  const mean = feature.mean_micro / 1e6;
  const scale = feature.scale_micro / 1e6;
  if (typeof value !== "number" || Number.isNaN(value)) {
    return feature.equals_micro === null ? 0 : -mean / scale;
  }
  const held = Math.min(Math.max(value, feature.min_micro / 1e6), feature.max_micro / 1e6);
  const { equals_micro: equals } = feature;
  const input = equals === null ? held : Number(held === equals / 1e6);
  return (input - mean) / scale;
}

/** 1, 0, or `null` where the row carries no label. */
function labelValue(label: TrainLabel, value: number | string | null): 0 | 1 | null {
  const { positive } = label;
  if (positive.kind === "text") {
    if (typeof value !== "string") return null;
    return value === positive.text ? 1 : 0;
  }
  if (typeof value !== "number" || Number.isNaN(value)) return null;
  return value >= positive.micro / 1e6 ? 1 : 0;
}

/** The input of one feature for one row, finite in float32. */
function inputAt(
  feature: TrainFeature,
  values: readonly (number | string | null)[],
  row: number,
): number {
  const value = Math.fround(featureValue(feature, values[row] ?? null));
  // A scale near zero can push a clamped value beyond float32; it must not poison the weights.
  return Number.isFinite(value) ? value : 0;
}

/**
 * Turns the chosen rows of columns into finite model inputs, row-major.
 *
 * A value out of its declared range is clamped and an absent one counts as the public mean: neither aborts,
 * because an abort would say something about a record.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when an attribute is missing or a column is short
 */
export function featureRows(
  columns: Columns,
  features: readonly TrainFeature[],
  rows: Int32Array,
): Float32Array {
  const matrix = new Float32Array(rows.length * features.length);
  for (const [at, feature] of features.entries()) {
    const values = column(columns, feature.attribute);
    if (rows.some((row) => row >= values.length)) {
      throw new MalformedError(
        { code: "EXECUTION_INPUT_MISMATCH" },
        "columns: expected one value per row in each, got different lengths",
      );
    }
    rows.forEach((row, i) => {
      matrix[i * features.length + at] = inputAt(feature, values, row);
    });
  }
  return matrix;
}

/**
 * Turns columns into the inputs and labels of training; a row without a label is left out.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH as {@link featureRows}
 */
export function featureMatrix(
  columns: Columns,
  { features, label }: { readonly features: readonly TrainFeature[]; readonly label: TrainLabel },
): FeatureMatrix {
  const labels = column(columns, label.attribute).map((value) => labelValue(label, value));
  const rows = Int32Array.from(labels.flatMap((value, row) => (value === null ? [] : [row])));
  return {
    features: featureRows(columns, features, rows),
    labels: Float32Array.from(rows, (row) => labels[row] ?? 0),
    rows,
  };
}

/**
 * The group of each subject, in [0, groups): the first 32 bits of a hash of the identifier, modulo `groups`.
 *
 * It depends on nothing but the identifier, so adding or removing a subject moves nobody else. All rows
 * of one subject fall into one group.
 */
export function subjectGroups(subjectIds: readonly string[], groups: number): Int32Array {
  return Int32Array.from(subjectIds, (id) => {
    const digest = digestOfBytes("train-group", utf8(id));
    return new DataView(digest.buffer, digest.byteOffset).getUint32(0) % groups;
  });
}
