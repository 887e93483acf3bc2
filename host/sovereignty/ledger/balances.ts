import { ConflictError } from "#protocol";

import {
  Amounts,
  PAGE_RULES,
  type HeldAmounts,
  type PageAmounts,
  type PageRules,
} from "./amounts.ts";
import { countAbove, countMarked, lowsOf, ones, type PageMembers } from "./page-members.ts";
import { Pages, type HeldPages, type Undo } from "./pages.ts";
import type { PageBits, RuleChange } from "./scope-rules.ts";
import { PAGE_ORDINALS, type SubjectSet } from "./subject-set.ts";

/** Where amounts of one page are put together, for as long as they are looked at: one place for all balances. */
const CONSUMED = new Float64Array(PAGE_ORDINALS);
const RESERVED = new Float64Array(PAGE_ORDINALS);
const NOBODY = new Uint16Array(PAGE_ORDINALS / 16);

/** A bit for each ordinal of a page whose budget is frozen. */
export type FrozenMembers = PageBits;

/** How the balances of a set of subjects and of their record scope change, micro-epsilon. */
export interface Change {
  readonly consumed: number;
  readonly reserved: number;
}

/** What a reservation asks of the balances. */
export interface Demand {
  readonly recordScope: string;
  readonly subjects: SubjectSet;
  readonly epsilonMicro: number;
  /** Of one subject. */
  readonly allowanceMicro: number;
  /** Of the record scope as a whole; null for no bound but the subjects'. */
  readonly recordScopeAllowanceMicro: number | null;
}

/** Why a demand is not met, for the operator; of a demand that is met all zero. */
export interface Shortfall {
  /** Subjects that have too little left, net of reservations. */
  readonly exhausted: number;
  /** Subjects whose budget is frozen. */
  readonly frozen: number;
  /** Whether the record scope as a whole has too little left. */
  readonly recordScope: boolean;
}

/** What an operator sees of one usage scope. */
export interface BalanceSummary {
  /** Subjects with a balance of their own above what was written off. */
  readonly subjects: number;
  readonly consumedMaxMicro: number;
  readonly reservedMaxMicro: number;
  readonly frozen: number;
  /** What every subject, known or to come, counts as having consumed since a write-off. */
  readonly writtenOffMicro: number;
}

/** Balances of one usage scope, to be written to a snapshot. What subjects have reserved, open reservations tell. */
export interface HeldBalances {
  readonly totals: BalanceTotals;
  readonly consumed: HeldAmounts;
  readonly frozen: HeldPages<FrozenMembers>;
}

/** The balances of a usage scope that are not of one subject. */
export interface BalanceTotals {
  readonly floorMicro: number;
  readonly recordFloorMicro: number;
  readonly ceilingMicro: number;
  readonly recordScopes: ReadonlyMap<string, Change>;
}

/**
 * Balances of one usage scope by subject ordinal and by record scope, integers of micro-epsilon. Float64 holds every
 * integer below 2^53 exactly; a change after which a balance could leave that range is refused.
 */
export class Balances {
  #floorMicro = 0;
  #recordFloorMicro = 0;
  /** No balance is above it: everything that is reserved or consumed, of whomever. */
  #ceilingMicro = 0;
  readonly #recordScopes = new Map<string, Change>();
  readonly #consumed: Amounts;
  readonly #reserved: Amounts;
  readonly #frozen: Pages<FrozenMembers>;
  /** No subject of the page has more consumed and reserved together; absent where it is to be looked up. */
  readonly #bounds = new Map<number, number>();
  /** Pages whose bound somebody has reached. */
  readonly #exact = new Set<number>();
  readonly #summaries = new Map<number, Omit<BalanceSummary, "writtenOffMicro">>();

  /** Where amounts of one page are put together. */
  readonly #scratch: readonly [consumed: PageAmounts, reserved: PageAmounts];

