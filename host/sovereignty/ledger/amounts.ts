import { addToMembers, isMember, type PageMembers } from "./page-members.ts";
import { Pages, type Undo } from "./pages.ts";
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

/**
 * One amount for each ordinal.
 *
 * A change of a set is one number for each page of the set, kept beside that page; it is added to the amounts of the
 * members only when the page keeps many of them. So a million subjects are charged in the time that it takes to name
 * their pages, and what the same set is charged again, or gets back, changes that number.
 */
export class Amounts {
  readonly #pages: Pages<PageAmounts>;
  readonly #changes = new Map<number, Changes>();
  readonly #initial: () => number;
  readonly #kept: number;

  /** @param initial - What an ordinal of a page has that nobody was charged on. */
  constructor(initial: () => number, { changesKept, ordinals }: PageRules) {
    this.#initial = initial;
    this.#kept = changesKept;
    this.#pages = new Pages(() => new Float64Array(ordinals).fill(initial()));
  }

  /** Whether somebody of the page was ever charged. */
  has(page: number): boolean {
    return this.#pages.read(page) !== undefined || this.#changes.has(page);
  }

  numbers(): number[] {
    return [...new Set([...this.#pages.numbers(), ...this.#changes.keys()])];
  }

  /** Of one ordinal. */
  of(ordinal: number): number {
    const page = Math.floor(ordinal / PAGE_ORDINALS);
    const low = ordinal % PAGE_ORDINALS;
    let amount = this.#pages.read(page)?.[low] ?? this.#initial();
    for (const [members, more] of this.#changes.get(page) ?? []) {
      if (isMember(members, low)) amount += more;
    }
    return amount;
  }

  /** Of every ordinal of a page: `into`, or a page not to be changed nor kept. */
  valuesOf(page: number, into: PageAmounts): PageAmounts {
    const own = this.#pages.read(page);
    return withChanges(own, this.#changes.get(page), { initial: this.#initial(), into });
  }

  /** Adds `amount` to what each member has. Taken back by adding what is missing then. */
  add(members: PageMembers, amount: number): void {
    const { page } = members;
    const changes: Changes = this.#changes.get(page) ?? new Map();
    const sum = (changes.get(members) ?? 0) + amount;
    if (sum === 0) changes.delete(members);
    else changes.set(members, sum);
    if (changes.size === 0) this.#changes.delete(page);
    else this.#changes.set(page, changes);
    if (changes.size > this.#kept + (page % (this.#kept + 1))) this.#settle(page);
  }

  /** Takes a page as it was stored. */
  put(page: number, values: PageAmounts): void {
    this.#pages.put(page, values);
  }

  /** Makes sure that a page is there, and keeps what its ordinals have. */
  make(page: number): void {
    this.#pages.write(page);
  }

  /** Gives each ordinal of the pages that are there another amount. Costs their number. */
  rewrite(rule: (page: number) => (amount: number, low: number) => number): Undo {
    for (const page of this.#changes.keys()) this.#settle(page);
    const undo = this.#pages.rememberAll();
    for (const page of this.#pages.numbers()) {
      const amounts = this.#pages.write(page);
      const ruleOfPage = rule(page);
      for (let low = 0; low < amounts.length; low += 1) {
        amounts[low] = ruleOfPage(amounts[low] ?? 0, low);
      }
    }
    return () => {
      // What was added since and taken back may be in a page and, taken back, beside it.
      this.#changes.clear();
      undo();
    };
  }

  hold(): HeldAmounts {
    const held = this.#pages.hold();
    const changes = new Map([...this.#changes].map(([page, each]) => [page, new Map(each)]));
    const initial = this.#initial();
    return {
      pages: this.numbers(),
      valuesOf: (page, into) =>
        withChanges(held.pages.get(page), changes.get(page), { initial, into }),
      release: () => held.release(),
    };
  }

  #settle(page: number): void {
    const amounts = this.#pages.write(page);
    for (const [members, amount] of this.#changes.get(page) ?? []) {
      addToMembers(members, amounts, amount);
    }
    this.#changes.delete(page);
  }
}

function withChanges(
  own: PageAmounts | undefined,
  changes: Changes | undefined,
  { initial, into }: { readonly initial: number; readonly into: PageAmounts },
): PageAmounts {
  if (own !== undefined && changes === undefined) return own;
  if (own === undefined) into.fill(initial);
  else into.set(own);
  for (const [members, amount] of changes ?? []) addToMembers(members, into, amount);
  return into;
}
