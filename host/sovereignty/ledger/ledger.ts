import { BUDGET_RESERVATION_LIFECYCLE, ConflictError, hex, type UsageScope } from "#protocol";

import { PAGE_ORDINALS, subjectSetOf, type SubjectSet } from "./subject-set.ts";

/** One entry of the privacy budget ledger, as it is appended. Epsilon is integer micro-epsilon. */
export type LedgerEntry =
  | {
      readonly kind: "reserve";
      readonly reservationId: string;
      readonly usageScope: UsageScope;
      /** Every affected subject. */
      readonly subjects: SubjectSet;
      readonly epsilonMicro: number;
      /** Released by then unless executing; committed at the estimate some time after it if executing. */
      readonly expiresMs: number;
    }
  /** A round began. `epsilonMicro` is its estimate. */
  | {
      readonly kind: "executing";
      readonly reservationId: string;
      readonly round: number;
      readonly epsilonMicro: number;
    }
  /** What was really consumed; ends the reservation. */
  | { readonly kind: "commit"; readonly reservationId: string; readonly epsilonMicro: number }
  | { readonly kind: "release"; readonly reservationId: string };

/** The states of a reservation (SCP core spec, part 4). */
export type ReservationState = (typeof BUDGET_RESERVATION_LIFECYCLE)["initial"];

/** A reservation as the entries so far leave it. */
export interface Reservation {
  readonly reservationId: string;
  readonly state: ReservationState;
  readonly usageScope: UsageScope;
  readonly reservedMicro: number;
  readonly expiresMs: number;
  /** Estimate of each round that has begun. */
  readonly executed: ReadonlyMap<number, number>;
  /** Zero until committed. */
  readonly committedMicro: number;
}

interface OpenReservation extends Reservation {
  readonly subjects: SubjectSet;
}

/** What an operator sees of one scope. Counts are of subjects that the ledger has seen. */
export interface BudgetSummary {
  readonly usageScope: UsageScope;
  readonly subjects: number;
  readonly consumedMaxMicro: number;
  readonly reservedMaxMicro: number;
  readonly frozen: number;
}

/**
 * The balances of a privacy budget ledger: exact integers, for each subject and scope (DS-3, PB-1).
 *
 * Holds three numbers per subject in flat arrays and knows nothing of storage, time or policy: it is a pure function
 * of the entries. An entry that does not follow from those before is refused and changes nothing.
 */
export class Ledger {
  readonly #accounts = new Map<UsageScope, Accounts>();
  readonly #reservations = new Map<string, OpenReservation>();

  /** Everything at once: as {@link apply} for each entry, but adding up sets that repeat first. */
  static replay(entries: Iterable<LedgerEntry>): Ledger {
    const ledger = new Ledger();
    const sums = new Map<
      string,
      { reservation: OpenReservation; consumed: number; reserved: number }
    >();
    for (const entry of entries) {
      const change = ledger.#advance(entry);
      const { reservation } = change;
      const key = `${reservation.usageScope} ${hex(reservation.subjects.digest)}`;
      const sum = sums.get(key) ?? { reservation, consumed: 0, reserved: 0 };
      sum.consumed += change.consumed;
      sum.reserved += change.reserved;
      sums.set(key, sum);
    }
    for (const { reservation, ...change } of sums.values()) {
      ledger.#accountsOf(reservation.usageScope).add(reservation.subjects, change);
    }
    return ledger;
  }

  /**
   * Takes one entry into the balances.
   *
   * @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION, PRIVACY_BUDGET_STATE_CONFLICT for a step that
   * the reservation's lifecycle does not have, a second reservation of one name or a second beginning of a round.
   */
  apply(entry: LedgerEntry): void {
    const { reservation, ...change } = this.#advance(entry);
    this.#accountsOf(reservation.usageScope).add(reservation.subjects, change);
  }

  /**
   * Whether every one of `subjects` has `epsilonMicro` left of `allowanceMicro`, net of all reservations, and none of
   * them is frozen.
   */
  fits(request: {
    readonly usageScope: UsageScope;
    readonly subjects: SubjectSet;
    readonly epsilonMicro: number;
    readonly allowanceMicro: number;
  }): boolean {
    const { subjects, epsilonMicro, allowanceMicro } = request;
    const accounts = this.#accountsOf(request.usageScope);
    for (const { page, lows } of subjects.pages()) {
      const fitting = lows.every((low) => {
        const ordinal = page * PAGE_ORDINALS + low;
        return (
          !accounts.isFrozen(ordinal) &&
          accounts.consumedOf(ordinal) + accounts.reservedOf(ordinal) + epsilonMicro <=
            allowanceMicro
        );
      });
      if (!fitting) return false;
    }
    return true;
  }

