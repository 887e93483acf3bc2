import { MalformedError, digestOfBytes, utf8, type AttributeValue, type Feature } from "#protocol";

/** One value per row; `null` is absent. */
export type Column = readonly (number | string | null)[];

/** Columns of one Vault by attribute; all have one length. */
export type Columns = ReadonlyMap<string, Column>;

/** Model inputs of one Vault, rows in the order of the columns. */
export interface FeatureMatrix {
  /** Row-major, `rows.length` times the number of features; every value finite. */
  readonly features: Float32Array;
  /** 0 or 1 per row. */
  readonly labels: Float32Array;
  /** For each kept row, its index in the columns. */
  readonly rows: Int32Array;
}

function column(columns: Columns, attribute: string): Column {
  const values = columns.get(attribute);
  if (values !== undefined) return values;
  throw new MalformedError(
    { code: "EXECUTION_INPUT_MISMATCH", attribute },
    `columns: expected attribute ${attribute}, got none`,
  );
}

/** The model input that one value gives; an absent or unreadable value counts as the public mean. */
function featureValue(feature: Feature, value: number | string | null): number {
  if (typeof value !== "number" || Number.isNaN(value)) return 0;
  const held = Math.min(Math.max(value, feature.min_micro / 1e6), feature.max_micro / 1e6);
  return (held - feature.mean_micro / 1e6) / (feature.scale_micro / 1e6);
}

/** The input of one feature for one row, finite in float32. */
function inputAt(feature: Feature, values: Column, row: number): number {
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
  features: readonly Feature[],
  rows: Int32Array,
): Float32Array {
  const matrix = new Float32Array(rows.length * features.length);
  for (const [at, feature] of features.entries()) {
    const values = column(columns, feature.attribute);
    if (rows.some((row) => row >= values.length)) throw unequalLengths();
    rows.forEach((row, i) => {
      matrix[i * features.length + at] = inputAt(feature, values, row);
    });
  }
  return matrix;
}

/**
 * Turns columns into the inputs and labels of training; a row without a label is left out.
 *
 * @param labels - One value per row in the unit of `positive`: a number is labelled 1 when it equals `positive` and 0
 *   when not, anything else is no label.
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH as {@link featureRows}
 */
export function featureMatrix(
  columns: Columns,
  {
    features,
    labels,
    positive,
  }: {
    readonly features: readonly Feature[];
    readonly labels: readonly AttributeValue[];
    readonly positive: number;
  },
): FeatureMatrix {
  for (const { attribute } of features) {
    if (column(columns, attribute).length !== labels.length) throw unequalLengths();
  }
  const labelled = labels.flatMap((value, row) => (typeof value === "number" ? [row] : []));
  const rows = Int32Array.from(labelled);
  return {
    features: featureRows(columns, features, rows),
    labels: Float32Array.from(rows, (row) => (labels[row] === positive ? 1 : 0)),
    rows,
  };
}

function unequalLengths(): MalformedError {
  return new MalformedError(
    { code: "EXECUTION_INPUT_MISMATCH" },
    "columns: expected one value per row in each, got different lengths",
  );
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
