import type { CsvPlan, RowReport } from "./batch-build.ts";
import { BlockPacker, type CellBlock } from "./cell-block.ts";
import type { CsvSource } from "./csv.ts";
import type { CsvStretch, StretchLimit } from "./csv-cut.ts";
import type { IngestMapping } from "./mapping-file.ts";
import type { BoundMapping } from "./row-mapping.ts";
import type { RowFault, RowSource, SourceRow } from "./source.ts";

/** Rows of a source that become one batch. */
export interface Block {
  /** Bytes of the source up to the end of the last row. */
  readonly end: number;
  readonly content: CellBlock | CsvStretch;
  /** Rows that are not in `content` any more. */
  readonly faults: readonly RowReport[];
}

/** A source, block by block. */
export interface BlockFeed {
  /** Rows that were read, and bytes of the source up to the end of the last one. */
  readonly rows: number;
  readonly end: number;
  /** Reads on with every step. */
  groups(): AsyncIterable<void>;
  /** The next block of what was read; undefined when its end has not come yet. */
  cut(limit: StretchLimit): Block | undefined;
  /** The last block, when the source has ended and nothing can be cut any more. */
  rest(): Block | undefined;
}

interface FeedOptions {
  readonly bound: BoundMapping;
  readonly rules: IngestMapping | null;
  readonly onError: "abort" | "quarantine";
  readonly rowsMax: number;
}

/** How `source` is fed to those who build batches: CSV as it stands, for them to read; all else row by row. */
export function feedOf(
  source: RowSource | CsvSource,
  options: FeedOptions,
): { readonly feed: BlockFeed; readonly csv: CsvPlan | null } {
  const { rules } = options;
  if (!("cutter" in source) || rules === null) {
    return { feed: new RowFeed(source, options), csv: null };
  }
  const { spelling, columns } = source;
  return { feed: new CsvFeed(source), csv: { spelling, columns, mapping: rules } };
}

class CsvFeed implements BlockFeed {
  readonly #source: CsvSource;
  readonly #headerRows: number;

  constructor(source: CsvSource) {
    this.#source = source;
    this.#headerRows = source.cutter.rows;
  }

  get rows(): number {
    return this.#source.cutter.rows - this.#headerRows;
  }

  get end(): number {
    return this.#source.cutter.end;
  }

  groups(): AsyncIterable<void> {
    return this.#source.pieces;
  }

  cut(limit: StretchLimit): Block | undefined {
    return blockOf(this.#source.cutter.cut(limit));
  }

  rest(): Block | undefined {
    return blockOf(this.#source.cutter.rest());
  }
}

function blockOf(stretch: CsvStretch | undefined): Block | undefined {
  return stretch === undefined ? undefined : { end: stretch.end, content: stretch, faults: [] };
}

class RowFeed implements BlockFeed {
  readonly #source: RowSource;
  readonly #mapping: BoundMapping;
  readonly #endsAtFault: boolean;
  readonly #packer: BlockPacker;
  #group: readonly SourceRow[] = [];
  #next = 0;
  #faults: RowReport[] = [];
  #blockRows = 0;
  rows = 0;
  end = 0;

  constructor(source: RowSource, { bound, onError, rowsMax }: FeedOptions) {
    this.#source = source;
    this.#mapping = bound;
    this.#endsAtFault = onError === "abort";
    this.#packer = new BlockPacker(bound.names.length, rowsMax);
  }

  async *groups(): AsyncGenerator<void> {
    for await (const rows of this.#source.rows) {
      this.#group = rows;
      this.#next = 0;
      yield;
    }
  }

  cut({ rowsMax, endMin }: StretchLimit): Block | undefined {
    for (;;) {
      const row = this.#group[this.#next];
      if (row === undefined) return undefined;
      this.#next += 1;
      const fault = this.#pack(row);
      if (fault !== null) this.#faults.push({ line: row.line, ...fault });
      this.end = row.end;
      this.rows += 1;
      this.#blockRows += 1;
      const isLast = this.#blockRows >= rowsMax || (fault !== null && this.#endsAtFault);
      if (isLast || row.end >= endMin) return this.#take();
    }
  }

  rest(): Block | undefined {
    return this.#blockRows === 0 ? undefined : this.#take();
  }

  #take(): Block {
    const block = { end: this.end, content: this.#packer.take(), faults: this.#faults };
    this.#faults = [];
    this.#blockRows = 0;
    return block;
  }

  #pack(row: SourceRow): RowFault | null {
    if ("fault" in row) return row.fault;
    const width = this.#source.columns.length;
    if (row.cells.length !== width) return { column: null, expected: `${width} cells` };
    const mapped = this.#mapping.apply(row.cells, row.line);
    return this.#packer.add(row.line, mapped, this.#mapping.names);
  }
}