  /** How many of `subjects` have too little left, and how many are frozen: of those, `fits` is about none. */
  shortfall(request: {
    readonly usageScope: UsageScope;
    readonly subjects: SubjectSet;
    readonly epsilonMicro: number;
    readonly allowanceMicro: number;
  }): { readonly exhausted: number; readonly frozen: number } {
    const accounts = this.#accountsOf(request.usageScope);
    const least = request.allowanceMicro - request.epsilonMicro;
    let exhausted = 0;
    let frozen = 0;
    request.subjects.forEach((ordinal) => {
      if (accounts.isFrozen(ordinal)) frozen += 1;
      if (accounts.consumedOf(ordinal) + accounts.reservedOf(ordinal) > least) exhausted += 1;
    });
    return { exhausted, frozen };
  }

  /** Freezes or thaws the budget of subjects: a frozen budget takes no new reservation (PB-8). */
  setFrozen(usageScope: UsageScope, subjects: SubjectSet, frozen: boolean): void {
    this.#accountsOf(usageScope).freeze(subjects, frozen);
  }

  /** @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION */
  reservation(reservationId: string): Reservation {
    return this.#reservation(reservationId);
  }

  /** Reservations that are neither committed nor released. */
  open(): Reservation[] {
    return [...this.#reservations.values()].filter(
      ({ state }) => !BUDGET_RESERVATION_LIFECYCLE.isTerminal(state),
    );
  }

  /** Micro-epsilon committed against one subject. */
  consumedMicro(usageScope: UsageScope, ordinal: number): number {
    return this.#accountsOf(usageScope).consumedOf(ordinal);
  }

  /** Micro-epsilon reserved against one subject. */
  reservedMicro(usageScope: UsageScope, ordinal: number): number {
    return this.#accountsOf(usageScope).reservedOf(ordinal);
  }

  summary(): BudgetSummary[] {
    return [...this.#accounts].map(([usageScope, accounts]) => ({
      usageScope,
      ...accounts.summary(),
    }));
  }

  /** Moves the reservation of `entry` on and says how the balances of its subjects change. */
  #advance(entry: LedgerEntry): Change & { reservation: OpenReservation } {
    switch (entry.kind) {
      case "reserve":
        return { reservation: this.#begin(entry), consumed: 0, reserved: entry.epsilonMicro };
      case "executing":
        return { reservation: this.#execute(entry), consumed: 0, reserved: 0 };
      case "commit": {
        const { epsilonMicro } = entry;
        const reservation = this.#end(entry.reservationId, "committed", epsilonMicro);
        return { reservation, consumed: epsilonMicro, reserved: -reservation.reservedMicro };
      }
      case "release": {
        const reservation = this.#end(entry.reservationId, "released", 0);
        return { reservation, consumed: 0, reserved: -reservation.reservedMicro };
      }
    }
  }

  #begin(entry: Extract<LedgerEntry, { kind: "reserve" }>): OpenReservation {
    const { kind: _, epsilonMicro, ...rest } = entry;
    requireAmount(epsilonMicro);
    if (this.#reservations.has(entry.reservationId)) {
      throw stateConflict(entry.reservationId, "a new reservation", "one that exists");
    }
    const reservation: OpenReservation = {
      ...rest,
      state: BUDGET_RESERVATION_LIFECYCLE.initial,
      reservedMicro: epsilonMicro,
      executed: new Map(),
      committedMicro: 0,
    };
    this.#reservations.set(entry.reservationId, reservation);
    return reservation;
  }

  #execute(entry: Extract<LedgerEntry, { kind: "executing" }>): OpenReservation {
    const { reservationId, round, epsilonMicro } = entry;
    requireAmount(epsilonMicro);
    const reservation = this.#reservation(reservationId);
    if (reservation.executed.has(round)) {
      throw stateConflict(reservationId, `round ${round} not begun`, "one that has begun");
    }
    if (reservation.state !== "executing") requireStep(reservation, "executing");
    const executed = new Map(reservation.executed).set(round, epsilonMicro);
    const next: OpenReservation = { ...reservation, state: "executing", executed };
    this.#reservations.set(reservationId, next);
    return next;
  }

  #end(
    reservationId: string,
    state: "committed" | "released",
    committedMicro: number,
  ): OpenReservation {
    requireAmount(committedMicro);
    const reservation = this.#reservation(reservationId);
    requireStep(reservation, state);
    const subjects = subjectSetOf([]);
    this.#reservations.set(reservationId, { ...reservation, state, committedMicro, subjects });
    return reservation;
  }

  #reservation(reservationId: string): OpenReservation {
    const reservation = this.#reservations.get(reservationId);
    if (reservation !== undefined) return reservation;
    throw new ConflictError(
      { code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION", reservation_id: reservationId },
      `reservation ${reservationId}: expected one of this ledger`,
    );
  }

  #accountsOf(usageScope: UsageScope): Accounts {
    const known = this.#accounts.get(usageScope);
    if (known !== undefined) return known;
    const accounts = new Accounts();
    this.#accounts.set(usageScope, accounts);
    return accounts;
  }
}

