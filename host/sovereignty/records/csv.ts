import { CSV_CELLS_MAX, CSV_CELL_MAX } from "./csv-careful.ts";
import { CSV_ROW_BYTES_MAX, CsvCutter, type CsvStretch } from "./csv-cut.ts";
import { CsvRows, type CsvSpelling } from "./csv-rows.ts";
import { PrefixDigest, type ReadRow, type RowSource } from "./source.ts";

export { CSV_CELLS_MAX, CSV_CELL_MAX, CSV_ROW_BYTES_MAX };

/** How a file spells a table, where files differ. */
export interface CsvOptions {
  /** Absent: a comma. */
  readonly separator?: "," | ";" | "\t";
  /** Names of the columns of a file that has no header. Absent: its first row names them. */
  readonly columns?: readonly string[];
  /** Whether a line of no characters is no row. Absent: it is a row of one empty cell. */
  readonly blankLines?: "skip";
}

/** Comma-separated text: read as rows, or cut into stretches of them that others read. */
export interface CsvSource extends RowSource {
  readonly rows: AsyncIterable<readonly CsvRow[]>;
  readonly spelling: CsvSpelling;
  /** Instead of `rows`: gets the source's bytes with every step of `pieces`, for the caller to cut. Has no header. */
  readonly cutter: CsvCutter;
  readonly pieces: AsyncIterable<void>;
}

/** A row of CSV: all its cells are text. */
export interface CsvRow extends ReadRow {
  readonly cells: readonly string[];
}

/**
 * Reads RFC 4180 text as it arrives, in constant memory.
 *
 * Strict where the RFC is: a quote only around a whole cell, doubled inside; nothing after a closing quote. Lines end
 * in CRLF or LF. UTF-8, with or without a byte order mark. An empty last line is no row. Cells are not trimmed.
 *
 * @returns The rows after the header; without a header there are no columns.
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED with `line` and `column` (from 1); never says a value. Here for
 * the header, from `rows` for the rest.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE for a cell above {@link CSV_CELL_MAX}, a row above
 * {@link CSV_CELLS_MAX} or {@link CSV_ROW_BYTES_MAX}.
 * @see RFC 4180 § 2
 */
export async function openCsv(
  source: AsyncIterable<Uint8Array>,
  { columns, separator = ",", blankLines }: CsvOptions = {},
): Promise<CsvSource> {
  const prefix = new PrefixDigest();
  const spelling = { separator, skipsBlank: blankLines === "skip" };
  const cutter = new CsvCutter(spelling);
  const pieces = pushed(prefix.through(source), cutter);
  const reading = { cutter, pieces, reader: new CsvRows(spelling) };
  const header = columns ?? (await readHeader(reading));
  const rest = following(pieces);
  return {
    columns: header,
    rows: readRows({ ...reading, pieces: rest }),
    spelling,
    cutter,
    pieces: rest,
    digestAt: (end) => prefix.at(end),
    digest: () => prefix.whole(),
  };
}

interface Reading {
  readonly cutter: CsvCutter;
  readonly pieces: AsyncGenerator<void>;
  readonly reader: CsvRows;
}

async function* pushed(
  source: AsyncIterable<Uint8Array>,
  cutter: CsvCutter,
): AsyncGenerator<void, undefined> {
  for await (const bytes of source) {
    cutter.push(bytes);
    yield;
  }
  return undefined;
}

/** The header may have come with rows after it: the first step brings nothing new. */
async function* following(pieces: AsyncGenerator<void>): AsyncGenerator<void> {
  yield;
  yield* pieces;
}

/** The cells of the first row; none when there is no row. */
async function readHeader({ cutter, pieces, reader }: Reading): Promise<readonly string[]> {
  for (let isMore = true; isMore;) {
    const { done = false } = await pieces.next();
    isMore = !done;
    for (;;) {
      const cut = cutter.cut({ rowsMax: 1, endMin: Infinity });
      const stretch = cut ?? (isMore ? undefined : cutter.rest());
      if (stretch === undefined) break;
      const [header] = rowsOf(reader, stretch);
      if (header !== undefined) return header.cells;
    }
  }
  return [];
}

async function* readRows({ cutter, pieces, reader }: Reading): AsyncGenerator<readonly CsvRow[]> {
  for await (const _piece of pieces) {
    const whole = cutter.whole();
    if (whole !== undefined) yield rowsOf(reader, whole);
  }
  const last = cutter.rest();
  if (last !== undefined) yield rowsOf(reader, last);
}

function rowsOf(reader: CsvRows, stretch: CsvStretch): CsvRow[] {
  const rows: CsvRow[] = [];
  reader.open(stretch);
  while (reader.next()) rows.push({ line: reader.line, end: reader.end, cells: reader.cells() });
  return rows;
}
