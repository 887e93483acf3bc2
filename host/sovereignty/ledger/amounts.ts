import { addToMembers, isMember, type PageMembers } from "./page-members.ts";
import { Pages, type Undo } from "./pages.ts";
import { ScopeRules, type PageBits, type RuleChange } from "./scope-rules.ts";
import { PAGE_ORDINALS } from "./subject-set.ts";

/** How pages are kept. Others than {@link PAGE_RULES} are for tests, which would spend their time on making pages. */
export interface PageRules {
  /**
   * Changes that a page keeps beside it, at least: up to twice as many, another number for each page, so that pages
   * that are charged together are not all due at once.
   */
  readonly changesKept: number;
  /** Of a page, the first ones; nobody is charged who has another. */
  readonly ordinals: number;
}

export const PAGE_RULES: PageRules = { changesKept: 16, ordinals: PAGE_ORDINALS };

/** One amount for each ordinal of a page. */
export type PageAmounts = Float64Array<ArrayBuffer>;

/** Amounts as they were at one moment, while they are held. */
export interface HeldAmounts {
  readonly pages: readonly number[];
  /** What a page had: `into`, or a page not to be changed. */
  valuesOf(page: number, into: PageAmounts): PageAmounts;
  /** To be called once. */
  release(): void;
}

/** What each member of a page is to get besides what its page says. */
type Changes = Map<PageMembers, number>;

/** Changes that came after so many rules. */
interface Segment {
  readonly stamp: number;
  readonly changes: Changes;
}

/** A page as it is kept: what it says after the first `stamp` rules, and what came since. */
interface Kept {
  readonly own: PageAmounts | undefined;
  readonly stamp: number;
  readonly segments: readonly Segment[];
}

const NO_SEGMENTS: readonly Segment[] = [];

/**
 * One amount for each ordinal.
 *
 * A change of a set is one number for each page of the set, kept beside that page; it is added to the amounts of the
 * members only when the page keeps many of them. So a million subjects are charged in the time that it takes to name
 * their pages, and what the same set is charged again, or gets back, changes that number. A rule for everybody is kept
 * as one too: each page says how many of the rules it has followed, and follows the others when it is settled.
 */
export class Amounts {
  readonly #pages: Pages<PageAmounts>;
  /** Of each page that is there: how many rules it has followed. */
  readonly #stamps = new Map<number, number>();
  /** Ascending by stamp, from the page's own on. */
  readonly #segments = new Map<number, readonly Segment[]>();
  readonly #rules = new ScopeRules();
  readonly #initial: () => number;
  readonly #bits: (page: number) => PageBits | undefined;
  readonly #kept: number;

  /**
   * @param initial - What an ordinal of a page has that nobody was charged on.
   * @param bits - Whom rules do not lower.
   */
  constructor(
    initial: () => number,
    bits: (page: number) => PageBits | undefined,
    { changesKept, ordinals }: PageRules,
  ) {
    this.#initial = initial;
    this.#bits = bits;
    this.#kept = changesKept;
    this.#pages = new Pages(() => new Float64Array(ordinals));
  }

  /** Whether somebody of the page was ever charged. */
  has(page: number): boolean {
    return this.#stamps.has(page);
  }

