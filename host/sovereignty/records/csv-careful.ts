import { isAscii } from "node:buffer";

import { LimitError, MalformedError } from "#protocol";

import { CSV_ROW_BYTES_MAX, type CsvStretch } from "./csv-cut.ts";

/** Longest cell in UTF-16 units, and most cells of a row. */
export const CSV_CELL_MAX = 64 * 1024;
export const CSV_CELLS_MAX = 256;

const QUOTE = '"';

/** A row's cells, where the next row begins, and how many lines after it. */
export interface CarefulRow {
  readonly cells: readonly string[];
  readonly next: number;
  readonly lines: number;
}

/**
 * Reads any row of a stretch, and says what is wrong with one that is none. {@link CsvRows} reads most rows faster.
 *
 * Text is held as one UTF-16 unit for each byte, so that places in it are places in the source: no byte of a character
 * above ASCII can be taken for a separator, a quote or a line end. Cells become UTF-8 text at the end.
 */
export class CarefulRows {
  readonly #text: string;
  readonly #separator: string;
  readonly #ending: CsvStretch["ending"];
  #quote = -1;
  #line = 0;

  constructor(
    bytes: Buffer,
    { separator, ending }: { readonly separator: string; readonly ending: CsvStretch["ending"] },
  ) {
    this.#text = bytes.toString("latin1");
    this.#separator = separator;
    this.#ending = ending;
  }

  /**
   * @param from - Not below that of the call before.
   * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED with `line` and `column` (from 1); never says a value.
   * @throws {@link LimitError} SCHEMA_TOO_LARGE
   */
  read(from: number, line: number): CarefulRow {
    const text = this.#text;
    this.#line = line;
    if (this.#quote < from) this.#quote = placeOf(text, QUOTE, from);
    const lineEnd = text.indexOf("\n", from);
    const isPlain = lineEnd !== -1 && this.#quote > lineEnd;
    return isPlain ? this.#plainRow(from, lineEnd) : this.#quotedRow(from);
  }

  /** A row without a quote. */
  #plainRow(from: number, lineEnd: number): CarefulRow {
    const returned = this.#text.charCodeAt(lineEnd - 1) === 0x0d && lineEnd > from;
    const line = this.#text.slice(from, returned ? lineEnd - 1 : lineEnd);
    const cells = line.split(this.#separator, CSV_CELLS_MAX + 1);
    if (line.includes("\r")) {
      const column = cells.findIndex((cell) => cell.includes("\r")) + 1;
      throw this.#malformed(this.#line, column, "a line feed after a carriage return");
    }
    return { cells: this.#taken(cells, line.length), next: lineEnd + 1, lines: 1 };
  }

  /** Any row. */
  #quotedRow(from: number): CarefulRow {
    const text = this.#text;
    const cells: string[] = [];
    let at = from;
    for (;;) {
      const cell = text[at] === QUOTE ? quotedCell(text, at) : this.#plainCell(at);
      if (cell === undefined) {
        const lines = lineFeedsIn(text, from, text.length);
        throw this.#cutOff(this.#line + lines, cells.length + 1, "a closing quote");
      }
      cells.push(cell.value);
      if (cells.length > CSV_CELLS_MAX) throw this.#tooLarge("cells", CSV_CELLS_MAX);
      const ending = endingAt(text, cell.next, this.#separator);
      at = cell.next + ENDING_LENGTH[ending];
      if (ending === "separator") continue;
      const lines = lineFeedsIn(text, from, at);
      if (ending === "other") throw this.#malformed(this.#line + lines, cells.length, CELL_END);
      if (ending === "more" && (cell.next < text.length || this.#ending !== "source")) {
        throw this.#cutOff(this.#line + lines, cells.length, CELL_END);
      }
      return { cells: this.#taken(cells, at - from), next: at, lines };
    }
  }

  #plainCell(from: number): { value: string; next: number } {
    const text = this.#text;
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
    const texts = cells.map((cell, index) => this.#decoded(cell, index + 1));
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

  /** The error of a row that is not there to its end. */
  #cutOff(line: number, column: number, expected: string): MalformedError | LimitError {
    if (this.#ending === "row too long") return this.#tooLarge("bytes", CSV_ROW_BYTES_MAX);
    return this.#malformed(line, column, expected);
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

const CELL_END = "the end of a cell";

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
