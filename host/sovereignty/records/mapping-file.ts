import { LimitError, MalformedError, identifier, keptTypeSchema, parseWith } from "#protocol";
import { z } from "zod";

import { CSV_CELLS_MAX } from "./csv-careful.ts";

/** The largest mapping file. */
export const MAPPING_BYTES_MAX = 256 * 1024;
const NAME_MAX = 1024;
const TEXT_MAX = 1024;
const VALUES_MAX = 1024;
/** Columns of a record scope that a Vault keeps for itself, and code points of their names: the pool takes no longer ones. */
export const KEPT_COLUMNS_MAX = 32;
const KEPT_NAME_POINTS_MAX = 64;

/** Columns and values are compared in NFC, whatever form the source has them in. */
const nfc = z.string().refine((text) => text.isWellFormed() && text.normalize("NFC") === text, {
  error: "expected well-formed text in normalization form NFC",
});
const columnName = nfc.min(1).max(NAME_MAX);
const cellText = nfc.max(TEXT_MAX);

const fromColumn = z.strictObject({
  column: columnName,
  /** What stands for another text, or for no value. Compared after `trim`. */
  values: z
    .record(cellText, cellText.nullable())
    .refine((values) => Object.keys(values).length <= VALUES_MAX, {
      error: `expected at most ${VALUES_MAX} values`,
    })
    .default({}),
  /** `relaxed` takes `+7`, `.7`, `007` and `7.0` for the same numbers in canonical form; digits are never lost. */
  number: z.enum(["strict", "relaxed"]).default("strict"),
});
const fromConstant = z.strictObject({ constant: cellText });
const fromLine = z.strictObject({ line: nfc.max(64) });

const keptName = columnName.refine((name) => Array.from(name).length <= KEPT_NAME_POINTS_MAX, {
  error: `expected at most ${KEPT_NAME_POINTS_MAX} characters`,
});
const keptRule = z
  .strictObject({ type: keptTypeSchema, scale: z.int().min(0).max(9).default(0) })
  .refine(({ type, scale }) => type === "decimal" || scale === 0, {
    error: "expected scale 0 but for decimals",
  });

const mappingSchema = z.strictObject({
  csv: z
    .strictObject({
      separator: z.enum([",", ";", "\t"]).default(","),
      /** Names of the columns of a file without a header line; null when its first line names them. */
      columns: z.array(columnName).min(1).max(CSV_CELLS_MAX).nullable().default(null),
      blank_lines: z.enum(["refuse", "skip"]).default("refuse"),
    })
    .default({ separator: ",", columns: null, blank_lines: "refuse" }),
  /** Whether spaces and tabs around a cell are no part of it. */
  trim: z.boolean().default(false),
  /** By attribute. One that is not here comes from the column of its own name. */
  attributes: z.record(identifier, z.union([fromColumn, fromConstant, fromLine])).default({}),
  /** Columns that the source has and no attribute takes. */
  ignore: z.array(columnName).max(CSV_CELLS_MAX).default([]),
  /** Columns that no attribute takes either, whose values the Vault keeps for itself, by name. */
  keep: z
    .record(keptName, keptRule)
    .refine((keep) => Object.keys(keep).length <= KEPT_COLUMNS_MAX, {
      error: `expected at most ${KEPT_COLUMNS_MAX} columns`,
    })
    .default({}),
});

/**
 * How the columns of a source become the attributes of a record scope.
 *
 * An attribute comes from a column, is the same `constant` in every record, or is `line`: that text and the row's line
 * in the source, for sources that name nobody.
 */
export type IngestMapping = z.infer<typeof mappingSchema>;
/** How one attribute comes about. */
export type AttributeRule = IngestMapping["attributes"][string];
/** How one attribute comes from a column. */
export type ColumnRule = z.infer<typeof fromColumn>;

/** Every attribute from the column of its own name, in comma-separated text with a header line. */
export const IDENTITY_MAPPING: IngestMapping = mappingSchema.parse({});

/**
 * Parses a mapping file.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED naming the field; {@link LimitError} SCHEMA_TOO_LARGE above
 * {@link MAPPING_BYTES_MAX}.
 */
export function parseMapping(bytes: Uint8Array): IngestMapping {
  if (bytes.length > MAPPING_BYTES_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes: bytes.length, max: MAPPING_BYTES_MAX },
      `mapping: expected at most ${MAPPING_BYTES_MAX} bytes, got ${bytes.length}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", field: "mapping" },
      "mapping: expected JSON in UTF-8, got other bytes",
      { cause },
    );
  }
  return parseWith(mappingSchema, value, "mapping", "SCHEMA_CONFIG_MALFORMED");
}
