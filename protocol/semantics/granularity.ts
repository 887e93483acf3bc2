import { z } from "zod";

const DAY_MS = 86_400_000;
const SEGMENTS = { country: 1, region: 2, city: 3, district: 4 } as const;
const TEMPORAL = ["exact", "day", "week", "month", "quarter", "year"] as const;
const SPATIAL = ["exact", "district", "city", "region", "country"] as const;
const CATEGORICAL = ["exact", "group", "binary"] as const;

const increasing = (edges: readonly number[]): boolean =>
  edges.every((edge, index) => index === 0 || edge > (edges[index - 1] ?? edge));

/**
 * How fine a projection is (QG-1). `null` means that the dimension does not apply.
 *
 * `numeric_resolution` has either increasing `boundaries` and width 0, or no boundaries and the width of equal buckets
 * from 0 on; width 1 is exact. All are in scaled integers.
 */
export const queryGranularitySchema = z.strictObject({
  temporal_resolution: z.enum(TEMPORAL).nullable(),
  spatial_resolution: z.enum(SPATIAL).nullable(),
  numeric_resolution: z
    .strictObject({
      boundaries: z
        .array(z.int())
        .max(1024)
        .refine(increasing, { error: "expected increasing boundaries" }),
      width: z.int().min(0),
    })
    .refine(({ boundaries, width }) => (boundaries.length === 0) === width > 0, {
      error: "expected either boundaries and width 0, or a width",
    })
    .nullable(),
  categorical_resolution: z.enum(CATEGORICAL).nullable(),
});

export type QueryGranularity = z.infer<typeof queryGranularitySchema>;

/** A value that a projection takes or gives; null is absent. */
export type ProjectedValue = number | string | null;

/** The kind of values that a granularity is about. */
export type ValueType = "integer" | "decimal" | "text" | "bytes";

type Dimension = "temporal" | "spatial" | "numeric" | "categorical";

/** The dimensions that apply; a granularity that can be used has exactly one. */
function dimensionsOf(granularity: QueryGranularity): readonly Dimension[] {
  const set = {
    temporal: granularity.temporal_resolution,
    spatial: granularity.spatial_resolution,
    numeric: granularity.numeric_resolution,
    categorical: granularity.categorical_resolution,
  };
  const all = ["temporal", "spatial", "numeric", "categorical"] as const;
  return all.filter((dimension) => set[dimension] !== null);
}

/** Whether exactly one dimension is set, and one that values of `type` have. */
export function isApplicable(granularity: QueryGranularity, type: ValueType): boolean {
  const [dimension, ...others] = dimensionsOf(granularity);
  if (dimension === undefined || others.length > 0) return false;
  switch (type) {
    case "integer":
      // A number is a category where it is 0 or 1.
      if (dimension === "categorical") return granularity.categorical_resolution === "binary";
      return dimension !== "spatial";
    case "decimal":
      return dimension === "numeric";
    case "text":
      return dimension !== "numeric" && granularity.categorical_resolution !== "binary";
    case "bytes":
      return false;
  }
}

/**
 * The value at a granularity (QG-2): equal value and granularity give an equal result, and twice is once.
 *
 * A number becomes the lower edge of its bucket, held to the first boundary. A point in time becomes the first day of
 * its week (Monday), month, quarter or year: milliseconds for a number, `YYYY-MM-DD` for ISO 8601 text; other text is
 * absent. A place is text of up to five segments, `country/region/city/district/rest`, and loses the finest ones.
 * Categories stay: a rule has grouped them, see `bucket` and `boolean`.
 */
export function coarsen(value: ProjectedValue, granularity: QueryGranularity): ProjectedValue {
  const { temporal_resolution: temporal, spatial_resolution: spatial } = granularity;
  const { numeric_resolution: numeric } = granularity;
  if (value === null) return null;
  if (temporal !== null) return coarsenTime(value, temporal);
  if (typeof value === "number") return numeric === null ? value : coarsenNumber(value, numeric);
  if (spatial === null || spatial === "exact") return value;
  return value.split("/", SEGMENTS[spatial]).join("/");
}

/** Whether `value` is one that {@link coarsen} gives. */
export function isAtGranularity(value: number | string, granularity: QueryGranularity): boolean {
  return coarsen(value, granularity) === value;
}

/**
 * Whether `a` says strictly more than `b`: both are about the same dimension, and what `b` tells apart, `a` does too.
 *
 * Numeric buckets are compared by their edges.
 */
