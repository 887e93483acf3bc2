import { hex, usageScope, type UsageScope } from "#protocol";

import { PAGE_RULES, type PageRules } from "./amounts.ts";
import {
  Balances,
  type BalanceSummary,
  type Change,
  type Demand,
  type HeldBalances,
  type Shortfall,
} from "./balances.ts";
import {
  OpenReservations,
  requireAmount,
  stateConflict,
  unknownReservation,
  type OpenReservation,
  type Reservation,
  type ReservationStep,
} from "./open-reservations.ts";
import type { Undo } from "./pages.ts";
import type { SubjectSet } from "./subject-set.ts";

/** A step that is about no reservation, but about everybody's budget of a purpose. */
export type ScopeStep =
  /** Consumption falls by at most `epsilonMicro`, not below zero and not of frozen subjects; once for each epoch. */
  | {
      readonly kind: "replenish";
      readonly usageScope: UsageScope;
      readonly epochId: number;
      readonly epsilonMicro: number;
    }
  /** Everybody's consumption, known or to come, becomes at least this; nothing is ever given back by it. */
  | {
      readonly kind: "write_off";
      readonly usageScope: UsageScope;
      readonly epsilonMicro: number;
      /** Of each record scope as a whole. */
      readonly recordScopeMicro: number;
    };

/** One entry as its table has it: a set is named by its digest. */
export type LedgerStep = ReservationStep | ScopeStep;

/** One entry of the privacy budget ledger, with the subjects that it is about. */
export type LedgerEntry =
  | (Omit<Extract<ReservationStep, { kind: "reserve" }>, "setDigest"> & {
      readonly subjects: SubjectSet;
    })
  | Exclude<ReservationStep, { kind: "reserve" }>
  | ScopeStep;

/** What an operator sees of one scope. */
export interface BudgetSummary extends BalanceSummary {
  readonly usageScope: UsageScope;
}

/** Finds a set by the lower-case hex of its digest. */
export type LoadSet = (setDigest: string) => Promise<SubjectSet>;

/** A ledger at one moment, to be written to a snapshot. */
export interface HeldLedger {
  readonly open: readonly OpenReservation[];
  /** The last epoch whose replenishment was applied. */
  readonly replenished: ReadonlyMap<UsageScope, number>;
  readonly balances: ReadonlyMap<UsageScope, HeldBalances>;
}

/**
 * The balances of a privacy budget ledger: exact integers, for each subject and scope (DS-3, PB-1).
 *
 * It knows nothing of storage, time or policy: it is a function of the entries and of who was frozen when. An entry that
 * does not follow from those before is refused and changes nothing. Only open reservations are remembered by name;
 * that no ended one begins again is for the table of entries to see to.
 */
export class Ledger {
  readonly #balances = new Map<UsageScope, Balances>();
  readonly #replenished = new Map<UsageScope, number>();
  #reservations = new OpenReservations();
  /** Of open reservations, by digest. */
  readonly #sets = new Map<string, { readonly subjects: SubjectSet; readonly users: number }>();
  readonly #rules: PageRules;

  constructor(rules: PageRules = PAGE_RULES) {
    this.#rules = rules;
  }

  /** A ledger as a snapshot had it. */
  static async restored(
    held: {
      readonly open: readonly OpenReservation[];
      readonly replenished: ReadonlyMap<UsageScope, number>;
      readonly balances: ReadonlyMap<UsageScope, Balances>;
    },
    loadSet: LoadSet,
    rules: PageRules = PAGE_RULES,
  ): Promise<Ledger> {
    const ledger = new Ledger(rules);
    ledger.#reservations = OpenReservations.restored(held.open);
    for (const [scope, epochId] of held.replenished) ledger.#replenished.set(scope, epochId);
    for (const [scope, balances] of held.balances) ledger.#balances.set(scope, balances);
    await ledger.#loadOpenSets(loadSet);
    for (const { usageScope, setDigest, reservedMicro } of held.open) {
      ledger.#of(usageScope).reserveAgain(ledger.#subjectsOf(setDigest), reservedMicro);
    }
    return ledger;
  }

