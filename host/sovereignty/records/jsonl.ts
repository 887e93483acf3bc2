import { LimitError, MalformedError } from "#protocol";

/** The longest line in bytes, and the longest key and text in UTF-16 units. */
export const JSON_LINE_BYTES_MAX = 1024 * 1024;
const KEY_MAX = 1024;
const TEXT_MAX = 64 * 1024;
/** Most keys of a line; a CSV row has no more cells. */
const KEYS_MAX = 256;

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** One object of a line, as cells in the order of the columns asked for. */
export interface JsonRow {
  /** Counted from 1. */
  readonly line: number;
  /** Byte offset in the source after the row and its line end. */
  readonly end: number;
  /** Text, the literal of a number, 1 or 0 for true or false; null for null and for a key that is not there. */
  readonly cells: readonly (string | null)[];
}

/** Which keys a reader of JSON Lines takes, in this order, and which it passes over. All in NFC. */
export interface JsonKeys {
  readonly columns: readonly string[];
  readonly ignored: ReadonlySet<string>;
}

/**
 * Reads JSON Lines as they arrive, in constant memory, and yields rows in small groups.
 *
 * Each line is one object of RFC 8259 whose values are text, numbers, true, false or null. Lines end in LF or CRLF;
 * the last may lack it; an empty line is no row and refused. UTF-8, with or without a byte order mark. A number keeps
 * its literal, so that no digit is lost on the way. A key twice is refused, whatever it is.
 *
 * @throws {@link MalformedError} SCHEMA_ROW_MALFORMED with `line`, `column` (null outside a value) and `expected`;
 * SCHEMA_UNKNOWN_COLUMN for a key that is neither asked for nor ignored. Never says a value.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE for a line, a key, a text or a number of keys above the limits.
 * @see RFC 8259; jsonlines.org
 */
export async function* readJsonLines(
  source: AsyncIterable<Uint8Array>,
  keys: JsonKeys,
): AsyncGenerator<JsonRow[]> {
  const reader = new LineReader(new ObjectReader(keys));
  for await (const bytes of source) {
    const rows = reader.push(bytes);
    if (rows.length > 0) yield rows;
  }
  const rows = reader.end();
  if (rows.length > 0) yield rows;
}

/** Cuts bytes into lines; holds at most one unfinished line. */
class LineReader {
  readonly #objects: ObjectReader;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #line = 1;
  #offset = 0;

  constructor(objects: ObjectReader) {
    this.#objects = objects;
  }

  push(bytes: Uint8Array): JsonRow[] {
    const rows: JsonRow[] = [];
    let from = 0;
    for (;;) {
      const feed = bytes.indexOf(LINE_FEED, from);
      if (feed < 0) break;
      rows.push(this.#take(bytes.subarray(from, feed + 1)));
      from = feed + 1;
    }
    if (from < bytes.length) this.#hold(bytes.slice(from));
    return rows;
  }

  end(): JsonRow[] {
    return this.#heldBytes === 0 ? [] : [this.#take(new Uint8Array(0))];
  }

  #hold(bytes: Uint8Array): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > JSON_LINE_BYTES_MAX) throw this.#tooLong();
    this.#held.push(bytes);
  }

  #take(last: Uint8Array): JsonRow {
    const length = this.#heldBytes + last.length;
    if (length > JSON_LINE_BYTES_MAX) throw this.#tooLong();
    const bytes = this.#held.length === 0 ? last : Buffer.concat([...this.#held, last]);
    this.#held = [];
    this.#heldBytes = 0;
    const line = this.#line;
    const marked = line === 1 && BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
    this.#line += 1;
    this.#offset += length;
    const text = this.#decode(marked ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes, line);
    return { line, end: this.#offset, cells: this.#objects.read(text, line) };
  }

  #decode(bytes: Uint8Array, line: number): string {
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw rowMalformed({ line, column: null, expected: "UTF-8 text" }, cause);
    }
  }

  #tooLong(): LimitError {
    return tooLarge(this.#line, `${JSON_LINE_BYTES_MAX} bytes`, JSON_LINE_BYTES_MAX);
  }
}

const BLANK = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** What makes a text between two quotes more than its characters: a backslash or a control character. */
const ESCAPED = /\\|[^ -\uffff]/;
const WORDS = [
  { word: "true", cell: "1" },
  { word: "false", cell: "0" },
  { word: "null", cell: null },
] as const;

/** Reads one object of a line. Values are not nested, so neither is this. */
class ObjectReader {
  readonly #columns: ReadonlyMap<string, number>;
  readonly #empty: readonly null[];
  readonly #ignored: ReadonlySet<string>;
  #text = "";
  #line = 0;
  #at = 0;
  #column: string | null = null;

