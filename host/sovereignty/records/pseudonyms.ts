import { hash, type KeyObject } from "node:crypto";

import { SUBJECT_ID_BYTES, putLatin1, utf8 } from "#protocol";

/** Of SHA-256, and the two paddings of a key. RFC 2104 § 2, FIPS 180-4 § 1 */
const BLOCK_BYTES = 64;
const INNER = 0x36;
const OUTER = 0x5c;

/** The longest subject that is hashed where it was hashed before. */
const SHORT_BYTES = 256;

/**
 * The pseudonyms of subjects, one after the other: `pseudonymOf` of each, in a third of its time.
 *
 *     HMAC(key, subject) = SHA-256((key ^ opad) || SHA-256((key ^ ipad) || subject))
 *
 * An object of node:crypto for each subject costs more than all hashes of its record. So these are the two one-shot
 * hashes that RFC 2104 says an HMAC is, over memory in which the padded key stands already; tests compare with
 * node:crypto's own. See ADR 32.
 */
export class Pseudonyms {
  readonly #inner: Buffer;
  readonly #outer: Buffer;
  /** By length of the subject: the beginning of `#inner` that it takes. */
  readonly #views: (Buffer | undefined)[] = [];
  /** The pseudonym of the last subject taken, until the next is. */
  readonly last = new Uint8Array(SUBJECT_ID_BYTES);

  /** @param key - Of at most 64 bytes. */
  constructor(key: KeyObject) {
    const bytes = key.export();
    this.#inner = Buffer.alloc(BLOCK_BYTES + SHORT_BYTES);
    this.#outer = Buffer.alloc(BLOCK_BYTES + SUBJECT_ID_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 1) {
      const byte = bytes[at] ?? 0;
      this.#inner[at] = byte ^ INNER;
      this.#outer[at] = byte ^ OUTER;
    }
    bytes.fill(0);
  }

  /** Takes a subject in ASCII: `bytes` in [from, to). Returns false for one that is blank. */
  takeAscii(bytes: Uint8Array, from: number, to: number): boolean {
    let start = from;
    let end = to;
    while (start < end && isBlank(bytes[start])) start += 1;
    while (start < end && isBlank(bytes[end - 1])) end -= 1;
    if (start === end) return false;
    this.#derive(bytes, start, end);
    return true;
  }

  /** Takes a subject. Returns false for one that is blank. */
  takeText(subject: string): boolean {
    const value = subject.normalize("NFC").trim();
    if (value === "") return false;
    const bytes = utf8(value);
    this.#derive(bytes, 0, bytes.length);
    return true;
  }

  /** Overwrites what is left of the last subject. */
  forget(): void {
    this.#inner.fill(0, BLOCK_BYTES);
    this.last.fill(0);
  }

  #derive(bytes: Uint8Array, from: number, to: number): void {
    const inner = this.#innerOf(to - from);
    for (let at = from; at < to; at += 1) inner[BLOCK_BYTES + at - from] = bytes[at] ?? 0;
    putLatin1(this.#outer, BLOCK_BYTES, hash("sha256", inner, "binary"));
    if (to - from > SHORT_BYTES) inner.fill(0);
    putLatin1(this.last, 0, hash("sha256", this.#outer, "binary"));
  }

  #innerOf(length: number): Buffer {
    if (length <= SHORT_BYTES) {
      return (this.#views[length] ??= this.#inner.subarray(0, BLOCK_BYTES + length));
    }
    const long = Buffer.alloc(BLOCK_BYTES + length);
    long.set(this.#inner.subarray(0, BLOCK_BYTES));
    return long;
  }
}

/** What `trim` takes for blank in ASCII: tab, line ends and their like, space. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