  /**
   * Takes one entry into the balances.
   *
   * @returns How to take it back, when nothing was applied after it or all of that was taken back before.
   * @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION for none that is open; PRIVACY_BUDGET_STATE_CONFLICT
   * for a step that the reservation's lifecycle does not have, a second reservation of one name, a second beginning of
   * a round or replenishment of an epoch; PRIVACY_BUDGET_PARAMETER_INVALID for an amount that is no integer below 2^53
   * or would make balances that are not.
   */
  apply(entry: LedgerEntry): Undo {
    switch (entry.kind) {
      case "replenish":
        return this.#replenish(entry);
      case "write_off":
        requireAmount(entry.epsilonMicro);
        requireAmount(entry.recordScopeMicro);
        return this.#of(entry.usageScope).writeOff(entry.epsilonMicro, entry.recordScopeMicro);
      case "reserve": {
        const { subjects, ...rest } = entry;
        const setDigest = hex(subjects.digest);
        // One object for one set: the changes of both become one.
        const known = this.#sets.get(setDigest)?.subjects ?? subjects;
        return this.#step({ ...rest, setDigest }, () => known);
      }
      case "executing":
      case "commit":
      case "release":
        return this.#step(entry, (digest) => this.#subjectsOf(digest));
    }
  }

  /**
   * Applies entries that were applied before, adding up those of one set first. Not to be interrupted: a ledger of
   * which this fails is to be thrown away.
   */
  async replay(steps: AsyncIterable<LedgerStep>, loadSet: LoadSet): Promise<void> {
    const sums = new Map<string, Change & { setDigest: string; usageScope: UsageScope }>();
    const settle = async (): Promise<void> => {
      for (const { setDigest, usageScope, ...change } of sums.values()) {
        if (change.consumed !== 0 || change.reserved !== 0) {
          const known = this.#sets.get(setDigest)?.subjects;
          this.#of(usageScope).add(known ?? (await loadSet(setDigest)), change);
        }
      }
      sums.clear();
    };
    for await (const step of steps) {
      if (step.kind === "replenish" || step.kind === "write_off") {
        await settle();
        this.apply(step).kept?.();
        continue;
      }
      const { reservation, change } = this.#reservations.take(step);
      const { usageScope, recordScope, setDigest } = reservation;
      this.#of(usageScope).addToRecordScope(recordScope, change);
      const key = `${usageScope} ${setDigest}`;
      const sum = sums.get(key) ?? { setDigest, usageScope, consumed: 0, reserved: 0 };
      const consumed = sum.consumed + change.consumed;
      sums.set(key, { ...sum, consumed, reserved: sum.reserved + change.reserved });
    }
    await this.#loadOpenSets(loadSet);
    await settle();
  }

  /**
   * Why a demand does not fit: whether every subject has enough left of the allowance, net of all reservations, whether
   * one of them is frozen, and whether their record scope as a whole has enough left too. For the Vault's operator only.
   */
  shortfall(demand: Demand & { readonly usageScope: UsageScope }): Shortfall {
    return this.#read(demand.usageScope).shortfall(demand);
  }

  /** Freezes or thaws the budget of subjects: a frozen budget takes no new reservation (PB-8). */
  setFrozen(usageScope: UsageScope, subjects: SubjectSet, frozen: boolean): Undo {
    return this.#of(usageScope).freeze(subjects, frozen);
  }

  /** A reservation that is open. */
  find(reservationId: string): Reservation | undefined {
    return this.#reservations.find(reservationId);
  }

  /** Reservations that are neither committed nor released. */
  open(): Reservation[] {
    return this.#reservations.all();
  }

  /** One that time has ended, see {@link OpenReservations.overdue}; at hand, however many are open. */
  overdue(nowMs: number): Reservation | undefined {
    return this.#reservations.overdue(nowMs);
  }

  /** Micro-epsilon committed against one subject. */
  consumedMicro(usageScope: UsageScope, ordinal: number): number {
    return this.#read(usageScope).consumedOf(ordinal);
  }

