import { createHash } from "node:crypto";

/** A cell as its reader found it: text, bytes for an attribute of bytes, or null for nothing. */
export type Cell = string | Uint8Array | null;

/** Where a row stands in its source. */
export interface RowPlace {
  /** Line on which the row begins, from 1; for sources without lines, the number of the row. */
  readonly line: number;
  /** Bytes of the source up to the end of the row. Grows with every row. */
  readonly end: number;
}

/** What is wrong with a row: never a value. */
export interface RowFault {
  /** Name of the source's column; null when the row as a whole is at fault. */
  readonly column: string | null;
  readonly expected: string;
}

/** A row of a source; its cells are in the order of the source's columns. */
export interface ReadRow extends RowPlace {
  readonly cells: readonly Cell[];
}

/** A row that its reader could not take, though it can go on after it. */
export interface FaultyRow extends RowPlace {
  readonly fault: RowFault;
}

/** See {@link ReadRow} and {@link FaultyRow}. */
export type SourceRow = ReadRow | FaultyRow;

/**
 * What an ingest reads from: rows in groups, in constant memory, and digests of what the rows were read from.
 *
 * A reader refuses what it cannot go on after with MalformedError SCHEMA_ROW_MALFORMED or LimitError SCHEMA_TOO_LARGE,
 * naming the line, and passes on the errors of the stream that it reads.
 */
export interface RowSource {
  /** Names of the columns, known before the first row. */
  readonly columns: readonly string[];
  /** To be read once. */
  readonly rows: AsyncIterable<readonly SourceRow[]>;
  /**
   * SHA-256 of the first `end` bytes; `end` is that of a row that was yielded and not below the last one asked for. An
   * ingest asks at least once in 16 MiB, so that a reader holds no more.
   */
  digestAt(end: number): Uint8Array;
  /** SHA-256 of the whole source, once its rows have ended. */
  digest(): Uint8Array;
}

/** Bytes whose rows are in memory at once, and after which an ingest may stop, whatever the sender's chunks are. */
const PIECE_BYTES = 256 * 1024;

/** Digests of the prefixes of a byte stream; holds the bytes since the last prefix it was asked for. */
export class PrefixDigest {
  readonly #hash = createHash("sha256");
  #held: Uint8Array[] = [];
  #hashed = 0;

  /** Passes `source` on in small pieces and takes note of it. They are kept, so nobody may write to them. */
  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        this.#held.push(piece);
        yield piece;
      }
    }
  }

  /** SHA-256 of the first `end` bytes that have passed; see {@link RowSource.digestAt}. */
  at(end: number): Uint8Array {
    const held = this.#held;
    this.#held = [];
    for (const bytes of held) {
      const taken = Math.min(bytes.length, end - this.#hashed);
      this.#hash.update(bytes.subarray(0, taken));
      this.#hashed += taken;
      if (taken < bytes.length) this.#held.push(bytes.subarray(taken));
    }
    return new Uint8Array(this.#hash.copy().digest());
  }

  /** SHA-256 of all bytes that have passed. */
  whole(): Uint8Array {
    return this.at(Infinity);
  }
}