export function isFiner(a: QueryGranularity, b: QueryGranularity): boolean {
  const [dimension] = dimensionsOf(a);
  if (dimension === undefined || dimensionsOf(b)[0] !== dimension) return false;
  switch (dimension) {
    case "temporal":
      return isFinerTime(a.temporal_resolution, b.temporal_resolution);
    case "spatial":
      return rank(SPATIAL, a.spatial_resolution) < rank(SPATIAL, b.spatial_resolution);
    case "categorical":
      return (
        rank(CATEGORICAL, a.categorical_resolution) < rank(CATEGORICAL, b.categorical_resolution)
      );
    case "numeric":
      return isFinerNumber(a.numeric_resolution, b.numeric_resolution);
  }
}

type Temporal = QueryGranularity["temporal_resolution"];
type Numeric = QueryGranularity["numeric_resolution"];

/** Weeks cross the borders of months: neither tells the other. */
function isFinerTime(a: Temporal, b: Temporal): boolean {
  if (a === "week" && b !== null) return false;
  return rank(TEMPORAL, a) < rank(TEMPORAL, b);
}

function isFinerNumber(a: Numeric, b: Numeric): boolean {
  if (a === null || b === null) return false;
  if (a.width > 0 && b.width > 0) return a.width < b.width && b.width % a.width === 0;
  if (a.width > 0) return b.boundaries.every((edge) => edge % a.width === 0);
  if (b.width > 0 || a.boundaries.length <= b.boundaries.length) return false;
  const edges = new Set(a.boundaries);
  return b.boundaries.every((edge) => edges.has(edge));
}

function rank<T>(order: readonly T[], value: T | null): number {
  return value === null ? -1 : order.indexOf(value);
}

function coarsenNumber(value: number, numeric: NonNullable<Numeric>): number {
  const { boundaries, width } = numeric;
  if (width > 0) return floorTo(value, width);
  return boundaries.findLast((edge) => edge <= value) ?? boundaries[0] ?? value;
}

function coarsenTime(value: number | string, resolution: NonNullable<Temporal>): ProjectedValue {
  if (typeof value === "number") {
    if (resolution === "exact") return value;
    return startOf(floorTo(value, DAY_MS) / DAY_MS, resolution) * DAY_MS;
  }
  const day = dayOfText(value);
  if (day === null || resolution === "exact") return day === null ? null : value;
  return textOfDay(startOf(day, resolution));
}

/** The first day of the period that holds `day`; days since 1 January 1970, which was a Thursday. */
function startOf(day: number, resolution: "day" | "week" | "month" | "quarter" | "year"): number {
  const { year, month } = civilOf(day);
  switch (resolution) {
    case "day":
      return day;
    case "week":
      return floorTo(day + 3, 7) - 3;
    case "month":
      return dayOf(year, month, 1);
    case "quarter":
      return dayOf(year, floorTo(month - 1, 3) + 1, 1);
    case "year":
      return dayOf(year, 1, 1);
  }
}

/** Days since 1970 of the ISO 8601 date that `text` begins with; null when it begins with none. */
function dayOfText(text: string): number | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})(?:[T ]|$)/.exec(text);
  if (match === null) return null;
  const [year, month, date] = match.slice(1).map(Number);
  if (year === undefined || month === undefined || date === undefined) return null;
  if (month < 1 || month > 12 || date < 1 || date > 31) return null;
  const day = dayOf(year, month, date);
  return civilOf(day).date === date ? day : null;
}

function textOfDay(day: number): string {
  const { year, month, date } = civilOf(day);
  const two = (part: number): string => String(part).padStart(2, "0");
  return `${String(year).padStart(4, "0")}-${two(month)}-${two(date)}`;
}

/** Proleptic Gregorian calendar, in 400-year eras that begin in March. Howard Hinnant, chrono-compatible algorithms. */
function dayOf(year: number, month: number, date: number): number {
  const fromMarch = month <= 2 ? year - 1 : year;
  const era = Math.floor(fromMarch / 400);
  const yearOfEra = fromMarch - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + date - 1;
  const leaps = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * 146_097 + yearOfEra * 365 + leaps + dayOfYear - 719_468;
}

/** The inverse of {@link dayOf}. */
function civilOf(day: number): {
  readonly year: number;
  readonly month: number;
  readonly date: number;
} {
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leaps = Math.floor(dayOfEra / 1_460) - Math.floor(dayOfEra / 36_524);
  const yearOfEra = Math.floor((dayOfEra - leaps + Math.floor(dayOfEra / 146_096)) / 365);
  const untilYear = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  const dayOfYear = dayOfEra - untilYear;
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return { year, month, date: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1 };
}

/** The largest multiple of `width` that is not above `value`; exact for all safe integers. */
function floorTo(value: number, width: number): number {
  const rest = value % width;
  // Minus zero is another value than zero to canonical bytes.
  return value - (rest < 0 ? rest + width : rest) + 0;
}