  constructor(rules: PageRules = PAGE_RULES) {
    const frozen = (page: number) => this.#frozen.read(page);
    this.#consumed = new Amounts(() => this.#floorMicro, frozen, rules);
    this.#reserved = new Amounts(() => 0, frozen, rules);
    this.#frozen = new Pages(() => new Uint16Array(rules.ordinals / 16));
    this.#scratch = [CONSUMED.subarray(0, rules.ordinals), RESERVED.subarray(0, rules.ordinals)];
  }

  /** With nothing reserved: see {@link reserveAgain}. */
  static restored(
    totals: BalanceTotals,
    pages: {
      readonly consumed: ReadonlyMap<number, PageAmounts>;
      readonly frozen: ReadonlyMap<number, FrozenMembers>;
    },
    rules: PageRules = PAGE_RULES,
  ): Balances {
    const balances = new Balances(rules);
    balances.#floorMicro = totals.floorMicro;
    balances.#recordFloorMicro = totals.recordFloorMicro;
    balances.#ceilingMicro = totals.ceilingMicro;
    for (const [name, change] of totals.recordScopes) balances.#recordScopes.set(name, change);
    for (const [page, values] of pages.consumed) balances.#consumed.put(page, values);
    for (const [page, values] of pages.frozen) balances.#frozen.put(page, values);
    return balances;
  }

  consumedOf(ordinal: number): number {
    return this.#consumed.of(ordinal);
  }

  reservedOf(ordinal: number): number {
    return this.#reserved.of(ordinal);
  }

  recordScopeOf(recordScope: string): Change {
    return this.#recordScopes.get(recordScope) ?? { consumed: this.#recordFloorMicro, reserved: 0 };
  }

  /**
   * Looks at the subjects of a page one by one only where somebody of the page, of the demand or not, has too little
   * left; it does so for all of the page's. Nobody's time depends on who is frozen.
   */
  shortfall(demand: Demand): Shortfall {
    const { subjects, epsilonMicro, allowanceMicro, recordScopeAllowanceMicro } = demand;
    const limit = allowanceMicro - epsilonMicro;
    let exhausted = 0;
    let frozen = 0;
    for (const members of subjects.pages()) {
      const { page } = members;
      const freezing = this.#frozen.read(page);
      if (freezing !== undefined) frozen += countMarked(members, freezing);
      if (this.#boundOf(page) > limit && this.#tightened(page) > limit) {
        exhausted += this.#countAbove(members, limit);
      }
    }
    const whole = this.recordScopeOf(demand.recordScope);
    const recordScope =
      recordScopeAllowanceMicro !== null &&
      whole.consumed + whole.reserved + epsilonMicro > recordScopeAllowanceMicro;
    return { exhausted, frozen, recordScope };
  }

  /** @throws {@link ConflictError} PRIVACY_BUDGET_PARAMETER_INVALID when balances could reach 2^53 */
  add(subjects: SubjectSet, change: Change): Undo {
    this.#raiseCeiling(change.consumed + change.reserved);
    this.#addToSubjects(subjects, change);
    return () => {
      this.#ceilingMicro -= change.consumed + change.reserved;
      this.#addToSubjects(subjects, { consumed: -change.consumed, reserved: -change.reserved });
    };
  }

  /** Takes into account, of balances that were restored, what an open reservation holds of its subjects. */
  reserveAgain(subjects: SubjectSet, reserved: number): void {
    this.#addToSubjects(subjects, { consumed: 0, reserved });
  }

