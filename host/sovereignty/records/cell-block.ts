import type { Cell, RowFault } from "./source.ts";

/** Cells that a loop writes faster than a call does, in UTF-16 units. */
const SHORT_TEXT = 40;
const START_BYTES = 64 * 1024;
const BYTES_PER_UNIT_MAX = 3;

/**
 * The cells of some rows in three arrays that another thread can take over without a copy.
 *
 * A length is that of a text in UTF-8, -1 for no cell, or -2 - n for n bytes as they are. Lengths and contents are in
 * row order.
 */
export interface CellBlock {
  readonly rows: number;
  readonly columns: number;
  /** Line of each row. */
  readonly lines: Float64Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
  readonly contents: Uint8Array<ArrayBuffer>;
}

/** See {@link CellBlock}. */
export const NO_CELL = -1;

/** Fills {@link CellBlock}s. */
export class BlockPacker {
  readonly #columns: number;
  readonly #rowsMax: number;
  #lines: Float64Array<ArrayBuffer>;
  #lengths: Int32Array<ArrayBuffer>;
  #contents = Buffer.alloc(START_BYTES);
  #rows = 0;
  #bytes = 0;

  /** @param rowsMax - Rows that a block takes. */
  constructor(columns: number, rowsMax: number) {
    this.#columns = columns;
    this.#rowsMax = rowsMax;
    this.#lines = new Float64Array(rowsMax);
    this.#lengths = new Int32Array(rowsMax * columns);
  }

  /** What was taken since the last time, as in {@link CellBlock}; valid until more is. */
  get lengths(): Int32Array {
    return this.#lengths;
  }

  get contents(): Buffer {
    return this.#contents;
  }

  /** Takes one row; returns what is wrong with it, having taken nothing, if it is no text. `names` is for that. */
  add(line: number, cells: readonly Cell[], names: readonly string[]): RowFault | null {
    const start = this.#bytes;
    const at = this.#rows * this.#columns;
    for (let index = 0; index < this.#columns; index += 1) {
      const cell = cells[index] ?? null;
      const length = this.#put(cell);
      if (length === undefined) {
        this.#bytes = start;
        return { column: names[index] ?? null, expected: "text without lone surrogates" };
      }
      this.#lengths[at + index] = length;
    }
    this.#lines[this.#rows] = line;
    this.#rows += 1;
    return null;
  }

  /** What was taken since the last time. */
  take(): CellBlock {
    const block = {
      rows: this.#rows,
      columns: this.#columns,
      lines: this.#lines,
      lengths: this.#lengths,
      contents: new Uint8Array(this.#contents.buffer, 0, this.#bytes),
    };
    this.#lines = new Float64Array(this.#rowsMax);
    this.#lengths = new Int32Array(this.#rowsMax * this.#columns);
    this.#contents = Buffer.alloc(Math.max(START_BYTES, this.#bytes));
    this.forget();
    return block;
  }

  /** Forgets what was taken since the last time. */
  forget(): void {
    this.#rows = 0;
    this.#bytes = 0;
  }

  /** The length to note; undefined for text that has no UTF-8. */
  #put(cell: Cell): number | undefined {
    if (cell === null) return NO_CELL;
    if (typeof cell !== "string") {
      this.#reserve(cell.length);
      this.#contents.set(cell, this.#bytes);
      this.#bytes += cell.length;
      return NO_CELL - 1 - cell.length;
    }
    this.#reserve(cell.length * BYTES_PER_UNIT_MAX);
    if (cell.length <= SHORT_TEXT && this.#putAscii(cell)) return cell.length;
    if (!cell.isWellFormed()) return undefined;
    const written = this.#contents.write(cell, this.#bytes);
    this.#bytes += written;
    return written;
  }

  #putAscii(text: string): boolean {
    const contents = this.#contents;
    const start = this.#bytes;
    for (let index = 0; index < text.length; index += 1) {
      const unit = text.charCodeAt(index);
      if (unit >= 0x80) return false;
      contents[start + index] = unit;
    }
    this.#bytes = start + text.length;
    return true;
  }

  #reserve(bytes: number): void {
    const needed = this.#bytes + bytes;
    if (needed <= this.#contents.length) return;
    const grown = Buffer.alloc(Math.max(needed, this.#contents.length * 2));
    grown.set(this.#contents.subarray(0, this.#bytes));
    this.#contents = grown;
  }
}
