import { MalformedError } from "#protocol";

import type { IngestMapping } from "./mapping-file.ts";
import type { Cell } from "./source.ts";

/** A mapping made ready for the columns of one source and the attributes of one record scope. */
export interface BoundMapping {
  /** For each attribute, what a row's fault calls its cell. */
  readonly names: readonly string[];
  /** The cells of a record in the order of the attributes, from those of a row and its line. Pure. */
  readonly apply: (cells: readonly Cell[], line: number) => readonly Cell[];
  /** For each attribute the place of the cell that it is, as it is; null when some are made from cells. */
  readonly places: Int32Array | null;
}

/** Which columns of a source become which canonical attributes, and how. */
export interface RowMapping {
  /**
   * Tells apart all that makes other records of the same bytes: format, separators, columns, translations. Null when
   * there is nothing to tell: comma-separated values under the attributes' own names.
   */
  readonly digest: Uint8Array | null;
  /** Plain data from which another thread makes it again, see `rowMappingOf`; null for what is not made from such. */
  readonly rules: IngestMapping | null;
  /** @throws {@link MalformedError} SCHEMA_UNKNOWN_COLUMN with `column` and `problem` */
  bind(columns: readonly string[], attributes: readonly string[]): BoundMapping;
}

/** Takes columns that are named as the attributes are: each once, in any order, and no other. */
export const IDENTITY_ROWS: RowMapping = {
  digest: null,
  rules: null,
  bind: (columns, attributes) => {
    for (const [index, name] of columns.entries()) {
      if (!attributes.includes(name)) throw columnMalformed(name, "unknown");
      if (columns.indexOf(name) !== index) throw columnMalformed(name, "repeated");
    }
    const places = attributes.map((name) => {
      const place = columns.indexOf(name);
      if (place === -1) throw columnMalformed(name, "missing");
      return place;
    });
    const same = places.every((place, index) => place === index);
    return {
      names: attributes,
      places: Int32Array.from(places),
      apply: (cells) => (same ? cells : places.map((place) => cells[place] ?? null)),
    };
  },
};

/** The error of a source whose columns are not those that a mapping expects. */
export function columnMalformed(
  column: string,
  problem: "unknown" | "missing" | "repeated",
): MalformedError {
  const name = column.slice(0, 64);
  return new MalformedError(
    { code: "SCHEMA_UNKNOWN_COLUMN", column: name, problem },
    `column ${name}: expected each attribute of the record scope once, got ${problem}`,
  );
}