  constructor({ columns, ignored }: JsonKeys) {
    this.#columns = new Map(columns.map((name, index) => [name, index]));
    this.#empty = columns.map(() => null);
    this.#ignored = ignored;
  }

  read(text: string, line: number): (string | null)[] {
    this.#text = text;
    this.#line = line;
    this.#at = 0;
    this.#column = null;
    const cells: (string | null)[] = [...this.#empty];
    const seen = new Set<string>();
    this.#skip("{", "an object");
    if (!this.#skips("}")) {
      do this.#pair(cells, seen);
      while (this.#skips(","));
      this.#skip("}", "a comma or the end of the object");
    }
    this.#column = null;
    this.#blank();
    if (this.#at < text.length) throw this.#malformed("one object and the end of the line");
    return cells;
  }

  #pair(cells: (string | null)[], seen: Set<string>): void {
    this.#column = null;
    this.#blank();
    if (this.#text[this.#at] !== '"') throw this.#malformed("a key in quotes");
    const key = this.#string(KEY_MAX).normalize("NFC");
    if (seen.has(key)) throw this.#malformed(`each key once, got one twice`);
    seen.add(key);
    if (seen.size > KEYS_MAX) throw tooLarge(this.#line, `${KEYS_MAX} keys`, KEYS_MAX);
    const index = this.#columns.get(key);
    if (index === undefined && !this.#ignored.has(key)) throw unknownKey(this.#line, key);
    this.#column = key;
    this.#skip(":", "a colon");
    const cell = this.#value();
    if (index !== undefined) cells[index] = cell;
  }

  #value(): string | null {
    this.#blank();
    const first = this.#text[this.#at];
    if (first === '"') return this.#string(TEXT_MAX);
    if (first === "{" || first === "[") throw this.#malformed("a plain value, got a nested one");
    for (const { word, cell } of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return cell;
    }
    NUMBER.lastIndex = this.#at;
    const [literal] = NUMBER.exec(this.#text) ?? [];
    if (literal === undefined) throw this.#malformed("text, a number, true, false or null");
    this.#at += literal.length;
    return literal;
  }

  /** The text between the quote here and the next that is not escaped. */
  #string(max: number): string {
    const from = this.#at + 1;
    let quote = this.#text.indexOf('"', from);
    while (quote > from && this.#isEscaped(quote, from)) quote = this.#text.indexOf('"', quote + 1);
    if (quote < 0) throw this.#malformed("a closing quote");
    const inside = this.#text.slice(from, quote);
    this.#at = quote + 1;
    const text = ESCAPED.test(inside) ? this.#unescape(inside) : inside;
    if (text.length > max) throw tooLarge(this.#line, `${max} characters of text`, max);
    return text;
  }

  /** Whether an odd number of backslashes stands before `quote`. */
  #isEscaped(quote: number, from: number): boolean {
    let at = quote - 1;
    while (at >= from && this.#text[at] === "\\") at -= 1;
    return (quote - 1 - at) % 2 === 1;
  }

  #unescape(inside: string): string {
    try {
      return String(JSON.parse(`"${inside}"`));
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      // The cause quotes the text, so it is not kept.
      throw this.#malformed("escapes and characters of JSON text");
    }
  }

  #blank(): void {
    BLANK.lastIndex = this.#at;
    this.#at += BLANK.exec(this.#text)?.[0].length ?? 0;
  }

  #skips(character: string): boolean {
    this.#blank();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #skip(character: string, expected: string): void {
    if (!this.#skips(character)) throw this.#malformed(expected);
  }

  #malformed(expected: string): MalformedError {
    return rowMalformed({ line: this.#line, column: this.#column, expected });
  }
}

function rowMalformed(
  place: { readonly line: number; readonly column: string | null; readonly expected: string },
  cause?: unknown,
): MalformedError {
  const { line, column, expected } = place;
  const named = column === null ? `line ${line}` : `line ${line}, column ${column}`;
  return new MalformedError(
    { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
    `${named}: expected ${expected}`,
    cause === undefined ? undefined : { cause },
  );
}

function unknownKey(line: number, key: string): MalformedError {
  const column = key.slice(0, 64);
  return new MalformedError(
    { code: "SCHEMA_UNKNOWN_COLUMN", line, column, problem: "unknown" },
    `line ${line}, column ${column}: expected a column that the mapping takes or ignores`,
  );
}

function tooLarge(line: number, most: string, max: number): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", line, max },
    `line ${line}: expected at most ${most}`,
  );
}
