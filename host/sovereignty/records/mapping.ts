import { MalformedError, digestOf, equalBytes, type KeptType } from "#protocol";

import {
  IDENTITY_MAPPING,
  type AttributeRule,
  type ColumnRule,
  type IngestMapping,
} from "./mapping-file.ts";
import { columnMalformed, type BoundMapping, type RowMapping } from "./row-mapping.ts";
import type { Cell } from "./source.ts";

/** The source's columns that `mapping` reads for `attributes`, each once. */
export function sourceColumns(mapping: IngestMapping, attributes: readonly string[]): string[] {
  const rules = new Map(Object.entries(mapping.attributes));
  const columns = attributes.map((name) => rules.get(name) ?? ownColumn(name)).map(columnOf);
  return [...new Set(columns)].filter((column) => column !== undefined);
}

const NAME = "ingest-mapping";

/** Whether `mapping` is the one that changes nothing. */
export function saysNothing(mapping: IngestMapping): boolean {
  return equalBytes(digestOf(NAME, mapping), digestOf(NAME, IDENTITY_MAPPING));
}

/** A mapping file as an ingest takes it. Two that mean the same for a format have the same digest. */
export function rowMappingOf(mapping: IngestMapping, format: "csv" | "jsonl"): RowMapping {
  const { keep, ...rest } = mapping;
  const said = { ...rest, ignore: mapping.ignore.toSorted() };
  const kept = Object.keys(keep).length === 0 ? {} : { keep };
  const digest = digestOf(NAME, { format, mapping: { ...said, ...kept } });
  return {
    digest: format === "csv" && saysNothing(mapping) ? null : digest,
    rules: mapping,
    bind: (columns, attributes) => bind(mapping, columns, attributes),
  };
}

/** A column of a source that no attribute takes and whose values the Vault keeps. */
export interface KeptColumn {
  readonly column: string;
  /** What the column is called in batches, and outside of the Vault. */
  readonly localId: string;
  readonly type: KeptType;
  readonly scale: number;
}

/**
 * The mapping that takes kept columns under their local names.
 *
 * @param attributes - Those of the record scope.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED for a column that an attribute takes too
 */
export function keepingMapping(
  mapping: IngestMapping,
  kept: readonly KeptColumn[],
  attributes: readonly string[],
): IngestMapping {
  const taken = sourceColumns(mapping, attributes);
  const both = kept.find(({ column }) => taken.includes(column));
  if (both !== undefined) throw malformed(both.column, "a column to be read or kept, not both");
  const own = kept.map(({ localId, column }) => [localId, ownColumn(column)] as const);
  const rules = { ...mapping.attributes, ...Object.fromEntries(own) };
  return { ...mapping, attributes: rules, keep: {} };
}

/**
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED for an attribute that the scope does not have and for a column
 * both read and ignored; SCHEMA_UNKNOWN_COLUMN with `column` and `problem`.
 */
function bind(
  mapping: IngestMapping,
  columns: readonly string[],
  attributes: readonly string[],
): BoundMapping {
  const rules = new Map(Object.entries(mapping.attributes));
  for (const name of rules.keys()) {
    if (!attributes.includes(name)) throw malformed(name, "an attribute of the record scope");
  }
  const named = columns.map((column) => column.normalize("NFC"));
  requireColumns(mapping, named, sourceColumns(mapping, attributes));
  const used = attributes.map((name) => rules.get(name) ?? ownColumn(name));
  const makers = used.map((rule) => cellMaker(rule, named, mapping.trim));
  const asTheyAre = used.every((rule) => "column" in rule && takesAll(rule, mapping.trim));
  return {
    names: used.map((rule, index) => columnOf(rule) ?? attributes[index] ?? ""),
    apply: (cells, line) => makers.map((make) => make(cells, line)),
    places: asTheyAre ? Int32Array.from(used, (rule) => named.indexOf(columnOf(rule) ?? "")) : null,
  };
}

function requireColumns(
  { ignore }: IngestMapping,
  columns: readonly string[],
  read: readonly string[],
): void {
  const both = read.find((column) => ignore.includes(column));
  if (both !== undefined) throw malformed(both, "a column to be read or ignored, not both");
  for (const [index, column] of columns.entries()) {
    if (columns.indexOf(column) !== index) throw columnMalformed(column, "repeated");
    if (!read.includes(column) && !ignore.includes(column))
      throw columnMalformed(column, "unknown");
  }
  const missing = read.find((column) => !columns.includes(column));
  if (missing !== undefined) throw columnMalformed(missing, "missing");
}

function ownColumn(name: string): AttributeRule {
  return { column: name, values: {}, number: "strict" };
}

function columnOf(rule: AttributeRule): string | undefined {
  return "column" in rule ? rule.column : undefined;
}

type CellMaker = (cells: readonly Cell[], line: number) => Cell;

/** Says how to make one attribute's cell. */
function cellMaker(rule: AttributeRule, columns: readonly string[], trim: boolean): CellMaker {
  if ("constant" in rule) return () => rule.constant;
  if ("line" in rule) return (_cells, line) => `${rule.line}${line}`;
  const index = columns.indexOf(rule.column);
  if (takesAll(rule, trim)) return (cells) => cells[index] ?? null;
  const values = new Map(Object.entries(rule.values));
  const isRelaxed = rule.number === "relaxed";
  return (cells) => {
    const cell = cells[index] ?? null;
    if (typeof cell !== "string") return cell;
    const text = trim ? trimmed(cell) : cell;
    const value = values.size === 0 ? undefined : values.get(text.normalize("NFC"));
    if (value !== undefined) return value;
    return isRelaxed ? canonicalNumber(text) : text;
  };
}

/** Whether cells are taken as they are. */
function takesAll({ values, number }: ColumnRule, trim: boolean): boolean {
  return !trim && number === "strict" && Object.keys(values).length === 0;
}

function trimmed(cell: string): string {
  let from = 0;
  while (isBlank(cell[from])) from += 1;
  let to = cell.length;
  while (to > from && isBlank(cell[to - 1])) to -= 1;
  return cell.slice(from, to);
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t";
}

const NUMBER = /^([+-]?)([0-9]*)(?:\.([0-9]*))?$/;

/** The number in canonical form; a text that is none, as it is, for the attribute's own parser to refuse. */
function canonicalNumber(text: string): string {
  const [, sign = "", whole = "", fraction = ""] = NUMBER.exec(text) ?? [];
  if (whole === "" && fraction === "") return text;
  const digits = whole.replace(/^0+(?=.)/, "") || "0";
  let kept = fraction.length;
  while (fraction[kept - 1] === "0") kept -= 1;
  const decimals = fraction.slice(0, kept);
  return `${sign === "-" ? "-" : ""}${digits}${decimals === "" ? "" : `.${decimals}`}`;
}

function malformed(name: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "mapping", name: name.slice(0, 64) },
    `mapping ${name.slice(0, 64)}: expected ${expected}`,
  );
}
