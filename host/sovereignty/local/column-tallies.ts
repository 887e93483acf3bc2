import { keptTypeSchema, localTypeSchema, type LocalType } from "#protocol";
import { z } from "zod";

/** Columns that one scope has in its pool, and code points of a name. Others are dropped and counted. */
export const POOL_COLUMNS_MAX = 256;
const NAME_POINTS_MAX = 64;
/** Values of a column in one source that are looked at to tell its type. None is kept. */
const TYPED_MAX = 256;

const count = z.int().min(0);

/** What one source had in one column that maps to no attribute: counts, never a value. */
export const observedColumnSchema = z.strictObject({
  column: z.string(),
  /** Rows that had it. */
  rows: count,
  /** Of the values that were looked at, how many were of each type. */
  types: z.strictObject({ integer: count, decimal: count, date: count, text: count }),
});
export type ObservedColumn = z.infer<typeof observedColumnSchema>;

/** What a source had in columns that nothing takes, and when it came. */
export const observationSchema = z.strictObject({
  epoch_id: z.int().min(0),
  domain_id: z.string(),
  columns: z.array(observedColumnSchema).max(POOL_COLUMNS_MAX),
  /** Columns whose names are too long. */
  dropped: count,
  /** Which of them the Vault keeps. */
  kept: z
    .array(
      z.strictObject({
        ...{ column: z.string(), localId: z.string(), type: keptTypeSchema, scale: z.int() },
      }),
    )
    .default([]),
});
export type Observation = z.infer<typeof observationSchema>;

/** Counts what a source has in some columns. Keeps no value. */
export class ColumnTallies {
  readonly #columns = new Map<string, ObservedColumn>();
  #dropped = 0;

  /** @param columns - Names in NFC. */
  constructor(columns: Iterable<string>) {
    for (const column of columns) {
      const points = Array.from(column.slice(0, 2 * NAME_POINTS_MAX + 1)).length;
      if (points > NAME_POINTS_MAX || this.#columns.size >= POOL_COLUMNS_MAX) this.#dropped += 1;
      else this.#columns.set(column, { column, rows: 0, types: noTypes() });
    }
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Takes note of one row's cell; one without a value is passed over. */
  note(column: string, cell: string | null): void {
    if (cell === null || cell === "") return;
    const tally = this.#columns.get(column);
    if (tally === undefined) return;
    tally.rows += 1;
    if (tally.rows <= TYPED_MAX) tally.types[typeOf(cell)] += 1;
  }

  /** Columns that had a value somewhere, in the order they were named. */
  seen(): ObservedColumn[] {
    return [...this.#columns.values()].filter(({ rows }) => rows > 0);
  }

  /** Every column, with the rows of a source whose every row has it. */
  inEveryRow(rows: number): ObservedColumn[] {
    return [...this.#columns.values()].map((tally) => ({ ...tally, rows }));
  }
}

function noTypes(): ObservedColumn["types"] {
  return { integer: 0, decimal: 0, date: 0, text: 0 };
}

const TYPES = [
  ["integer", /^[+-]?[0-9]{1,18}$/],
  ["decimal", /^[+-]?[0-9]{1,18}[.,][0-9]{1,18}$/],
  ["date", /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{4,16}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?$/],
] as const;

function typeOf(cell: string): LocalType {
  if (cell.length > 64) return "text";
  return TYPES.find(([, pattern]) => pattern.test(cell))?.[0] ?? "text";
}

/** The type that most values had; text when none was looked at, and the plainer one of two that are even. */
export function mostOf(types: ObservedColumn["types"]): LocalType {
  const order = localTypeSchema.options.toReversed();
  return order.reduce((best, type) => (types[type] > types[best] ? type : best), "text");
}
