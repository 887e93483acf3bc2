import { LimitError, MalformedError } from "#protocol";

/** Longest cell in UTF-16 units, and most cells of a row. */
export const CSV_CELL_MAX = 64 * 1024;
export const CSV_CELLS_MAX = 256;

/** One row and the line it begins on, counted from 1. */
export interface CsvRow {
  readonly line: number;
  readonly cells: readonly string[];
}

const QUOTE = '"';

/**
 * Reads RFC 4180 text as it arrives, in constant memory, and yields rows in small groups.
 *
 * Strict where the RFC is: a quote only around a whole cell, doubled inside; nothing after a closing quote. Lines end
 * in CRLF or LF. UTF-8, with or without a byte order mark. An empty last line is no row. Cells are not trimmed.
 *
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED with `line` and `column` (from 1); never says a value.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE for a cell above {@link CSV_CELL_MAX} or a row above
 * {@link CSV_CELLS_MAX}.
 * @see RFC 4180 § 2
 */
export async function* readCsv(source: AsyncIterable<Uint8Array>): AsyncGenerator<CsvRow[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = new CsvReader();
  for await (const bytes of source) {
    const rows = reader.push(decoded(() => decoder.decode(bytes, { stream: true }), reader.line));
    if (rows.length > 0) yield rows;
  }
  const rows = reader.push(decoded(() => decoder.decode(), reader.line));
  rows.push(...reader.end());
  if (rows.length > 0) yield rows;
}

function decoded(decode: () => string, line: number): string {
  try {
    return decode();
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", line },
      `line ${line}: expected UTF-8 text, got other bytes`,
      { cause },
    );
  }
}

/** `start` and `plain` are outside quotes, `quoted` inside, `closed` after a quote that may end the cell. */
type State = "start" | "plain" | "quoted" | "closed";

class CsvReader {
  #state: State = "start";
  #cell = "";
  #cells: string[] = [];
  #rows: CsvRow[] = [];
  #afterReturn = false;
  #rowLine = 1;
  line = 1;

  push(text: string): CsvRow[] {
    let from = 0;
    for (let at = 0; at < text.length; at += 1) {
      const char = text[at];
      if (this.#state === "quoted" ? char !== QUOTE && char !== "\n" : !isSpecial(char)) {
        if (this.#state === "closed" || this.#afterReturn)
          throw this.#malformed("the end of a cell");
        if (this.#state === "start") this.#state = "plain";
        continue;
      }
      this.#take(text.slice(from, at));
      from = at + 1;
      this.#special(char ?? "");
    }
    this.#take(text.slice(from));
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  end(): CsvRow[] {
    if (this.#state === "quoted") throw this.#malformed("a closing quote");
    if (this.#afterReturn) throw this.#malformed("a line feed after a carriage return");
    const empty = this.#cells.length === 0 && this.#state === "start" && this.#cell === "";
    if (!empty) this.#endRow();
    return this.#rows;
  }

  #special(char: string): void {
    if (this.#afterReturn && char !== "\n") throw this.#malformed("a line feed");
    if (this.#state === "quoted") {
      if (char === QUOTE) this.#state = "closed";
      else this.#newLine(char);
      return;
    }
    switch (char) {
      case QUOTE:
        if (this.#state === "plain") throw this.#malformed("no quote inside a cell");
        if (this.#state === "closed") this.#take(QUOTE);
        this.#state = "quoted";
        return;
      case ",":
        this.#endCell();
        return;
      case "\r":
        this.#afterReturn = true;
        return;
      default:
        this.#endRow();
        this.line += 1;
        this.#rowLine = this.line;
    }
  }

  /** A line feed inside quotes belongs to the cell. */
  #newLine(char: string): void {
    this.#take(char);
    this.line += 1;
  }

  #take(text: string): void {
    this.#cell += text;
    if (this.#cell.length > CSV_CELL_MAX) throw this.#tooLarge("characters", CSV_CELL_MAX);
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    if (this.#cells.length > CSV_CELLS_MAX) throw this.#tooLarge("cells", CSV_CELLS_MAX);
    this.#cell = "";
    this.#state = "start";
  }

  #endRow(): void {
    this.#endCell();
    this.#rows.push({ line: this.#rowLine, cells: this.#cells });
    this.#cells = [];
    this.#afterReturn = false;
  }

  #malformed(expected: string): MalformedError {
    const column = this.#cells.length + 1;
    return new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", line: this.line, column, expected },
      `line ${this.line}, column ${column}: expected ${expected}`,
    );
  }

  #tooLarge(subject: string, max: number): LimitError {
    return new LimitError(
      { code: "SCHEMA_TOO_LARGE", line: this.line, max },
      `line ${this.line}: expected at most ${max} ${subject}`,
    );
  }
}

function isSpecial(char: string | undefined): boolean {
  return char === QUOTE || char === "," || char === "\n" || char === "\r";
}
