import { isUtf8 } from "node:buffer";

import { CSV_CELLS_MAX, CSV_CELL_MAX, CarefulRows } from "./csv-careful.ts";
import type { CsvStretch } from "./csv-cut.ts";

/** How a file spells its rows. Plain data: it goes to other threads. */
export interface CsvSpelling {
  readonly separator: "," | ";" | "\t";
  /** Whether a line of no characters is no row. */
  readonly skipsBlank: boolean;
}

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** What a byte may be to a cell. */
const PLAIN = 0;
const ENDS_CELL = 1;
const NEEDS_CARE = 2;

/**
 * Reads the rows of stretches, one after the other.
 *
 * The cells of most rows are found by looking at each byte once, and left where they are. What takes more care, be it a
 * doubled quote or a fault, is read again as text.
 */
export class CsvRows {
  readonly #spelling: CsvSpelling;
  readonly #separator: number;
  readonly #kinds = new Uint8Array(256);
  /** Cell i of a row whose `texts` are null is `bytes` in [starts[i], ends[i]), UTF-8. */
  readonly starts = new Int32Array(CSV_CELLS_MAX);
  readonly ends = new Int32Array(CSV_CELLS_MAX);
  /** Of the stretch. Not to be changed. */
  bytes: Buffer = Buffer.alloc(0);
  /** Cells of the row. */
  count = 0;
  /** The cells of a row that took more care. */
  texts: readonly string[] | null = null;
  /** Line on which the row begins, and bytes of the source up to its end. */
  line = 0;
  end = 0;
  #stretch: CsvStretch | undefined;
  #at = 0;
  #nextLine = 0;
  #isUtf8: boolean | undefined;
  #careful: CarefulRows | undefined;

  constructor(spelling: CsvSpelling) {
    this.#spelling = spelling;
    this.#separator = spelling.separator.charCodeAt(0);
    this.#kinds[this.#separator] = ENDS_CELL;
    for (const byte of [QUOTE, LINE_FEED, CARRIAGE_RETURN]) this.#kinds[byte] = NEEDS_CARE;
  }

  /** Begins with a stretch. */
  open(stretch: CsvStretch): void {
    const { bytes, start, line } = stretch;
    this.#stretch = stretch;
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const isMarked = start === 0 && BYTE_ORDER_MARK.every((byte, at) => bytes[at] === byte);
    this.#at = isMarked ? BYTE_ORDER_MARK.length : 0;
    this.#nextLine = line;
    this.#isUtf8 = undefined;
    this.#careful = undefined;
  }

  /**
   * Goes to the next row; false when there is none.
   *
   * @throws MalformedError SCHEMA_ROW_MALFORMED with `line` and `column` (from 1); never says a value.
   * @throws LimitError SCHEMA_TOO_LARGE
   */
  next(): boolean {
    while (this.#at < this.bytes.length) {
      this.line = this.#nextLine;
      if (!this.#findCells()) this.#readCells();
      this.end = (this.#stretch?.start ?? 0) + this.#at;
      if (!this.#spelling.skipsBlank || !this.#isBlank()) return true;
    }
    return false;
  }

  /** The cells of the row as text. */
  cells(): readonly string[] {
    if (this.texts !== null) return this.texts;
    return Array.from({ length: this.count }, (_, index) =>
      this.bytes.toString("utf8", this.starts[index], this.ends[index]),
    );
  }

  #isBlank(): boolean {
    if (this.count !== 1) return false;
    return this.texts === null ? this.starts[0] === this.ends[0] : this.texts[0] === "";
  }

  /** Finds where the cells of the next row are; false, having gone nowhere, when that takes more care. */
  #findCells(): boolean {
    const { bytes, starts, ends } = this;
    const kinds = this.#kinds;
    const from = this.#at;
    const to = Math.min(bytes.length, from + CSV_CELL_MAX);
    let all = 0;
    let count = 0;
    let lines = 1;
    let start = from;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      all |= byte;
      const kind = kinds[byte] ?? PLAIN;
      if (kind === PLAIN) continue;
      let end = at;
      if (byte === QUOTE) {
        if (at !== start) return false;
        start = at + 1;
        for (end = start; end < to && bytes[end] !== QUOTE; end += 1) {
          all |= bytes[end] ?? 0;
          if (bytes[end] === LINE_FEED) lines += 1;
        }
        at = end + 1;
      }
      let next = bytes[at] ?? QUOTE;
      if (next === CARRIAGE_RETURN) {
        at += 1;
        next = bytes[at] === LINE_FEED ? LINE_FEED : QUOTE;
      }
      if (next !== LINE_FEED && next !== this.#separator) return false;
      if (at >= to || count === CSV_CELLS_MAX) return false;
      starts[count] = start;
      ends[count] = end;
      count += 1;
      start = at + 1;
      if (next !== LINE_FEED) continue;
      if (all >= 0x80 && !this.#holdsUtf8()) return false;
      this.count = count;
      this.texts = null;
      this.#at = start;
      this.#nextLine = this.line + lines;
      return true;
    }
    return false;
  }

  #holdsUtf8(): boolean {
    return (this.#isUtf8 ??= isUtf8(this.bytes));
  }

  #readCells(): void {
    const { ending = "row" } = this.#stretch ?? {};
    this.#careful ??= new CarefulRows(this.bytes, { separator: this.#spelling.separator, ending });
    const { cells, next, lines } = this.#careful.read(this.#at, this.line);
    this.texts = cells;
    this.count = cells.length;
    this.#at = next;
    this.#nextLine = this.line + lines;
  }
}