  /** Micro-epsilon reserved against one subject. */
  reservedMicro(usageScope: UsageScope, ordinal: number): number {
    return this.#read(usageScope).reservedOf(ordinal);
  }

  /** Micro-epsilon committed and reserved against a record scope as a whole. */
  recordScope(usageScope: UsageScope, recordScope: string): Change {
    return this.#read(usageScope).recordScopeOf(recordScope);
  }

  /** The last epoch that a purpose was replenished for; -1 for none. */
  replenishedEpoch(usageScope: UsageScope): number {
    return this.#replenished.get(usageScope) ?? -1;
  }

  /** Of every purpose. */
  summary(): BudgetSummary[] {
    return usageScope.options.map((scope) => ({
      usageScope: scope,
      ...this.#read(scope).summary(),
    }));
  }

  /** For a snapshot. The pages are held until each is released. */
  hold(): HeldLedger {
    return {
      open: this.#reservations.all(),
      replenished: new Map(this.#replenished),
      balances: new Map([...this.#balances].map(([scope, balances]) => [scope, balances.hold()])),
    };
  }

  #step(step: ReservationStep, subjectsOf: (setDigest: string) => SubjectSet): Undo {
    const { reservation, change, undo } = this.#reservations.take(step);
    if (step.kind === "executing") return undo;
    const { setDigest, recordScope } = reservation;
    const subjects = subjectsOf(setDigest);
    const balances = this.#of(reservation.usageScope);
    const undoSubjects = attempt(undo, () => balances.add(subjects, change));
    const undoRecordScope = balances.addToRecordScope(recordScope, change);
    const users = step.kind === "reserve" ? 1 : -1;
    this.#useSet(setDigest, subjects, users);
    return () => {
      this.#useSet(setDigest, subjects, -users);
      undoRecordScope();
      undoSubjects();
      undo();
    };
  }

  #replenish(entry: Extract<ScopeStep, { kind: "replenish" }>): Undo {
    const { usageScope, epochId, epsilonMicro } = entry;
    requireAmount(epsilonMicro);
    const before = this.#replenished.get(usageScope);
    if (epochId <= (before ?? -1)) {
      throw stateConflict(`replenish ${usageScope}`, `an epoch after ${before}`, `${epochId}`);
    }
    const undo = this.#of(usageScope).replenish(epsilonMicro);
    this.#replenished.set(usageScope, epochId);
    const takeBack = (): void => {
      undo();
      if (before === undefined) this.#replenished.delete(usageScope);
      else this.#replenished.set(usageScope, before);
    };
    return Object.assign(takeBack, { kept: undo.kept });
  }

  #useSet(setDigest: string, subjects: SubjectSet, more: number): void {
    const users = (this.#sets.get(setDigest)?.users ?? 0) + more;
    if (users === 0) this.#sets.delete(setDigest);
    else this.#sets.set(setDigest, { subjects, users });
  }

  #subjectsOf(setDigest: string): SubjectSet {
    const set = this.#sets.get(setDigest);
    if (set === undefined) throw unknownReservation(setDigest);
    return set.subjects;
  }

  async #loadOpenSets(loadSet: LoadSet): Promise<void> {
    const known = new Map(this.#sets);
    this.#sets.clear();
    for (const { setDigest } of this.#reservations.all()) {
      const present = this.#sets.get(setDigest) ?? known.get(setDigest);
      this.#useSet(setDigest, present?.subjects ?? (await loadSet(setDigest)), 1);
    }
  }

  #read(usageScope: UsageScope): Balances {
    return this.#balances.get(usageScope) ?? NO_BALANCES;
  }

  #of(usageScope: UsageScope): Balances {
    const known = this.#balances.get(usageScope);
    if (known !== undefined) return known;
    const balances = new Balances(this.#rules);
    this.#balances.set(usageScope, balances);
    return balances;
  }
}

/** Nothing is ever added to it. */
const NO_BALANCES = new Balances();

/** Does `work`; when it throws, takes back what was done before it. */
function attempt<T>(undo: Undo, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    undo();
    throw cause;
  }
}
