import { openCsv, type CsvOptions } from "../records/csv.ts";
import { ColumnTallies } from "./column-tallies.ts";

/** How much of a source is read a second time to tell types. */
const HEAD_BYTES_MAX = 64 * 1024;
const HEAD_ROWS_MAX = 256;

/** Keeps the beginning of a byte stream that passes. */
export class SourceHead {
  #head: Uint8Array = new Uint8Array(0);

  /** Passes `source` on as it is. */
  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const bytes of source) {
      const more = HEAD_BYTES_MAX - this.#head.length;
      if (more > 0) this.#head = Buffer.concat([this.#head, bytes.subarray(0, more)]);
      yield bytes;
    }
  }

  /**
   * What the first rows, at most 256, have in `columns`. A row that the head cuts is left out; so is whatever follows a
   * fault.
   */
  async tallies(columns: readonly string[], options: CsvOptions): Promise<ColumnTallies> {
    const tallies = new ColumnTallies(columns);
    for (const row of await this.#rows(options)) {
      for (const column of columns) tallies.note(column, row.get(column) ?? null);
    }
    return tallies;
  }

  async #rows(options: CsvOptions): Promise<ReadonlyMap<string, string>[]> {
    const rows: ReadonlyMap<string, string>[] = [];
    try {
      const source = await openCsv(once(this.#head), options);
      const columns = source.columns.map((column) => column.normalize("NFC"));
      for await (const group of source.rows) {
        for (const { cells } of group) rows.push(rowOf(columns, cells));
      }
    } catch {
      // A head ends anywhere, within a character for one. The ingest itself refuses what is at fault in the source.
    }
    const isCut = this.#head.length >= HEAD_BYTES_MAX;
    return (isCut ? rows.slice(0, -1) : rows).slice(0, HEAD_ROWS_MAX);
  }
}

function rowOf(columns: readonly string[], cells: readonly string[]): ReadonlyMap<string, string> {
  return new Map(columns.map((column, index) => [column, cells[index] ?? ""]));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