  addToRecordScope(recordScope: string, { consumed, reserved }: Change): Undo {
    const before = this.#recordScopes.get(recordScope);
    const present = this.recordScopeOf(recordScope);
    this.#recordScopes.set(recordScope, {
      consumed: present.consumed + consumed,
      reserved: present.reserved + reserved,
    });
    return () => {
      if (before === undefined) this.#recordScopes.delete(recordScope);
      else this.#recordScopes.set(recordScope, before);
    };
  }

  /** Lowers what subjects and record scopes have consumed, not below zero; frozen subjects get nothing (PB-2, PB-8). */
  replenish(epsilonMicro: number): Undo {
    // A frozen subject of a page that is not there yet keeps what was written off.
    if (this.#floorMicro > 0) for (const page of this.#frozen.numbers()) this.#consumed.make(page);
    const undo = this.#rule({ lower: epsilonMicro, raise: 0 }, { lower: epsilonMicro, raise: 0 });
    // Nobody has more than before.
    this.#exact.clear();
    this.#summaries.clear();
    return undo;
  }

  /**
   * Makes everybody's consumption, of those who are known and those to come, at least `epsilonMicro`, and every record
   * scope's at least `recordScopeMicro`.
   *
   * @throws {@link ConflictError} PRIVACY_BUDGET_PARAMETER_INVALID when balances could reach 2^53
   */
  writeOff(epsilonMicro: number, recordScopeMicro: number): Undo {
    const raised = epsilonMicro + recordScopeMicro;
    this.#raiseCeiling(raised);
    const undo = this.#rule(
      { lower: 0, raise: epsilonMicro },
      { lower: 0, raise: recordScopeMicro },
    );
    this.#forgetDerived();
    const takeBack = (): void => {
      this.#ceilingMicro -= raised;
      undo();
    };
    return Object.assign(takeBack, { kept: undo.kept });
  }

  freeze(subjects: SubjectSet, frozen: boolean): Undo {
    const pages = subjects.pageNumbers();
    const undo = this.#frozen.remember(pages);
    for (const members of subjects.pages()) {
      this.#consumed.keepBits(members.page);
      const freezing = this.#frozen.write(members.page);
      this.#summaries.delete(members.page);
      for (const low of lowsOf(members)) {
        const word = freezing[low >>> 4] ?? 0;
        const bit = 1 << (low & 15);
        freezing[low >>> 4] = frozen ? word | bit : word & ~bit;
      }
    }
    return () => {
      for (const page of pages) this.#summaries.delete(page);
      undo();
    };
  }

  /** Of pages that have changed since it was last asked, it looks at every subject. */
  summary(): BalanceSummary {
    const pages = new Set([
      ...this.#consumed.numbers(),
      ...this.#reserved.numbers(),
      ...this.#frozen.numbers(),
    ]);
    const sum = { subjects: 0, consumedMaxMicro: this.#floorMicro, reservedMaxMicro: 0, frozen: 0 };
    for (const page of pages) {
      const each = this.#summaries.get(page) ?? this.#summaryOf(page);
      this.#summaries.set(page, each);
      sum.subjects += each.subjects;
      sum.frozen += each.frozen;
      sum.consumedMaxMicro = Math.max(sum.consumedMaxMicro, each.consumedMaxMicro);
      sum.reservedMaxMicro = Math.max(sum.reservedMaxMicro, each.reservedMaxMicro);
    }
    return { ...sum, writtenOffMicro: this.#floorMicro };
  }

  hold(): HeldBalances {
    const frozen = this.#frozen.hold();
    return {
      totals: {
        floorMicro: this.#floorMicro,
        recordFloorMicro: this.#recordFloorMicro,
        ceilingMicro: this.#ceilingMicro,
        recordScopes: new Map(this.#recordScopes),
      },
      consumed: this.#consumed.hold((page) => frozen.pages.get(page)),
      frozen,
    };
  }

  #raiseCeiling(epsilonMicro: number): void {
    if (this.#ceilingMicro + epsilonMicro > Number.MAX_SAFE_INTEGER) {
      throw new ConflictError(
        { code: "PRIVACY_BUDGET_PARAMETER_INVALID" },
        "ledger entry: expected balances below 2^53 micro-epsilon, got an amount beyond",
      );
    }
    this.#ceilingMicro += epsilonMicro;
  }

  #addToSubjects(subjects: SubjectSet, { consumed, reserved }: Change): void {
    const more = consumed + reserved;
    for (const members of subjects.pages()) {
      const { page } = members;
      const bound = this.#bounds.get(page) ?? this.#boundOfAbsent(page);
      if (consumed !== 0) this.#consumed.add(members, consumed);
      if (reserved !== 0) this.#reserved.add(members, reserved);
      // What falls may be less than what another subject of the page still has.
      if (bound !== undefined && more > 0) this.#bounds.set(page, bound + more);
      if (more !== 0) this.#exact.delete(page);
      this.#summaries.delete(page);
    }
  }

  #boundOf(page: number): number {
    return this.#bounds.get(page) ?? this.#tightened(page);
  }

  /** Of a page that nobody was charged on. */
  #boundOfAbsent(page: number): number | undefined {
    return this.#consumed.has(page) || this.#reserved.has(page) ? undefined : this.#floorMicro;
  }

  /** The most that a subject of the page has consumed and reserved together, which is its bound from now on. */
  #tightened(page: number): number {
    const known = this.#exact.has(page) ? this.#bounds.get(page) : undefined;
    if (known !== undefined) return known;
    const most = this.#boundOfAbsent(page) ?? mostOf(...this.#amountsOf(page));
    this.#bounds.set(page, most);
    this.#exact.add(page);
    return most;
  }

  #countAbove(members: PageMembers, limit: number): number {
    const everybody = this.#boundOfAbsent(members.page);
    if (everybody !== undefined) return everybody > limit ? members.size : 0;
    return countAbove(members, this.#amountsOf(members.page), limit);
  }

  /** To be looked at before anything else is done. */
  #amountsOf(page: number): readonly [consumed: PageAmounts, reserved: PageAmounts] {
    const [consumed, reserved] = this.#scratch;
    return [this.#consumed.valuesOf(page, consumed), this.#reserved.valuesOf(page, reserved)];
  }

  /** Has everybody's amount follow a rule, and every record scope's another. Forgets nothing that follows from them. */
  #rule(subjects: RuleChange, recordScopes: RuleChange): Undo {
    const by = ({ lower, raise }: RuleChange, amount: number): number =>
      Math.max(raise, amount - lower);
    const undoSubjects = this.#consumed.rule(subjects);
    const before = { floor: this.#floorMicro, recordFloor: this.#recordFloorMicro };
    const records = new Map(this.#recordScopes);
    this.#floorMicro = by(subjects, before.floor);
    this.#recordFloorMicro = by(recordScopes, before.recordFloor);
    for (const [name, { consumed, reserved }] of records) {
      this.#recordScopes.set(name, { consumed: by(recordScopes, consumed), reserved });
    }
    const undo = (): void => {
      undoSubjects();
      this.#floorMicro = before.floor;
      this.#recordFloorMicro = before.recordFloor;
      for (const [name, change] of records) this.#recordScopes.set(name, change);
      this.#forgetDerived();
    };
    return Object.assign(undo, { kept: undoSubjects.kept });
  }

  #forgetDerived(): void {
    this.#bounds.clear();
    this.#exact.clear();
    this.#summaries.clear();
  }

  #summaryOf(page: number): Omit<BalanceSummary, "writtenOffMicro"> {
    const [consumed, reserved] = this.#amountsOf(page);
    let subjects = 0;
    let consumedMaxMicro = 0;
    let reservedMaxMicro = 0;
    for (let low = 0; low < consumed.length; low += 1) {
      const own = consumed[low] ?? 0;
      const held = reserved[low] ?? 0;
      if (own + held > this.#floorMicro) subjects += 1;
      if (own > consumedMaxMicro) consumedMaxMicro = own;
      if (held > reservedMaxMicro) reservedMaxMicro = held;
    }
    let frozen = 0;
    for (const word of this.#frozen.read(page) ?? NOBODY) frozen += ones(word);
    return { subjects, consumedMaxMicro, reservedMaxMicro, frozen };
  }
}

function mostOf(consumed: Float64Array, reserved: Float64Array): number {
  let most = 0;
  for (let low = 0; low < consumed.length; low += 1) {
    const amount = (consumed[low] ?? 0) + (reserved[low] ?? 0);
    if (amount > most) most = amount;
  }
  return most;
}
