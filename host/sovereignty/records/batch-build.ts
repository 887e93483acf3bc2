import { createHash, type KeyObject } from "node:crypto";

import {
  BatchBuilder,
  MalformedError,
  SALT_BYTES,
  hex,
  sealBuilt,
  type AttributeValue,
  type CanonicalAttribute,
  type ColumnWriter,
} from "#protocol";

import { parseAttributeValue } from "./attribute-value.ts";
import { NO_CELL, type CellBlock } from "./cell-block.ts";
import type { Layout } from "./layout.ts";
import { Pseudonyms } from "./pseudonyms.ts";

/** Digits of a number that is read without a text in between; all such numbers are safe integers. */
const DIGITS_MAX = 15;

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** What a thread needs to know once. Plain data. */
export interface BuildPlan {
  readonly layout: Layout;
  /** For each column, what a row's fault calls it. */
  readonly names: readonly string[];
  readonly subjectKey: KeyObject;
}

/** One batch to be built. The arrays are the builder's from then on. */
export interface BuildJob {
  readonly block: CellBlock;
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
}

/** Turns blocks of cells into sealed batches of canonical records. Pure but for what it remembers of pseudonyms. */
export class BatchBuild {
  readonly #plan: BuildPlan;
  readonly #pseudonyms: Pseudonyms;
  readonly #builder: BatchBuilder;

  constructor(plan: BuildPlan) {
    this.#plan = plan;
    this.#builder = new BatchBuilder(plan.layout.schema, plan.layout.columns);
    this.#pseudonyms = new Pseudonyms(plan.subjectKey);
  }

  /** @throws LimitError SCHEMA_TOO_LARGE for records that no batch can hold. */
  build(job: BuildJob): BuildResult {
    try {
      return this.#built(job);
    } finally {
      this.#builder.clear();
    }
  }

  #built({ block, salts, batchId, dataKey, createdMs }: BuildJob): BuildResult {
    const { schema, columns } = this.#plan.layout;
    const builder = this.#builder;
    const pseudonyms = this.#pseudonyms;
    const rows = new RowReader({ plan: this.#plan, builder, block, pseudonyms });
    const faults: RowReport[] = [];
    for (let row = 0; row < block.rows; row += 1) {
      const fault = rows.next();
      if (fault === null) {
        const salt = salts.subarray(row * SALT_BYTES, (row + 1) * SALT_BYTES);
        builder.endRecord(pseudonyms.last, salt);
      } else {
        builder.dropRecord();
        faults.push({ line: block.lines[row] ?? 0, ...fault });
      }
    }
    block.contents.fill(0);
    if (builder.count === 0) return { batch: null, faults };
    const built = builder.finish();
    const sealed = sealBuilt({ batchId, schema, columns, createdMs, built, dataKey });
    dataKey.fill(0);
    const { root, recordCount, subjectIds, commitments } = built;
    const fileDigest = new Uint8Array(createHash("sha256").update(sealed).digest());
    return { batch: { sealed, fileDigest, root, recordCount, subjectIds, commitments }, faults };
  }
}

interface Reading {
  readonly plan: BuildPlan;
  readonly builder: BatchBuilder;
  readonly block: CellBlock;
  readonly pseudonyms: Pseudonyms;
}

/** Reads the rows of a block, one after the other, into the columns of a batch. */
class RowReader {
  readonly #plan: BuildPlan;
  readonly #columns: readonly ColumnWriter[];
  readonly #block: CellBlock;
  readonly #contents: Buffer;
  readonly #pseudonyms: Pseudonyms;
  #row = 0;
  #at = 0;
  #hasSubject = false;

  constructor({ plan, builder, block, pseudonyms }: Reading) {
    this.#plan = plan;
    this.#pseudonyms = pseudonyms;
    this.#columns = builder.columns;
    this.#block = block;
    const { buffer, byteOffset, length } = block.contents;
    this.#contents = Buffer.from(buffer, byteOffset, length);
  }

