/** Numbers that a seeded run can make again: the same seed, stream and index always give the same input. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  constructor(seed: number, stream: string, index: number) {
    let state = (seed ^ 0x9e3779b9) >>> 0;
    for (let at = 0; at < stream.length; at++) {
      state = Math.imul(state ^ stream.charCodeAt(at), 0x01000193) >>> 0;
    }
    const mix = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return word ^ (word >>> 15);
    };
    this.#a = mix() ^ index;
    this.#b = mix();
    this.#c = mix() ^ Math.floor(index / 2 ** 32);
    for (let round = 0; round < 8; round++) this.word();
  }

  /** 32 uniform bits (sfc32 by Chris Doty-Humphrey, PractRand). */
  word(): number {
    const sum = (this.#a + this.#b + this.#count++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor((this.word() / 2 ** 32) * bound);
  }

  /** A whole number in [from, to]. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True once in `times` times. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("pick: expected items, got none");
    return item;
  }

  /** A length in [0, max]: mostly short, now and then near `max`. */
  length(max: number): number {
    if (this.once(64)) return max - this.below(Math.min(max, 8) + 1);
    return (
      Math.floor(Math.exp((this.word() / 2 ** 32) * Math.log(max + 1))) - (this.once(2) ? 1 : 0)
    );
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 4) {
      const word = this.word();
      bytes[at] = word;
      bytes[at + 1] = word >>> 8;
      bytes[at + 2] = word >>> 16;
      bytes[at + 3] = word >>> 24;
    }
    return bytes;
  }
}
