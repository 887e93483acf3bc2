import { sha256, utf8, concat } from "#protocol";

/**
 * A reproducible stream of pseudo-random numbers: SHA-256 over a label and a counter.
 *
 * For made-up data only, never for noise or keys: whoever knows the label knows the stream.
 */
export class DataStream {
  readonly #label: Uint8Array;
  #counter = 0n;
  #block: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** Equal labels give equal streams. */
  constructor(label: string) {
    this.#label = utf8(`symphony/demo-data/v1/${label}/`);
  }

  /** The next integer of [0, `bound`), evenly likely; `bound` of [1, 2^32]. */
  below(bound: number): number {
    const fair = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const value = this.#word();
      if (value < fair) return value % bound;
    }
  }

  /** The next integer of [`low`, `high`], heaped in the middle: the mean of four even draws. */
  heaped(low: number, high: number): number {
    const span = high - low + 1;
    const sum = this.below(span) + this.below(span) + this.below(span) + this.below(span);
    return low + Math.floor(sum / 4);
  }

  /** The next number of [0, 1), a multiple of 2^-32. */
  unit(): number {
    return this.#word() / 2 ** 32;
  }

  /** One of `choices`, evenly likely; at least one. */
  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }

  /** `items` in a random order (Fisher and Yates). */
  shuffled<T>(items: readonly T[]): T[] {
    const rest = [...items];
    const order: T[] = [];
    while (rest.length > 0) order.push(...rest.splice(this.below(rest.length), 1));
    return order;
  }

  #word(): number {
    if (this.#at + 4 > this.#block.length) {
      const counter = new Uint8Array(8);
      new DataView(counter.buffer).setBigUint64(0, this.#counter);
      this.#counter += 1n;
      this.#block = sha256(concat(this.#label, counter));
      this.#at = 0;
    }
    const view = new DataView(this.#block.buffer, this.#block.byteOffset, this.#block.length);
    const word = view.getUint32(this.#at);
    this.#at += 4;
    return word;
  }
}