  /** Writes the next row's values to the columns, and whose it is to the pseudonyms; null, or the first thing at fault. */
  next(): Omit<RowReport, "line"> | null {
    const { columns: width, lengths } = this.#block;
    const { layout, names } = this.#plan;
    let fault: Omit<RowReport, "line"> | null = null;
    this.#hasSubject = false;
    for (let index = 0; index < width; index += 1) {
      const length = lengths[this.#row * width + index] ?? NO_CELL;
      if (fault === null) {
        const expected = this.#cell(index, length);
        if (expected !== null) fault = { column: names[index] ?? null, expected };
      }
      this.#at += sizeOf(length);
    }
    this.#row += 1;
    if (fault === null && !this.#hasSubject) {
      const column = names[layout.subject] ?? null;
      return { column, expected: "whose record it is, got an empty cell" };
    }
    return fault;
  }

  /** Writes one cell's value; what was expected instead, if it is none. */
  #cell(index: number, length: number): string | null {
    const column = this.#columns[index];
    const attribute = this.#plan.layout.columns[index]?.attribute;
    if (column === undefined || attribute === undefined) return "no such cell";
    const from = this.#at;
    const to = from + sizeOf(length);
    if (length === NO_CELL || length === 0) {
      column.null();
      return null;
    }
    if (length < NO_CELL) {
      if (attribute.type !== "bytes") return `${attribute.type}, got bytes`;
      return this.#value(index, column, new Uint8Array(this.#contents.subarray(from, to)));
    }
    if (attribute.type === "text" && column.ascii(this.#contents, from, to)) {
      if (index === this.#plan.layout.subject) {
        this.#hasSubject = this.#pseudonyms.takeBytes(this.#contents, from, to);
      }
      return null;
    }
    const number = plainNumber(this.#contents, { from, to }, attribute);
    if (number !== undefined) return this.#value(index, column, number);
    try {
      const text = this.#contents.toString("utf8", from, to);
      return this.#value(index, column, parseAttributeValue(text, attribute));
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return String(error.details["expected"]);
    }
  }

  #value(index: number, column: ColumnWriter, value: AttributeValue): null {
    column.value(value);
    if (index === this.#plan.layout.subject) {
      this.#hasSubject = this.#pseudonyms.takeText(subjectText(value));
    }
    return null;
  }
}

function sizeOf(length: number): number {
  return length >= NO_CELL ? Math.max(0, length) : NO_CELL - 1 - length;
}

function subjectText(value: AttributeValue): string {
  if (value === null) return "";
  return value instanceof Uint8Array ? hex(value) : String(value);
}

/**
 * The number that `parseAttributeValue` gives for this text, if it is of the plainest kind and in range: most are, and
 * so never become a text. Undefined for all else.
 */
function plainNumber(
  bytes: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
  { type, scale, range }: CanonicalAttribute,
): number | undefined {
  if (type !== "integer" && type !== "decimal") return undefined;
  const negative = bytes[from] === MINUS;
  const start = negative ? from + 1 : from;
  if (to - start + scale > DIGITS_MAX) return undefined;
  let value = 0;
  let decimals = -1;
  for (let at = start; at < to; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      if (decimals >= 0) decimals += 1;
    } else if (bytes[at] === POINT && decimals === -1 && at > start && scale > 0) decimals = 0;
    else return undefined;
  }
  const wholeDigits = to - start - (decimals < 0 ? 0 : decimals + 1);
  const leadingZero = wholeDigits > 1 && bytes[start] === ZERO;
  if (wholeDigits < 1 || leadingZero || decimals === 0 || decimals > scale) return undefined;
  const scaled = value * 10 ** (scale - Math.max(0, decimals));
  const signed = negative && scaled !== 0 ? -scaled : scaled;
  return range === null || (signed >= range.min && signed <= range.max) ? signed : undefined;
}
