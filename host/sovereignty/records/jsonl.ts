import { LimitError, MalformedError } from "#protocol";

import { PrefixDigest, type RowSource, type SourceRow } from "./source.ts";

/** The longest line in bytes, and the longest key and text in UTF-16 units. */
export const JSON_LINE_BYTES_MAX = 1024 * 1024;
const KEY_MAX = 1024;
const TEXT_MAX = 64 * 1024;
/** Most keys of a line; a CSV row has no more cells. */
const KEYS_MAX = 256;

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** Which keys a reader of JSON Lines takes, in this order, and which it passes over. All in NFC. */
export interface JsonKeys {
  readonly columns: readonly string[];
  readonly ignored: ReadonlySet<string>;
  /** Told what a line has under an ignored key. */
  readonly passed?: (key: string, cell: string | null) => void;
}

/**
 * Reads JSON Lines as they arrive, in constant memory.
 *
 * Each line is one object of RFC 8259 whose values are text, numbers, true, false or null. Lines end in LF or CRLF;
 * the last may lack it; an empty line is no row and at fault. UTF-8, with or without a byte order mark. A number keeps
 * its literal, so that no digit is lost on the way; true and false are 1 and 0; null and a key that is not there are
 * no value. A key twice is at fault, whatever it is.
 *
 * @returns The rows; a line that is no such object is a row at fault. From `rows`:
 * @throws {@link MalformedError} SCHEMA_UNKNOWN_COLUMN for a key that is neither asked for nor ignored.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE for a line, a key, a text or a number of keys above the limits.
 * @see RFC 8259; jsonlines.org
 */
export function openJsonLines(source: AsyncIterable<Uint8Array>, keys: JsonKeys): RowSource {
  const prefix = new PrefixDigest();
  return {
    columns: keys.columns,
    rows: readRows(prefix.through(source), new LineReader(new ObjectReader(keys))),
    digestAt: (end) => prefix.at(end),
    digest: () => prefix.whole(),
  };
}

async function* readRows(
  source: AsyncIterable<Uint8Array>,
  reader: LineReader,
): AsyncGenerator<readonly SourceRow[]> {
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

  push(bytes: Uint8Array): SourceRow[] {
    const rows: SourceRow[] = [];
    let from = 0;
    for (;;) {
      const feed = bytes.indexOf(LINE_FEED, from);
      if (feed < 0) break;
      rows.push(this.#take(bytes.subarray(from, feed + 1)));
      from = feed + 1;
    }
    if (from < bytes.length) this.#hold(bytes.subarray(from));
    return rows;
  }

  end(): SourceRow[] {
    return this.#heldBytes === 0 ? [] : [this.#take(new Uint8Array(0))];
  }

  #hold(bytes: Uint8Array): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > JSON_LINE_BYTES_MAX) throw this.#tooLong();
    this.#held.push(bytes);
  }

  #take(last: Uint8Array): SourceRow {
    const length = this.#heldBytes + last.length;
    if (length > JSON_LINE_BYTES_MAX) throw this.#tooLong();
    const bytes = this.#held.length === 0 ? last : Buffer.concat([...this.#held, last]);
    this.#held = [];
    this.#heldBytes = 0;
    const line = this.#line;
    this.#line += 1;
    this.#offset += length;
    const place = { line, end: this.#offset };
    try {
      return { ...place, cells: this.#objects.read(this.#decode(bytes, line), line) };
    } catch (error) {
      if (!(error instanceof LineFault)) throw error;
      return { ...place, fault: { column: error.column, expected: error.expected } };
    }
  }

  #decode(bytes: Uint8Array, line: number): string {
    const marked = line === 1 && BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
    try {
      return this.#decoder.decode(marked ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes);
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new LineFault(null, "UTF-8 text");
    }
  }

  #tooLong(): LimitError {
    return tooLarge(this.#line, `${JSON_LINE_BYTES_MAX} bytes`, JSON_LINE_BYTES_MAX);
  }
}

/** What is wrong with one line; becomes a row at fault and goes no further. */
class LineFault extends Error {
  readonly column: string | null;
  readonly expected: string;

  constructor(column: string | null, expected: string) {
    super(expected);
    this.column = column;
    this.expected = expected;
  }
}

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
  readonly #passed: JsonKeys["passed"];
  #text = "";
  #line = 0;
  #at = 0;
  #column: string | null = null;

  constructor({ columns, ignored, passed }: JsonKeys) {
    this.#columns = new Map(columns.map((name, index) => [name, index]));
    this.#empty = columns.map(() => null);
    this.#ignored = ignored;
    this.#passed = passed;
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
    if (this.#at < text.length) throw this.#fault("one object and the end of the line");
    return cells;
  }

  #pair(cells: (string | null)[], seen: Set<string>): void {
    this.#column = null;
    this.#blank();
    if (this.#text[this.#at] !== '"') throw this.#fault("a key in quotes");
    const written = this.#string(KEY_MAX);
    const key = this.#columns.has(written) ? written : written.normalize("NFC");
    if (seen.has(key)) throw this.#fault("each key once, got one twice");
    seen.add(key);
    if (seen.size > KEYS_MAX) throw tooLarge(this.#line, `${KEYS_MAX} keys`, KEYS_MAX);
    const index = this.#columns.get(key);
    if (index === undefined && !this.#ignored.has(key)) throw unknownKey(this.#line, key);
    this.#column = key;
    this.#skip(":", "a colon");
    const cell = this.#value();
    if (index === undefined) this.#passed?.(key, cell);
    else cells[index] = cell;
  }

  #value(): string | null {
    this.#blank();
    const first = this.#text[this.#at];
    if (first === '"') return this.#string(TEXT_MAX);
    if (first === "{" || first === "[") throw this.#fault("a plain value, got a nested one");
    for (const { word, cell } of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return cell;
    }
    NUMBER.lastIndex = this.#at;
    const [literal] = NUMBER.exec(this.#text) ?? [];
    if (literal === undefined) throw this.#fault("text, a number, true, false or null");
    this.#at += literal.length;
    return literal;
  }

  /** The text between the quote here and the next that is not escaped. */
  #string(max: number): string {
    const from = this.#at + 1;
    let quote = this.#text.indexOf('"', from);
    while (quote > from && this.#isEscaped(quote, from)) quote = this.#text.indexOf('"', quote + 1);
    if (quote < 0) throw this.#fault("a closing quote");
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
      throw this.#fault("escapes and characters of JSON text");
    }
  }

  #blank(): void {
    while (isBlank(this.#text.charCodeAt(this.#at))) this.#at += 1;
  }

  #skips(character: string): boolean {
    this.#blank();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #skip(character: string, expected: string): void {
    if (!this.#skips(character)) throw this.#fault(expected);
  }

  #fault(expected: string): LineFault {
    return new LineFault(this.#column, expected);
  }
}

/** Space, tab, line feed and carriage return. RFC 8259 § 2 */
function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0d;
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
