/** A bit for each ordinal of a page: bit 0 of word 0 is the first ordinal's. */
export type PageBits = Uint16Array<ArrayBuffer>;

/**
 * What becomes of everybody's amount: `lower` less but not below `raise`. Whoever has a bit is not lowered, and has
 * `raise` at least like the others.
 */
export interface RuleChange {
  readonly lower: number;
  readonly raise: number;
}

interface Rule extends RuleChange {
  /** What an ordinal of a page that is not there had before. */
  readonly initialBefore: number;
  /** Of pages whose bits have changed since. */
  readonly bits: Map<number, PageBits>;
  /** Whether it may still be taken back. */
  uncertain: boolean;
}

/** Which rules of a list, for a page with these bits now. */
interface Range {
  readonly page: number;
  readonly bits: PageBits | undefined;
  /** Rules in [from, to). */
  readonly from: number;
  readonly to: number;
}

/** Rules for everybody in the order in which they came, of which pages follow each when they are settled. */
export class ScopeRules {
  /** Rules that every page has followed. */
  #forgotten = 0;
  #rules: Rule[] = [];

  /** How many there have been. */
  get total(): number {
    return this.#forgotten + this.#rules.length;
  }

  /** How many of them, the first ones, will not be taken back. */
  get certain(): number {
    const first = this.#rules.findIndex(({ uncertain }) => uncertain);
    return first < 0 ? this.total : this.#forgotten + first;
  }

  /** @returns undefined when no rule came after the first `stamp` */
  initialBefore(stamp: number): number | undefined {
    return this.#rules[stamp - this.#forgotten]?.initialBefore;
  }

  /** Adds one that can be taken back until it is said to be kept. */
  add(change: RuleChange, initialBefore: number): Record<"kept" | "takeBack", () => void> {
    const rule: Rule = { ...change, initialBefore, bits: new Map(), uncertain: true };
    this.#rules.push(rule);
    return {
      kept: () => {
        rule.uncertain = false;
      },
      takeBack: () => void this.#rules.pop(),
    };
  }

  /** Forgets the first so many: nobody asks for them any more. */
  forget(count: number): void {
    this.#rules = this.#rules.slice(count - this.#forgotten);
    this.#forgotten = count;
  }

  /** Keeps the bits of a page for the rules from the `stamp`th on. */
  keepBits(page: number, bits: PageBits | undefined, stamp: number): void {
    const later = this.#rules.slice(stamp - this.#forgotten).filter((rule) => !rule.bits.has(page));
    if (later.length === 0) return;
    const copy = bits?.slice() ?? new Uint16Array(0);
    for (const rule of later) rule.bits.set(page, copy);
  }

  /** As they are now, bits that are kept later included: those are of before they changed. */
  copy(): ScopeRules {
    const copy = new ScopeRules();
    copy.#forgotten = this.#forgotten;
    copy.#rules = [...this.#rules];
    return copy;
  }

  applyToOne(amount: number, { low, ...range }: Range & { readonly low: number }): number {
    let result = amount;
    for (const { bits, ...sum } of this.#sums(range)) {
      const marked = (((bits?.[low >>> 4] ?? 0) >>> (low & 15)) & 1) === 1;
      result = marked ? Math.max(sum.raiseMarked, result) : Math.max(sum.raise, result - sum.lower);
    }
    return result;
  }

  applyToPage(amounts: Float64Array, range: Range): void {
    for (const { lower, raise, raiseMarked, bits } of this.#sums(range)) {
      for (let low = 0; low < amounts.length; low += 1) {
        const amount = amounts[low] ?? 0;
        const marked = (((bits?.[low >>> 4] ?? 0) >>> (low & 15)) & 1) === 1;
        const least = marked ? raiseMarked : raise;
        const left = marked ? amount : amount - lower;
        amounts[low] = left > least ? left : least;
      }
    }
  }

  /** What rules come to together, for as long as the bits are the same. */
  #sums({ page, bits, from, to }: Range) {
    const sums: (RuleChange & { raiseMarked: number; bits: PageBits | undefined })[] = [];
    for (const rule of this.#rules.slice(from - this.#forgotten, to - this.#forgotten)) {
      const own = rule.bits.get(page) ?? bits;
      const last = sums.at(-1);
      const { lower, raise } = rule;
      if (last === undefined || last.bits !== own) {
        sums.push({ lower, raise, raiseMarked: raise, bits: own });
        continue;
      }
      sums[sums.length - 1] = {
        lower: last.lower + lower,
        raise: Math.max(raise, last.raise - lower),
        raiseMarked: Math.max(last.raiseMarked, raise),
        bits: own,
      };
    }
    return sums;
  }
}
