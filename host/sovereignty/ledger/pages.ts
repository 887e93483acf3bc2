/** Takes back what one change did to memory. Undone in reverse order, everything is as it was. */
export interface Undo {
  (): void;
  /** To be called when the change will not be taken back any more. */
  readonly kept?: (() => void) | undefined;
}

/** Pages as they were at one moment, while they are held. */
export interface HeldPages<Values> {
  readonly pages: ReadonlyMap<number, Values>;
  /** Says that the pages may be overwritten again. To be called once. */
  release(): void;
}

/**
 * One number for each ordinal, in typed arrays of a page each that exist once they are written to. Grows by a page,
 * never by copying. A page that is held is copied before it is written to.
 */
export class Pages<Values extends { slice(): Values }> {
  readonly #make: () => Values;
  #pages = new Map<number, Values>();
  readonly #holders = new Map<Values, number>();

  /** @param make - A page as it is before anything was written to it. */
  constructor(make: () => Values) {
    this.#make = make;
  }

  /** For reading only. */
  read(page: number): Values | undefined {
    return this.#pages.get(page);
  }

  /** For writing now: not to be kept. */
  write(page: number): Values {
    const present = this.#pages.get(page);
    if (present !== undefined && !this.#holders.has(present)) return present;
    const own = present === undefined ? this.#make() : present.slice();
    this.#pages.set(page, own);
    return own;
  }

  /** Takes a page as it was stored. */
  put(page: number, values: Values): void {
    this.#pages.set(page, values);
  }

  numbers(): number[] {
    return [...this.#pages.keys()];
  }

  hold(): HeldPages<Values> {
    const pages = new Map(this.#pages);
    for (const page of pages.values()) this.#holders.set(page, (this.#holders.get(page) ?? 0) + 1);
    const release = (): void => {
      for (const page of pages.values()) {
        const holders = (this.#holders.get(page) ?? 1) - 1;
        if (holders === 0) this.#holders.delete(page);
        else this.#holders.set(page, holders);
      }
    };
    return { pages, release };
  }

  /** Copies pages that are about to be written to, and says how to go back to them. */
  remember(numbers: Iterable<number>): Undo {
    const before = Array.from(numbers, (page) => ({
      page,
      values: this.#pages.get(page)?.slice(),
    }));
    return () => {
      for (const { page, values } of before) {
        if (values === undefined) this.#pages.delete(page);
        else this.#pages.set(page, values);
      }
    };
  }
}
