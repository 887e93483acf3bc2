import { createHmac, type KeyObject } from "node:crypto";

import { SUBJECT_ID_BYTES, putLatin1, utf8 } from "#protocol";

/** The pseudonyms of subjects, one after the other: `pseudonymOf` of each, in memory that they share. */
export class Pseudonyms {
  readonly #key: KeyObject;
  /** The pseudonym of the last subject taken, until the next is. */
  readonly last = new Uint8Array(SUBJECT_ID_BYTES);

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** Takes a subject in ASCII: `bytes` in [from, to). Returns false for one that is blank. */
  takeAscii(bytes: Uint8Array, from: number, to: number): boolean {
    let start = from;
    let end = to;
    while (start < end && isBlank(bytes[start])) start += 1;
    while (start < end && isBlank(bytes[end - 1])) end -= 1;
    if (start === end) return false;
    this.#derive(bytes.subarray(start, end));
    return true;
  }

  /** Takes a subject. Returns false for one that is blank. */
  takeText(subject: string): boolean {
    const value = subject.normalize("NFC").trim();
    if (value === "") return false;
    this.#derive(utf8(value));
    return true;
  }

  /** Overwrites what is left of the last subject. */
  forget(): void {
    this.last.fill(0);
  }

  #derive(subject: Uint8Array): void {
    putLatin1(this.last, 0, createHmac("sha256", this.#key).update(subject).digest("binary"));
  }
}

/** What `trim` takes for blank in ASCII: tab, line ends and their like, space. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
