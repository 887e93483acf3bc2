import type { BoundMapping } from "./row-mapping.ts";
import { BlockPacker, NO_CELL, type CellBlock } from "./cell-block.ts";
import type { CsvStretch } from "./csv-cut.ts";
import { CsvRows, type CsvSpelling } from "./csv-rows.ts";
import type { RowFault } from "./source.ts";

/** What a cell holds. */
export const CELL_EMPTY = 0;
export const CELL_TEXT = 1;
export const CELL_BYTES = 2;

/** The cells of one row, in the order of the columns of a batch. Filled again for every row. */
export interface RowCells {
  /** Where the cells are: cell i in [from[i], to[i]), text in UTF-8. */
  bytes: Buffer;
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** {@link CELL_EMPTY}, {@link CELL_TEXT} or {@link CELL_BYTES}. */
  readonly kinds: Uint8Array;
}

/** Rows, one after the other. */
export interface RowCursor {
  /** Goes to the next row; false when there is none. */
  next(): boolean;
  /** Of the row. */
  readonly line: number;
  readonly cells: RowCells;
  /** What is wrong with the row as a whole; then it has no cells. */
  readonly fault: RowFault | null;
}

function emptyRow(width: number): RowCells {
  return {
    bytes: Buffer.alloc(0),
    from: new Int32Array(width),
    to: new Int32Array(width),
    kinds: new Uint8Array(width),
  };
}

/** The rows of a block. */
export class BlockRows implements RowCursor {
  readonly #block: CellBlock;
  readonly cells: RowCells;
  readonly fault = null;
  line = 0;
  #row = 0;
  #at = 0;

  constructor(block: CellBlock) {
    const { buffer, byteOffset, length } = block.contents;
    this.#block = block;
    this.cells = emptyRow(block.columns);
    this.cells.bytes = Buffer.from(buffer, byteOffset, length);
  }

  next(): boolean {
    const { rows, columns, lines, lengths } = this.#block;
    if (this.#row === rows) return false;
    this.line = lines[this.#row] ?? 0;
    this.#at = placeCells(this.cells, { lengths, first: this.#row * columns, at: this.#at });
    this.#row += 1;
    return true;
  }
}

/** The rows of stretches of CSV, mapped. */
export class StretchRows implements RowCursor {
  readonly #rows: CsvRows;
  readonly #mapping: BoundMapping;
  readonly #width: number;
  readonly #packer: BlockPacker;
  readonly cells: RowCells;
  fault: RowFault | null = null;

  /** @param source.columns - How many the source has. */
  constructor(source: {
    readonly spelling: CsvSpelling;
    readonly columns: number;
    readonly mapping: BoundMapping;
  }) {
    this.#rows = new CsvRows(source.spelling);
    this.#width = source.columns;
    this.#mapping = source.mapping;
    this.#packer = new BlockPacker(source.mapping.names.length, 1);
    this.cells = emptyRow(source.mapping.names.length);
  }

  get line(): number {
    return this.#rows.line;
  }

  open(stretch: CsvStretch): void {
    this.#rows.open(stretch);
  }

  /** @throws as {@link CsvRows.next} */
  next(): boolean {
    const rows = this.#rows;
    if (!rows.next()) return false;
    this.fault = null;
    const { places } = this.#mapping;
    if (rows.count !== this.#width) this.fault = { column: null, expected: `${this.#width} cells` };
    else if (rows.texts === null && places !== null) this.#place(places);
    else this.#map();
    return true;
  }

  /** Cells that are taken as they are stay where they are. */
  #place(places: Int32Array): void {
    const { starts, ends, bytes } = this.#rows;
    const { cells } = this;
    cells.bytes = bytes;
    for (let index = 0; index < places.length; index += 1) {
      const place = places[index] ?? 0;
      const from = starts[place] ?? 0;
      const to = ends[place] ?? 0;
      cells.from[index] = from;
      cells.to[index] = to;
      cells.kinds[index] = from === to ? CELL_EMPTY : CELL_TEXT;
    }
  }

  #map(): void {
    const rows = this.#rows;
    const packer = this.#packer;
    packer.forget();
    const mapped = this.#mapping.apply(rows.cells(), rows.line);
    this.fault = packer.add(rows.line, mapped, this.#mapping.names);
    this.cells.bytes = packer.contents;
    placeCells(this.cells, { lengths: packer.lengths, first: 0, at: 0 });
  }
}

/** Says where the cells of one row are, which follow each other from `at` on. @returns Where they end. */
function placeCells(
  { from, to, kinds }: RowCells,
  row: { readonly lengths: Int32Array; readonly first: number; readonly at: number },
): number {
  let at = row.at;
  for (let index = 0; index < kinds.length; index += 1) {
    const length = row.lengths[row.first + index] ?? NO_CELL;
    const isBytes = length < NO_CELL;
    const size = isBytes ? NO_CELL - 1 - length : Math.max(0, length);
    from[index] = at;
    at += size;
    to[index] = at;
    if (isBytes) kinds[index] = CELL_BYTES;
    else kinds[index] = size === 0 ? CELL_EMPTY : CELL_TEXT;
  }
  return at;
}