interface Change {
  readonly consumed: number;
  readonly reserved: number;
}

/** Balances of one scope by subject ordinal. Float64 holds every integer below 2^53 exactly. */
class Accounts {
  #consumed = new Float64Array(0);
  #reserved = new Float64Array(0);
  #frozen = new Uint8Array(0);

  consumedOf(ordinal: number): number {
    return this.#consumed[ordinal] ?? 0;
  }

  reservedOf(ordinal: number): number {
    return this.#reserved[ordinal] ?? 0;
  }

  isFrozen(ordinal: number): boolean {
    return this.#frozen[ordinal] === 1;
  }

  add(subjects: SubjectSet, { consumed, reserved }: Change): void {
    if (consumed === 0 && reserved === 0) return;
    this.#grow(subjects);
    subjects.forEach((ordinal) => {
      this.#consumed[ordinal] = this.consumedOf(ordinal) + consumed;
      this.#reserved[ordinal] = this.reservedOf(ordinal) + reserved;
    });
  }

  freeze(subjects: SubjectSet, frozen: boolean): void {
    this.#grow(subjects);
    subjects.forEach((ordinal) => {
      this.#frozen[ordinal] = frozen ? 1 : 0;
    });
  }

  summary(): Omit<BudgetSummary, "usageScope"> {
    return {
      subjects: this.#consumed.filter((amount, i) => amount + this.reservedOf(i) > 0).length,
      consumedMaxMicro: this.#consumed.reduce((most, amount) => Math.max(most, amount), 0),
      reservedMaxMicro: this.#reserved.reduce((most, amount) => Math.max(most, amount), 0),
      frozen: this.#frozen.reduce((count, flag) => count + flag, 0),
    };
  }

  #grow(subjects: SubjectSet): void {
    let needed = 0;
    for (const { page } of subjects.pages()) needed = (page + 1) * PAGE_ORDINALS;
    if (needed <= this.#consumed.length) return;
    const length = Math.max(needed, this.#consumed.length * 2);
    this.#consumed = grown(this.#consumed, new Float64Array(length));
    this.#reserved = grown(this.#reserved, new Float64Array(length));
    const frozen = new Uint8Array(length);
    frozen.set(this.#frozen);
    this.#frozen = frozen;
  }
}

function grown(
  from: Float64Array<ArrayBuffer>,
  to: Float64Array<ArrayBuffer>,
): Float64Array<ArrayBuffer> {
  to.set(from);
  return to;
}

function requireStep(reservation: Reservation, to: ReservationState): void {
  const legal = BUDGET_RESERVATION_LIFECYCLE.transitions.some(
    (transition) => transition.from === reservation.state && transition.to === to,
  );
  if (!legal) throw stateConflict(reservation.reservationId, `a step to ${to}`, reservation.state);
}

function requireAmount(epsilonMicro: number): void {
  if (Number.isSafeInteger(epsilonMicro) && epsilonMicro >= 0) return;
  throw new ConflictError(
    { code: "PRIVACY_BUDGET_PARAMETER_INVALID" },
    "ledger entry: expected a whole number of micro-epsilon, not negative",
  );
}

function stateConflict(reservationId: string, expected: string, got: string): ConflictError {
  return new ConflictError(
    { code: "PRIVACY_BUDGET_STATE_CONFLICT", reservation_id: reservationId, state: got },
    `reservation ${reservationId}: expected ${expected}, got ${got}`,
  );
}
