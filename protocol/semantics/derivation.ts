import type { DerivationRule } from "./derivation-rule.ts";
import { hex } from "../bytes.ts";
import { coarsen, type ProjectedValue, type QueryGranularity } from "./granularity.ts";
import { digestOf } from "../hash.ts";

/** Columns that a projection is computed from: one value for each row, the sources in the order of the rule. */
export interface DerivationInput {
  readonly rows: number;
  readonly sources: readonly (readonly ProjectedValue[])[];
  /** Whose record each row is; `aggregate` combines the records of one subject. */
  readonly subjects: readonly string[];
}

/**
 * Computes one projection of all rows (DR-2, QG-2): the rule's transform, then its granularity. Without a rule it is
 * direct use: the granularity alone. Visits every row, whatever it holds. Exact: integers only, of any size on the way.
 *
 * - `passthrough` gives the value; `hash` the SHA-256 of salt and value, hex.
 * - `bucket` gives a label.
 * - `boolean` and `threshold` give 1 or 0; an absent value is a 0 for the first and absent for the second.
 * - `aggregate` gives every row the figure over all rows of its subject that have a value; averages are rounded down.
 * - `composite` combines the sources of one row, absent where one of them is; `all` and `any` are of numbers that are
 *   not 0, and a ratio to 0 is absent.
 *
 * Numbers are held to the rule's output range. Values that the rule's types do not foresee are absent: nothing that a
 * record says aborts.
 */
export function derive(
  {
    rule,
    granularity,
  }: { readonly rule: DerivationRule | null; readonly granularity: QueryGranularity },
  input: DerivationInput,
): ProjectedValue[] {
  const transformed = rule === null ? column(input, 0) : transform(rule, input);
  return transformed.map((value) => coarsen(value, granularity));
}

function transform(rule: DerivationRule, input: DerivationInput): readonly ProjectedValue[] {
  const each = (of: (value: number | string) => ProjectedValue): ProjectedValue[] =>
    column(input, 0).map((value) => (value === null ? null : held(of(value), rule)));
  switch (rule.transform_type) {
    case "passthrough":
      return each((value) => value);
    case "bucket":
      return each(bucketOf(rule.transform_params));
    case "hash":
      return each((value) => hex(digestOf("derived-value", [rule.transform_params.salt, value])));
    case "boolean": {
      const { test } = rule.transform_params;
      return column(input, 0).map((value) =>
        bit(test === "present" ? value !== null : truth(value)),
      );
    }
    case "threshold": {
      const { comparison, boundary } = rule.transform_params;
      return each((value) => {
        if (typeof value === "string") return null;
        return bit((comparison === "at_least") === value >= boundary);
      });
    }
    case "aggregate":
      return aggregated(rule, input);
    case "composite":
      return Array.from({ length: input.rows }, (_, row) => compositeOf(rule, input, row));
  }
}

function column({ rows, sources }: DerivationInput, index: number): readonly ProjectedValue[] {
  const values = sources[index] ?? [];
  return Array.from({ length: rows }, (_, row) => values[row] ?? null);
}

type Bucket = Extract<DerivationRule, { transform_type: "bucket" }>["transform_params"];

function bucketOf(params: Bucket): (value: number | string) => ProjectedValue {
  if (params.kind === "groups") {
    const labels = new Map(
      params.groups.flatMap(({ label, values }) => values.map((value) => [value, label] as const)),
    );
    return (value) => labels.get(value) ?? params.other;
  }
  const { boundaries, labels } = params;
  return (value) => {
    if (typeof value === "string") return null;
    return labels[boundaries.findLastIndex((edge) => edge <= value) + 1] ?? null;
  };
}

type Aggregate = Extract<DerivationRule, { transform_type: "aggregate" }>;

/** What is known of one subject after some of its rows. */
interface Summary {
  count: bigint;
  sum: bigint;
  minimum: bigint | null;
  maximum: bigint | null;
}

function aggregated(rule: Aggregate, input: DerivationInput): ProjectedValue[] {
  const summaries = new Map<string, Summary>();
  column(input, 0).forEach((value, row) => {
    const subject = input.subjects[row] ?? "";
    const summary = summaries.get(subject) ?? { count: 0n, sum: 0n, minimum: null, maximum: null };
    summaries.set(subject, summary);
    if (value === null) return;
    summary.count += 1n;
    if (typeof value === "string") return;
    const number = BigInt(value);
    summary.sum += number;
    if (summary.minimum === null || number < summary.minimum) summary.minimum = number;
    if (summary.maximum === null || number > summary.maximum) summary.maximum = number;
  });
  const figures = new Map(
    [...summaries].map(([subject, summary]) => [subject, held(figureOf(rule, summary), rule)]),
  );
  return Array.from(
    { length: input.rows },
    (_, row) => figures.get(input.subjects[row] ?? "") ?? null,
  );
}

function figureOf({ transform_params }: Aggregate, summary: Summary): bigint | null {
  const { count, sum, minimum, maximum } = summary;
  switch (transform_params.function) {
    case "count":
      return count;
    case "sum":
      return count === 0n ? null : sum;
    case "average":
      return count === 0n ? null : floorDivide(sum, count);
    case "minimum":
      return minimum;
    case "maximum":
      return maximum;
  }
}

type Composite = Extract<DerivationRule, { transform_type: "composite" }>;

function compositeOf(rule: Composite, { sources }: DerivationInput, row: number): ProjectedValue {
  const values = sources.flatMap((source) => {
    const value = source[row] ?? null;
    return typeof value === "number" ? [BigInt(value)] : [];
  });
  const [first, second] = values;
  if (first === undefined || second === undefined || values.length < sources.length) return null;
  return held(combine(rule, values, { first, second }), rule);
}

function combine(
  { transform_params: { function: name, multiplier } }: Composite,
  values: readonly bigint[],
  { first, second }: { readonly first: bigint; readonly second: bigint },
): bigint | null {
  switch (name) {
    case "sum":
      return values.reduce((sum, value) => sum + value);
    case "product":
      return values.reduce((product, value) => product * value);
    case "difference":
      return first - second;
    case "ratio":
      return second === 0n ? null : floorDivide(first * BigInt(multiplier), second);
    case "minimum":
      return values.reduce((least, value) => (value < least ? value : least));
    case "maximum":
      return values.reduce((most, value) => (value > most ? value : most));
    case "all":
      return values.every((value) => value !== 0n) ? 1n : 0n;
    case "any":
      return values.some((value) => value !== 0n) ? 1n : 0n;
  }
}

/** A number in the rule's output range, whatever came; text and absence as they are. */
function held(
  value: ProjectedValue | bigint,
  { output_range: range }: Pick<DerivationRule, "output_range">,
): ProjectedValue {
  if (value === null || typeof value === "string") return value;
  if (range === null) return null;
  if (value < range.min) return range.min;
  return value > range.max ? range.max : Number(value);
}

function truth(value: ProjectedValue): boolean {
  return value !== null && value !== 0 && value !== "";
}

function bit(on: boolean): number {
  return on ? 1 : 0;
}

function floorDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return quotient * divisor !== dividend && dividend < 0n !== divisor < 0n
    ? quotient - 1n
    : quotient;
}
