import { isAscii } from "node:buffer";

import { LimitError, MalformedError } from "#protocol";

import { PrefixDigest, type ReadRow, type RowSource } from "./source.ts";

/** Longest cell in UTF-16 units, most cells of a row, and most bytes of a row. */
export const CSV_CELL_MAX = 64 * 1024;
export const CSV_CELLS_MAX = 256;
export const CSV_ROW_BYTES_MAX = 4 * 1024 * 1024;

/** A row that is still incomplete is not read again for every byte, but when it has grown by a quarter. */
const TAIL_BYTES = 16 * 1024;

const QUOTE = '"';
const BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf";

/** How a file spells a table, where files differ. */
export interface CsvOptions {
  /** Absent: a comma. */
  readonly separator?: "," | ";" | "\t";
  /** Names of the columns of a file that has no header. Absent: its first row names them. */
  readonly columns?: readonly string[];
  /** Whether a line of no characters is no row. Absent: it is a row of one empty cell. */
  readonly blankLines?: "skip";
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
  options: CsvOptions = {},
): Promise<RowSource> {
  const { columns } = options;
  const prefix = new PrefixDigest();
  const groups = readGroups(prefix.through(source), new CsvReader(options));
  const first = columns === undefined ? await groups.next() : undefined;
  const [header, ...rest] = first?.value ?? [];
  return {
    columns: columns ?? header?.cells ?? [],
    rows: following(rest, groups),
    digestAt: (end) => prefix.at(end),
    digest: () => prefix.whole(),
  };
}

/** A row of CSV: all its cells are text. */
interface CsvRow extends ReadRow {
  readonly cells: readonly string[];
}

async function* following(
  rows: readonly CsvRow[],
  groups: AsyncGenerator<readonly CsvRow[], undefined>,
): AsyncGenerator<readonly CsvRow[]> {
  if (rows.length > 0) yield rows;
  yield* groups;
}

async function* readGroups(
  source: AsyncIterable<Uint8Array>,
  reader: CsvReader,
): AsyncGenerator<readonly CsvRow[], undefined> {
  for await (const bytes of source) {
    const rows = reader.push(bytes);
    if (rows.length > 0) yield rows;
  }
  const rows = reader.end();
  if (rows.length > 0) yield rows;
  return undefined;
}

/** A row's cells and where the next row begins. */
interface ParsedRow {
  readonly cells: readonly string[];
  readonly next: number;
}

/**
 * Text is held as one UTF-16 unit for each byte, so that places in it are places in the source: no byte of a character
 * above ASCII can be taken for a separator, a quote or a line end. Cells become UTF-8 text at the end.
 */
class CsvReader {
  readonly #separator: string;
  readonly #skipsBlank: boolean;
  #text = "";
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** Bytes of the source before `#text`. */
  #offset = 0;
  #line = 1;
  #ascii = true;

  constructor({ separator = ",", blankLines }: CsvOptions) {
    this.#separator = separator;
    this.#skipsBlank = blankLines === "skip";
  }

  push(bytes: Uint8Array): CsvRow[] {
    this.#ascii &&= isAscii(bytes);
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#waiting.push(view.toString("latin1"));
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes * 4 < this.#text.length - TAIL_BYTES) return [];
    return this.#read(false);
  }

  end(): CsvRow[] {
    return this.#read(true);
  }