  numbers(): number[] {
    return [...this.#stamps.keys()];
  }

  /** Of one ordinal. */
  of(ordinal: number): number {
    const page = Math.floor(ordinal / PAGE_ORDINALS);
    const low = ordinal % PAGE_ORDINALS;
    const kept = this.#read(page);
    if (kept === undefined) return this.#initial();
    let amount = kept.own?.[low] ?? this.#initialAt(kept.stamp);
    this.#walk(kept, this.#rules.total, {
      rules: (from, to) => {
        amount = this.#rules.applyToOne(amount, { page, low, bits: this.#bits(page), from, to });
      },
      changes: (changes) => {
        for (const [members, more] of changes) if (isMember(members, low)) amount += more;
      },
    });
    return amount;
  }

  /** Of every ordinal of a page: `into`, or a page not to be changed nor kept. */
  valuesOf(page: number, into: PageAmounts): PageAmounts {
    const kept = this.#read(page);
    if (kept === undefined) return into.fill(this.#initial());
    return this.#valuesOf(page, kept, { into, bits: this.#bits(page) });
  }

  /** Adds `amount` to what each member has. Taken back by adding what is missing then. */
  add(members: PageMembers, amount: number): void {
    const { page } = members;
    const { total } = this.#rules;
    const segments = this.#segments.get(page) ?? NO_SEGMENTS;
    const last = segments.at(-1);
    const changes: Changes = last?.stamp === total ? last.changes : new Map();
    const sum = (changes.get(members) ?? 0) + amount;
    if (sum === 0) changes.delete(members);
    else changes.set(members, sum);
    const before = last?.stamp === total ? segments.slice(0, -1) : segments;
    this.#keep(page, changes.size === 0 ? before : [...before, { stamp: total, changes }]);
    const count = before.reduce((most, each) => most + each.changes.size, changes.size);
    if (count > this.#kept + (page % (this.#kept + 1))) this.#settle(page);
  }

  /** Takes a page as it was stored. */
  put(page: number, values: PageAmounts): void {
    this.#pages.put(page, values);
    this.#stamps.set(page, this.#rules.total);
  }

  /** Makes sure that a page is there, and keeps what its ordinals have. */
  make(page: number): void {
    if (!this.#stamps.has(page)) this.#stamps.set(page, this.#rules.total);
  }

  /** Has everybody of the pages that are there follow a rule. Costs one page. */
  rule(change: RuleChange): Undo {
    const stalest = this.#stalest();
    if (stalest !== undefined) this.#settle(stalest);
    const left = this.#stalest();
    const { certain } = this.#rules;
    this.#rules.forget(Math.min(certain, this.#stamps.get(left ?? -1) ?? certain));
    const { kept, takeBack } = this.#rules.add(change, this.#initial());
    const undo = (): void => {
      takeBack();
      // A page that was made since holds nothing any more.
      for (const [page, stamp] of this.#stamps) {
        if (stamp > this.#rules.total) this.#stamps.delete(page);
      }
    };
    return Object.assign(undo, { kept });
  }

  /** To be called before the bits of a page change: rules that it has yet to follow go by those that it had. */
  keepBits(page: number): void {
    const stamp = this.#stamps.get(page);
    if (stamp !== undefined) this.#rules.keepBits(page, this.#bits(page), stamp);
  }

  /** @param bits - Of the same moment. */
  hold(bits: (page: number) => PageBits | undefined): HeldAmounts {
    const held = this.#pages.hold();
    const rules = this.#rules.copy();
    const pages = new Map(
      this.numbers().map((page) => {
        const { stamp = 0, segments = NO_SEGMENTS } = this.#read(page) ?? {};
        const copied = segments.map((each) => ({ ...each, changes: new Map(each.changes) }));
        return [page, { own: held.pages.get(page), stamp, segments: copied }] as const;
      }),
    );
    const initial = this.#initial();
    return {
      pages: [...pages.keys()],
      valuesOf: (page, into) => {
        const kept = pages.get(page);
        if (kept === undefined) return into.fill(initial);
        return this.#valuesOf(page, kept, { into, bits: bits(page), rules, initial });
      },
      release: () => held.release(),
    };
  }

  #read(page: number): Kept | undefined {
    const stamp = this.#stamps.get(page);
    if (stamp === undefined) return undefined;
    const segments = this.#segments.get(page) ?? NO_SEGMENTS;
    return { own: this.#pages.read(page), stamp, segments };
  }

  /** The page that has followed the fewest rules. */
  #stalest(): number | undefined {
    let [stalest] = this.#stamps;
    for (const each of this.#stamps) if (each[1] < (stalest?.[1] ?? 0)) stalest = each;
    return stalest?.[0];
  }

  #keep(page: number, segments: readonly Segment[]): void {
    if (segments.length > 0) this.#segments.set(page, segments);
    else this.#segments.delete(page);
    const { total } = this.#rules;
    const stamp = this.#stamps.get(page) ?? total;
    const isEmpty = segments.length === 0 && this.#pages.read(page) === undefined;
    // What has what a page has that is not there need not be there.
    if (isEmpty && stamp === total) this.#stamps.delete(page);
    else if (!this.#stamps.has(page)) this.#stamps.set(page, total);
  }

  #initialAt(stamp: number, rules = this.#rules, initial = this.#initial()): number {
    return rules.initialBefore(stamp) ?? initial;
  }

  #valuesOf(
    page: number,
    kept: Kept,
    as: {
      readonly into: PageAmounts;
      readonly bits: PageBits | undefined;
      readonly rules?: ScopeRules;
      readonly initial?: number;
    },
  ): PageAmounts {
    const { own, stamp, segments } = kept;
    const { into, bits, rules = this.#rules, initial = this.#initial() } = as;
    if (own !== undefined && stamp === rules.total && segments.length === 0) return own;
    if (own === undefined) into.fill(this.#initialAt(stamp, rules, initial));
    else into.set(own);
    this.#follow(into, kept, { page, bits, rules, upTo: rules.total });
    return into;
  }

  #follow(
    amounts: PageAmounts,
    kept: Kept,
    by: {
      readonly page: number;
      readonly bits: PageBits | undefined;
      readonly rules: ScopeRules;
      readonly upTo: number;
    },
  ): void {
    const { page, bits, rules, upTo } = by;
    this.#walk(kept, upTo, {
      rules: (from, to) => rules.applyToPage(amounts, { page, bits, from, to }),
      changes: (changes) => {
        for (const [members, amount] of changes) addToMembers(members, amounts, amount);
      },
    });
  }

  /** Goes through what a page has yet to follow, up to so many rules and the changes after them, in order. */
  #walk(
    { stamp, segments }: Kept,
    upTo: number,
    visit: {
      readonly rules: (from: number, to: number) => void;
      readonly changes: (changes: Changes) => void;
    },
  ): void {
    let at = stamp;
    for (const each of segments) {
      if (each.stamp > upTo) break;
      if (each.stamp > at) visit.rules(at, each.stamp);
      at = each.stamp;
      visit.changes(each.changes);
    }
    if (at < upTo) visit.rules(at, upTo);
  }

  /** Has a page follow all that will not be taken back as a rule. */
  #settle(page: number): void {
    const kept = this.#read(page);
    const upTo = this.#rules.certain;
    if (kept === undefined || kept.stamp > upTo) return;
    const amounts = this.#pages.write(page);
    if (kept.own === undefined) amounts.fill(this.#initialAt(kept.stamp));
    this.#follow(amounts, kept, { page, bits: this.#bits(page), rules: this.#rules, upTo });
    this.#stamps.set(page, upTo);
    const later = kept.segments.filter(({ stamp }) => stamp > upTo);
    if (later.length > 0) this.#segments.set(page, later);
    else this.#segments.delete(page);
  }
}
