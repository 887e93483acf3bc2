import assert from "node:assert";
import { createHash, type KeyObject } from "node:crypto";

import {
  BatchBuilder,
  LimitError,
  MalformedError,
  SALT_BYTES,
  hex,
  sealBuilt,
  type AttributeValue,
  type ColumnWriter,
} from "#protocol";

import { parseAttributeValue, plainNumber } from "./attribute-value.ts";
import type { CellBlock } from "./cell-block.ts";
import type { CsvStretch } from "./csv-cut.ts";
import type { CsvSpelling } from "./csv-rows.ts";
import type { Layout } from "./layout.ts";
import type { IngestMapping } from "./mapping-file.ts";
import { rowMappingOf } from "./mapping.ts";
import { Pseudonyms } from "./pseudonyms.ts";
import { BlockRows, CELL_BYTES, CELL_EMPTY, StretchRows, type RowCells } from "./row-cells.ts";
import type { RowFault } from "./source.ts";

/** What a thread needs to know once. Plain data. */
export interface BuildPlan {
  readonly layout: Layout;
  /** For each column, what a row's fault calls it. */
  readonly names: readonly string[];
  readonly subjectKey: KeyObject;
  /** How to read stretches of CSV; null where there are none. */
  readonly csv: CsvPlan | null;
}

/** See {@link BuildPlan}. */
export interface CsvPlan {
  readonly spelling: CsvSpelling;
  readonly columns: readonly string[];
  readonly mapping: IngestMapping;
}

/** One batch to be built. The arrays are the builder's from then on. */
export interface BuildJob {
  readonly content: CellBlock | CsvStretch;
  /** 16 random bytes for each row. */
  readonly salts: Uint8Array<ArrayBuffer>;
  readonly batchId: Uint8Array;
  readonly dataKey: Uint8Array<ArrayBuffer>;
  readonly createdMs: number;
}

/** A row that was left out, and where. */
export interface RowReport {
  readonly line: number;
  readonly column: string | null;
  readonly expected: string;
}

/** A sealed batch, before it is stored. */
export interface SealedBatch {
  readonly sealed: Uint8Array<ArrayBuffer>;
  readonly fileDigest: Uint8Array;
  readonly root: Uint8Array;
  readonly recordCount: number;
  readonly subjectIds: Uint8Array<ArrayBuffer>;
  readonly commitments: Uint8Array<ArrayBuffer>;
}

/** What came of a job. */
export interface BuildResult {
  /** Null when every row was at fault. */
  readonly batch: SealedBatch | null;
  /** In order of lines. */
  readonly faults: readonly RowReport[];
  /** What ended the reading of the rows after `faults`, if anything did; then there is no batch. */
  readonly failure: BuildFailure | null;
}

/** An error as plain data. */
export interface BuildFailure {
  readonly class: "malformed" | "limit";
  readonly details: MalformedError["details"];
  readonly code: MalformedError["code"];
  readonly message: string;
}

/** Turns rows into sealed batches of canonical records. Pure. */
export class BatchBuild {
  readonly #plan: BuildPlan;
  readonly #pseudonyms: Pseudonyms;
  readonly #builder: BatchBuilder;
  readonly #reader: RowReader;
  readonly #stretches: StretchRows | null;

  constructor(plan: BuildPlan) {
    const { layout, names, csv } = plan;
    this.#plan = plan;
    this.#builder = new BatchBuilder(layout.schema, layout.columns);
    this.#pseudonyms = new Pseudonyms(plan.subjectKey);
    const { columns } = this.#builder;
    this.#reader = new RowReader({ layout, names, columns, pseudonyms: this.#pseudonyms });
    this.#stretches = csv === null ? null : stretchRows(csv, layout);
  }

  build(job: BuildJob): BuildResult {
    const faults: RowReport[] = [];
    try {
      this.#readRows(job, faults);
      return { batch: this.#sealed(job), faults, failure: null };
    } catch (error) {
      if (!(error instanceof MalformedError || error instanceof LimitError)) throw error;
      const { class: kind, code, details, message } = error;
      return { batch: null, faults, failure: { class: kind, code, details, message } };
    } finally {
      this.#builder.clear();
      this.#pseudonyms.forget();
      forget(job);
    }
  }

  #readRows({ content, salts }: BuildJob, faults: RowReport[]): void {
    const rows = this.#open(content);
    const builder = this.#builder;
    const { last } = this.#pseudonyms;
    while (rows.next()) {
      const fault = rows.fault ?? this.#reader.read(rows.cells);
      if (fault === null) {
        const at = builder.count * SALT_BYTES;
        builder.endRecord(last, salts.subarray(at, at + SALT_BYTES));
      } else {
        builder.dropRecord();
        faults.push({ line: rows.line, ...fault });
      }
    }
  }

