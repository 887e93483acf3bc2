/** Most bytes of a row. */
export const CSV_ROW_BYTES_MAX = 4 * 1024 * 1024;

const START_BYTES = 64 * 1024;
const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Some rows of a CSV source, as they stand in it. Plain data: it goes to other threads. */
export interface CsvStretch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Line on which its first row begins, from 1. */
  readonly line: number;
  /** Bytes of the source before it, and up to its end. */
  readonly start: number;
  readonly end: number;
  /** Rows, if the text is RFC 4180; never fewer. */
  readonly rows: number;
  /** What is at its end: that of a row, that of the source, or neither where a row is longer than any may be. */
  readonly ending: "row" | "source" | "row too long";
}

/** Where a stretch ends: with the first row that is its last one by number, or that ends there or later. */
export interface StretchLimit {
  readonly rowsMax: number;
  /** Bytes of the source. */
  readonly endMin: number;
}

/**
 * Cuts CSV at ends of rows, without reading the rows. Every byte is looked at once, in whatever pieces it comes.
 *
 * A line feed ends a row when the quotes before it are paired. That holds for RFC 4180 text. In other text a stretch
 * may end elsewhere, but never before the first fault: who reads the stretches in their order meets that first.
 */
export class CsvCutter {
  readonly #skipsBlank: boolean;
  /** What was pushed and not cut: [#from, #to), of which [#scanned, #to) was not looked at. */
  #held = new Uint8Array(START_BYTES);
  #from = 0;
  #scanned = 0;
  #to = 0;
  /** Bytes of the source before `#held`. */
  #offset = 0;
  #isQuoted = false;
  /** Line of `#from`, and line feeds in what was scanned since. */
  #line = 1;
  #lineFeeds = 0;
  /** End of the last whole row, and the rows and line feeds up to there since `#from`. */
  #rowEnd = 0;
  #rows = 0;
  #rowLineFeeds = 0;
  #rowsBefore = 0;

  constructor({ skipsBlank }: { readonly skipsBlank: boolean }) {
    this.#skipsBlank = skipsBlank;
  }

  /** Whole rows so far, and the bytes of the source up to the end of the last one. */
  get rows(): number {
    return this.#rowsBefore + this.#rows;
  }

  get end(): number {
    return this.#offset + this.#rowEnd;
  }

  /** Takes the next bytes of the source; copies them. */
  push(bytes: Uint8Array): void {
    if (this.#to + bytes.length > this.#held.length) this.#makeRoom(bytes.length);
    this.#held.set(bytes, this.#to);
    this.#to += bytes.length;
  }

  /** The next stretch; undefined when its end has not come yet. */
  cut(limit: StretchLimit): CsvStretch | undefined {
    if (this.#scan(limit)) return this.#take(this.#rowEnd, "row");
    if (this.#to - this.#rowEnd <= CSV_ROW_BYTES_MAX) return undefined;
    return this.#take(this.#to, "row too long");
  }

  /** All whole rows that have come; undefined when there are none. */
  whole(): CsvStretch | undefined {
    const cut = this.cut({ rowsMax: Infinity, endMin: Infinity });
    return cut ?? (this.#rowEnd > this.#from ? this.#take(this.#rowEnd, "row") : undefined);
  }

  /** What is left when the source has ended and no stretch can be cut any more; undefined when that is nothing. */
  rest(): CsvStretch | undefined {
    return this.#to > this.#from ? this.#take(this.#to, "source") : undefined;
  }

  /** Looks at what is new, up to the end of a stretch. Returns whether that has come. */
  #scan({ rowsMax, endMin }: StretchLimit): boolean {
    const held = this.#held;
    const to = this.#to;
    const endAt = endMin - this.#offset;
    let at = this.#scanned;
    let isQuoted = this.#isQuoted;
    let isEnd = false;
    while (at < to && !isEnd) {
      const byte = held[at] ?? 0;
      at += 1;
      if (byte > QUOTE) continue;
      if (byte === QUOTE) isQuoted = !isQuoted;
      if (byte !== LINE_FEED) continue;
      this.#lineFeeds += 1;
      if (isQuoted) continue;
      this.#endRow(at);
      isEnd = this.#rows >= rowsMax || at >= endAt;
    }
    this.#scanned = at;
    this.#isQuoted = isQuoted;
    return isEnd;
  }

  #endRow(at: number): void {
    const length = at - this.#rowEnd;
    const isBlank = length === 1 || (length === 2 && this.#held[this.#rowEnd] === CARRIAGE_RETURN);
    this.#rowEnd = at;
    this.#rowLineFeeds = this.#lineFeeds;
    if (!isBlank || !this.#skipsBlank) this.#rows += 1;
  }

  #take(to: number, ending: CsvStretch["ending"]): CsvStretch {
    const from = this.#from;
    const isPartial = to > this.#rowEnd;
    const rows = this.#rows + (isPartial ? 1 : 0);
    const stretch = {
      bytes: this.#held.slice(from, to),
      line: this.#line,
      start: this.#offset + from,
      end: this.#offset + to,
      rows,
      ending,
    };
    this.#from = to;
    this.#rowEnd = to;
    const lineFeeds = isPartial ? this.#lineFeeds : this.#rowLineFeeds;
    this.#line += lineFeeds;
    this.#lineFeeds -= lineFeeds;
    this.#rowLineFeeds = 0;
    this.#rowsBefore += rows;
    this.#rows = 0;
    return stretch;
  }

  #makeRoom(bytes: number): void {
    const left = this.#to - this.#from;
    const from = this.#from;
    let held = this.#held;
    if (left + bytes > held.length) held = new Uint8Array(Math.max(left + bytes, left * 2));
    held.set(this.#held.subarray(from, this.#to));
    // What is held twice or no longer is plaintext of records.
    if (held === this.#held) held.fill(0, left);
    else this.#held.fill(0);
    this.#held = held;
    this.#offset += from;
    this.#from = 0;
    this.#to = left;
    this.#scanned -= from;
    this.#rowEnd -= from;
  }
}
