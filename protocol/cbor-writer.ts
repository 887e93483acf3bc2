import { LimitError } from "./errors.ts";
import { utf8 } from "./bytes.ts";

/** Major types that are written here. RFC 8949 § 3.1 */
const UNSIGNED = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
const ARRAY = 0x80;
const MAP = 0xa0;
const NULL = 0xf6;

const HEAD_BYTES_MAX = 9;
const START_BYTES = 4096;
/** Bytes that a loop copies faster than a call does. */
const SHORT_BYTES = 64;
/** The longest of the arrays that are kept. */
const VIEWS_MAX = 4096;
const ASCII_END = 0x80;
const TWO_32 = 0x1_0000_0000;

/**
 * Deterministic CBOR (RFC 8949 § 4.2.1) of plain items, one after the other, in one growing array. For what is written
 * too often for `encodeCbor`, whose bytes these are. Judges nothing: its callers know that a number is a safe integer
 * and that text is well-formed and in NFC.
 */
export class CborWriter {
  readonly #bytesMax: number;
  #bytes: Uint8Array = new Uint8Array(START_BYTES);
  #views: (Uint8Array | undefined)[] = [];
  #length = 0;

  /** @param bytesMax - What it may grow to. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#length;
  }

  /** What was written, without a copy: valid until the next write. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** As {@link written}. The arrays are kept: for what is asked for as often as it is written. */
  get view(): Uint8Array {
    const length = this.#length;
    if (length > VIEWS_MAX) return this.written;
    return (this.#views[length] ??= this.written);
  }

  /** Overwrites what was written at `at`. */
  patch(at: number, bytes: Uint8Array): void {
    const target = this.#bytes;
    for (let index = 0; index < bytes.length; index += 1) target[at + index] = bytes[index] ?? 0;
  }

  /** Forgets what was written from `length` on. */
  cut(length: number): void {
    this.#length = Math.min(length, this.#length);
  }

  /** Overwrites everything with zeros and starts anew. */
  wipe(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  null(): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = NULL;
  }

  /** @param value - A safe integer. */
  integer(value: number): void {
    if (value < 0) this.#head(NEGATIVE, -1 - value);
    else this.#head(UNSIGNED, value);
  }

  /** @param value - Well-formed text in NFC. */
  text(value: string): void {
    const bytes = utf8(value);
    this.textOf(bytes, 0, bytes.length);
  }

  /** Text whose UTF-8 is `bytes` in [from, to). */
  textOf(bytes: Uint8Array, from: number, to: number): void {
    this.#head(TEXT, to - from);
    this.#copy(bytes, from, to);
  }

  /** Text of `bytes` in [from, to) if that is ASCII; returns false, having written nothing, when it is not. */
  asciiOf(bytes: Uint8Array, from: number, to: number): boolean {
    const start = this.#length;
    this.#head(TEXT, to - from);
    const target = this.#bytes;
    let length = this.#length;
    let all = 0;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? ASCII_END;
      all |= byte;
      target[length] = byte;
      length += 1;
    }
    this.#length = all < ASCII_END ? length : start;
    return all < ASCII_END;
  }

  bytes(value: Uint8Array): void {
    this.#head(BYTES, value.length);
    this.#copy(value, 0, value.length);
  }

  /** The head of an array whose items are written next. */
  array(length: number): void {
    this.#head(ARRAY, length);
  }

  /** The head of a map whose keys and values are written next, in canonical order. */
  map(entries: number): void {
    this.#head(MAP, entries);
  }

  /** Bytes as they are: items encoded elsewhere. */
  raw(bytes: Uint8Array, from = 0, to: number = bytes.length): void {
    this.#reserve(to - from);
    this.#copy(bytes, from, to);
  }

  /** What another writer wrote in [from, to). */
  part(other: CborWriter, from: number, to: number): void {
    this.raw(other.#bytes, from, to);
  }

  /** Shortest form. RFC 8949 § 3, § 4.2.1. Leaves room for the content that a head announces. */
  #head(major: number, value: number): void {
    const content = major === BYTES || major === TEXT ? value : 0;
    this.#reserve(HEAD_BYTES_MAX + content);
    if (value < 24) this.#bytes[this.#length++] = major | value;
    else if (value < 0x100) this.#argument(major | 24, value, 1);
    else if (value < 0x1_0000) this.#argument(major | 25, value, 2);
    else if (value < TWO_32) this.#argument(major | 26, value, 4);
    else {
      this.#argument(major | 27, Math.floor(value / TWO_32), 4);
      this.#bigEndian(value % TWO_32, 4);
    }
  }

  #argument(initial: number, value: number, width: number): void {
    this.#bytes[this.#length++] = initial;
    this.#bigEndian(value, width);
  }

  #bigEndian(value: number, width: number): void {
    for (let shift = (width - 1) * 8; shift >= 0; shift -= 8) {
      this.#bytes[this.#length++] = (value >>> shift) & 0xff;
    }
  }

  #copy(from: Uint8Array, start: number, end: number): void {
    const bytes = this.#bytes;
    const length = this.#length;
    const count = end - start;
    this.#length = length + count;
    if (count > SHORT_BYTES) bytes.set(from.subarray(start, end), length);
    else for (let at = 0; at < count; at += 1) bytes[length + at] = from[start + at] ?? 0;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    if (needed > this.#bytesMax + HEAD_BYTES_MAX) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", bytes: needed, max: this.#bytesMax },
        `cbor: expected at most ${this.#bytesMax} bytes, got more`,
      );
    }
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.written);
    // What it holds may be plaintext of records.
    this.#bytes.fill(0);
    this.#bytes = grown;
    this.#views = [];
  }
}