  #open(content: CellBlock | CsvStretch): BlockRows | StretchRows {
    if (!("bytes" in content)) return new BlockRows(content);
    assert(this.#stretches !== null, "expected a plan for stretches of CSV");
    this.#stretches.open(content);
    return this.#stretches;
  }

  /** Null when every row was at fault. */
  #sealed({ batchId, createdMs, dataKey }: BuildJob): SealedBatch | null {
    if (this.#builder.count === 0) return null;
    const { schema, columns } = this.#plan.layout;
    const built = this.#builder.finish();
    const sealed = sealBuilt({ batchId, schema, columns, createdMs, built, dataKey });
    const { root, recordCount, subjectIds, commitments } = built;
    const fileDigest = new Uint8Array(createHash("sha256").update(sealed).digest());
    return { sealed, fileDigest, root, recordCount, subjectIds, commitments };
  }
}

/** Overwrites what nobody may find in memory that is used again. */
function forget({ content, dataKey }: BuildJob): void {
  ("bytes" in content ? content.bytes : content.contents).fill(0);
  dataKey.fill(0);
}

function stretchRows({ spelling, columns, mapping }: CsvPlan, layout: Layout): StretchRows {
  const names = layout.columns.map(({ name }) => name);
  const bound = rowMappingOf(mapping, "csv").bind(columns, names);
  return new StretchRows({ spelling, columns: columns.length, mapping: bound });
}

interface Reading {
  readonly layout: Layout;
  readonly names: readonly string[];
  readonly columns: readonly ColumnWriter[];
  readonly pseudonyms: Pseudonyms;
}

/** Reads rows, one after the other, into the columns of a batch. */
class RowReader {
  readonly #layout: Layout;
  readonly #names: readonly string[];
  readonly #columns: readonly ColumnWriter[];
  readonly #pseudonyms: Pseudonyms;
  #hasSubject = false;

  constructor({ layout, names, columns, pseudonyms }: Reading) {
    this.#layout = layout;
    this.#names = names;
    this.#columns = columns;
    this.#pseudonyms = pseudonyms;
  }

  /** Writes a row's values to the columns, and whose it is to the pseudonyms; null, or the first thing at fault. */
  read(cells: RowCells): RowFault | null {
    const width = this.#columns.length;
    this.#hasSubject = false;
    for (let index = 0; index < width; index += 1) {
      const expected = this.#cell(index, cells);
      if (expected !== null) return { column: this.#names[index] ?? null, expected };
    }
    if (this.#hasSubject) return null;
    const column = this.#names[this.#layout.subject] ?? null;
    return { column, expected: "whose record it is, got an empty cell" };
  }

  /** Writes one cell's value; what was expected instead, if it is none. */
  #cell(index: number, { bytes, from, to, kinds }: RowCells): string | null {
    const column = this.#columns[index];
    const attribute = this.#layout.columns[index]?.attribute;
    if (column === undefined || attribute === undefined) return "no such cell";
    const start = from[index] ?? 0;
    const end = to[index] ?? 0;
    const kind = kinds[index];
    if (kind === CELL_EMPTY) {
      column.null();
      return null;
    }
    if (kind === CELL_BYTES) {
      if (attribute.type !== "bytes") return `${attribute.type}, got bytes`;
      return this.#value(index, column, new Uint8Array(bytes.subarray(start, end)));
    }
    if (attribute.type === "text" && column.ascii(bytes, start, end)) {
      if (index === this.#layout.subject) {
        this.#hasSubject = this.#pseudonyms.takeAscii(bytes, start, end);
      }
      return null;
    }
    const number = plainNumber(bytes, { from: start, to: end }, attribute);
    if (number !== undefined) return this.#value(index, column, number);
    try {
      const text = bytes.toString("utf8", start, end);
      return this.#value(index, column, parseAttributeValue(text, attribute));
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return String(error.details["expected"]);
    }
  }

  #value(index: number, column: ColumnWriter, value: AttributeValue): null {
    column.value(value);
    if (index === this.#layout.subject) {
      this.#hasSubject = this.#pseudonyms.takeText(subjectText(value));
    }
    return null;
  }
}

function subjectText(value: AttributeValue): string {
  if (value === null) return "";
  return value instanceof Uint8Array ? hex(value) : String(value);
}