  #read(final: boolean): CsvRow[] {
    const text = this.#text + this.#waiting.join("");
    this.#waiting = [];
    this.#waitingBytes = 0;
    let at = this.#offset === 0 && text.startsWith(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0;
    const rows: CsvRow[] = [];
    let quote = -1;
    while (at < text.length) {
      if (quote < at) quote = placeOf(text, QUOTE, at);
      const lineEnd = text.indexOf("\n", at);
      if (lineEnd === -1 && !final) break;
      const plain = lineEnd !== -1 && quote > lineEnd;
      const row = plain ? this.#plainRow(text, at, lineEnd) : this.#quotedRow(text, at, final);
      if (row === undefined) break;
      const blank = row.cells.length === 1 && row.cells[0] === "";
      if (!blank || !this.#skipsBlank) {
        rows.push({ line: this.#line, end: this.#offset + row.next, cells: row.cells });
      }
      this.#line += plain ? 1 : lineFeedsIn(text, at, row.next);
      at = row.next;
    }
    if (text.length - at > CSV_ROW_BYTES_MAX) throw this.#tooLarge("bytes", CSV_ROW_BYTES_MAX);
    this.#text = text.slice(at);
    this.#offset += at;
    // What is left is looked at again with what follows it.
    this.#ascii = isAscii(Buffer.from(this.#text, "latin1"));
    return rows;
  }

  /** A row without a quote: most are. */
  #plainRow(text: string, from: number, lineEnd: number): ParsedRow {
    const returned = text.charCodeAt(lineEnd - 1) === 0x0d && lineEnd > from;
    const line = text.slice(from, returned ? lineEnd - 1 : lineEnd);
    const cells = line.split(this.#separator, CSV_CELLS_MAX + 1);
    if (line.includes("\r")) {
      const column = cells.findIndex((cell) => cell.includes("\r")) + 1;
      throw this.#malformed(this.#line, column, "a line feed after a carriage return");
    }
    return { cells: this.#taken(cells, line.length), next: lineEnd + 1 };
  }

  /** Any row; undefined when its end has not come yet. */
  #quotedRow(text: string, from: number, final: boolean): ParsedRow | undefined {
    const cells: string[] = [];
    let at = from;
    for (;;) {
      const cell = text[at] === QUOTE ? quotedCell(text, at) : this.#plainCell(text, at);
      if (cell === undefined) {
        if (!final) return undefined;
        const lines = lineFeedsIn(text, from, text.length);
        throw this.#malformed(this.#line + lines, cells.length + 1, "a closing quote");
      }
      cells.push(cell.value);
      if (cells.length > CSV_CELLS_MAX) throw this.#tooLarge("cells", CSV_CELLS_MAX);
      const ending = endingAt(text, cell.next, this.#separator);
      if (ending === "more" && !final) return undefined;
      at = cell.next + ENDING_LENGTH[ending];
      if (ending === "separator") continue;
      if (ending === "other" || (ending === "more" && cell.next < text.length)) {
        const lines = lineFeedsIn(text, from, cell.next);
        throw this.#malformed(this.#line + lines, cells.length, "the end of a cell");
      }
      return { cells: this.#taken(cells, at - from), next: at };
    }
  }

  #plainCell(text: string, from: number): { value: string; next: number } {
    let next = from;
    while (next < text.length && !this.#endsCell(text[next])) next += 1;
    return { value: text.slice(from, next), next };
  }

  #endsCell(char: string | undefined): boolean {
    return char === this.#separator || char === "\n" || char === "\r" || char === QUOTE;
  }

  /** The cells as text. `rowBytes` is what they came from. */
  #taken(cells: string[], rowBytes: number): readonly string[] {
    if (cells.length > CSV_CELLS_MAX) throw this.#tooLarge("cells", CSV_CELLS_MAX);
    const texts = this.#ascii ? cells : cells.map((cell, index) => this.#decoded(cell, index + 1));
    if (rowBytes > CSV_CELL_MAX && texts.some((cell) => cell.length > CSV_CELL_MAX)) {
      throw this.#tooLarge("characters", CSV_CELL_MAX);
    }
    return texts;
  }

  #decoded(cell: string, column: number): string {
    const bytes = Buffer.from(cell, "latin1");
    if (isAscii(bytes)) return cell;
    try {
      return STRICT_UTF8.decode(bytes);
    } catch {
      throw this.#malformed(this.#line, column, "UTF-8 text");
    }
  }

  #malformed(line: number, column: number, expected: string): MalformedError {
    return new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
      `line ${line}, column ${column}: expected ${expected}`,
    );
  }

  #tooLarge(subject: string, max: number): LimitError {
    return new LimitError(
      { code: "SCHEMA_TOO_LARGE", line: this.#line, max },
      `line ${this.#line}: expected at most ${max} ${subject}`,
    );
  }
}

/** A byte order mark is text after the first bytes. */
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What follows a cell; `more` is the end of what has come, perhaps after a carriage return. */
type Ending = "separator" | "line feed" | "carriage return and line feed" | "more" | "other";

const ENDING_LENGTH: Readonly<Record<Ending, number>> = {
  separator: 1,
  "line feed": 1,
  "carriage return and line feed": 2,
  more: 0,
  other: 0,
};

function endingAt(text: string, at: number, separator: string): Ending {
  const char = text[at];
  if (char === separator) return "separator";
  if (char === "\n") return "line feed";
  if (char === undefined || (char === "\r" && at + 1 === text.length)) return "more";
  return char === "\r" && text[at + 1] === "\n" ? "carriage return and line feed" : "other";
}

/** The cell whose opening quote is at `from`; undefined when it is not closed. */
function quotedCell(text: string, from: number): { value: string; next: number } | undefined {
  let close = text.indexOf(QUOTE, from + 1);
  while (close !== -1 && text[close + 1] === QUOTE) close = text.indexOf(QUOTE, close + 2);
  if (close === -1) return undefined;
  return { value: text.slice(from + 1, close).replaceAll('""', QUOTE), next: close + 1 };
}

function placeOf(text: string, char: string, from: number): number {
  const at = text.indexOf(char, from);
  return at === -1 ? Infinity : at;
}

function lineFeedsIn(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", from); at !== -1 && at < to; at = text.indexOf("\n", at + 1)) {
    count += 1;
  }
  return count;
}
