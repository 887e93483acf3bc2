import type { KeyObject } from "node:crypto";

import { SUBJECT_ID_BYTES, putLatin1 } from "#protocol";

import { pseudonymText } from "../custody/secrets.ts";

/** Pseudonyms that are kept, a power of two: more subjects than a batch has rows. */
const KEPT = 16_384;
/** The longest subject whose pseudonym is kept, in bytes. */
const SUBJECT_BYTES = 48;

/** FNV-1a, 32 bits: to find a place, not to keep anything apart. */
const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;

/**
 * The pseudonyms of subjects, one after the other. Remembers some, since sources repeat subjects: each has one place,
 * where the last subject that belongs there is, so that nothing is allocated for one that does not come again.
 */
export class Pseudonyms {
  readonly #key: KeyObject;
  readonly #lengths = new Uint8Array(KEPT);
  readonly #subjects = new Uint8Array(KEPT * SUBJECT_BYTES);
  readonly #kept = new Uint8Array(KEPT * SUBJECT_ID_BYTES);
  readonly #text = Buffer.alloc(3 * SUBJECT_BYTES);
  /** The pseudonym of the last subject taken, until the next is. */
  readonly last = new Uint8Array(SUBJECT_ID_BYTES);

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Takes a subject in UTF-8: `bytes` in [from, to). Returns false for one that is blank. */
  takeBytes(bytes: Buffer, from: number, to: number): boolean {
    const length = to - from;
    if (length > SUBJECT_BYTES) return this.#derive(bytes.toString("utf8", from, to));
    const place = placeOf(bytes, from, to);
    if (length > 0 && this.#lengths[place] === length && this.#isAt(place, bytes, from)) {
      copy(this.#kept, place * SUBJECT_ID_BYTES, this.last);
      return true;
    }
    if (!this.#derive(bytes.toString("utf8", from, to))) return false;
    this.#lengths[place] = length;
    const start = place * SUBJECT_BYTES;
    for (let at = 0; at < length; at += 1) this.#subjects[start + at] = bytes[from + at] ?? 0;
    for (let at = 0; at < SUBJECT_ID_BYTES; at += 1) {
      this.#kept[place * SUBJECT_ID_BYTES + at] = this.last[at] ?? 0;
    }
    return true;
  }

  /** Takes a subject. Returns false for one that is blank. */
  takeText(subject: string): boolean {
    if (subject.length > SUBJECT_BYTES) return this.#derive(subject);
    return this.takeBytes(this.#text, 0, this.#text.write(subject));
  }

  #isAt(place: number, bytes: Uint8Array, from: number): boolean {
    const start = place * SUBJECT_BYTES;
    const length = this.#lengths[place] ?? 0;
    for (let at = 0; at < length; at += 1) {
      if (this.#subjects[start + at] !== bytes[from + at]) return false;
    }
    return true;
  }

  #derive(subject: string): boolean {
    if (subject.trim() === "") return false;
    putLatin1(this.last, 0, pseudonymText(this.#key, subject));
    return true;
  }
}

function placeOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = FNV_OFFSET;
  for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), FNV_PRIME);
  return (hash ^ (hash >>> 15)) & (KEPT - 1);
}

function copy(from: Uint8Array, start: number, to: Uint8Array): void {
  for (let at = 0; at < to.length; at += 1) to[at] = from[start + at] ?? 0;
}
