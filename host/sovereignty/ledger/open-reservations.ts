import { BUDGET_RESERVATION_LIFECYCLE, ConflictError, type UsageScope } from "#protocol";

import type { Change } from "./balances.ts";
import { Deadlines } from "../../queue/index.ts";
import type { Undo } from "./pages.ts";

/** How long after its expiry an executing reservation waits for its settlement before the estimate is committed. */
const SETTLEMENT_GRACE_MS = 600_000;

/** The states of a reservation (SCP core spec, part 4). */
export type ReservationState = (typeof BUDGET_RESERVATION_LIFECYCLE)["initial"];

/** A reservation as the entries so far leave it. */
export interface Reservation {
  readonly reservationId: string;
  readonly state: ReservationState;
  readonly usageScope: UsageScope;
  readonly recordScope: string;
  readonly reservedMicro: number;
  readonly expiresMs: number;
  /** Estimate of each round that has begun. */
  readonly executed: ReadonlyMap<number, number>;
  /** Zero until committed. */
  readonly committedMicro: number;
}

/** A reservation that is neither committed nor released. */
export interface OpenReservation extends Reservation {
  /** Lower-case hex digest of the set of its subjects. */
  readonly setDigest: string;
}

/** One step of a reservation, as it is appended. Epsilon is integer micro-epsilon. */
export type ReservationStep =
  | {
      readonly kind: "reserve";
      readonly reservationId: string;
      readonly usageScope: UsageScope;
      readonly recordScope: string;
      /** Lower-case hex digest of the set of every affected subject. */
      readonly setDigest: string;
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

/** What a step did. `reservation` is as it was before it ended. */
export interface StepTaken {
  readonly reservation: OpenReservation;
  readonly change: Change;
  readonly undo: Undo;
}

/** The reservations that are open, and what each step of one does to the balances. Ended ones are forgotten. */
export class OpenReservations {
  readonly #open = new Map<string, OpenReservation>();
  readonly #deadlines = new Deadlines(
    (name) => endMs(this.#open.get(name)),
    () => this.#open.keys(),
  );

  static restored(reservations: Iterable<OpenReservation>): OpenReservations {
    const restored = new OpenReservations();
    for (const each of reservations) restored.#put(each);
    return restored;
  }

  /** One that time has ended at `nowMs`: expired without executing, or executing without a settlement. */
  overdue(nowMs: number): OpenReservation | undefined {
    const name = this.#deadlines.firstDue(nowMs);
    return name === undefined ? undefined : this.#open.get(name);
  }

  all(): OpenReservation[] {
    return [...this.#open.values()];
  }

  find(reservationId: string): OpenReservation | undefined {
    return this.#open.get(reservationId);
  }

  /**
   * Moves a reservation on. A step that does not follow from those before is refused and changes nothing.
   *
   * @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION, PRIVACY_BUDGET_STATE_CONFLICT,
   * PRIVACY_BUDGET_PARAMETER_INVALID
   */
  take(step: ReservationStep): StepTaken {
    switch (step.kind) {
      case "reserve":
        return this.#begin(step);
      case "executing":
        return this.#execute(step);
      case "commit":
        return this.#end(step.reservationId, "committed", step.epsilonMicro);
      case "release":
        return this.#end(step.reservationId, "released", 0);
    }
  }

  #begin(step: Extract<ReservationStep, { kind: "reserve" }>): StepTaken {
    const { kind: _, epsilonMicro, ...rest } = step;
    requireAmount(epsilonMicro);
    if (this.#open.has(step.reservationId)) {
      throw stateConflict(step.reservationId, "a new reservation", "one that exists");
    }
    const reservation: OpenReservation = {
      ...rest,
      state: BUDGET_RESERVATION_LIFECYCLE.initial,
      reservedMicro: epsilonMicro,
      executed: new Map(),
      committedMicro: 0,
    };
    this.#put(reservation);
    const undo = (): void => void this.#open.delete(step.reservationId);
    return { reservation, change: { consumed: 0, reserved: epsilonMicro }, undo };
  }

  #execute(step: Extract<ReservationStep, { kind: "executing" }>): StepTaken {
    const { reservationId, round, epsilonMicro } = step;
    requireAmount(epsilonMicro);
    const before = this.#required(reservationId);
    if (before.executed.has(round)) {
      throw stateConflict(reservationId, `round ${round} not begun`, "one that has begun");
    }
    if (before.state !== "executing") requireStep(before, "executing");
    const executed = new Map(before.executed).set(round, epsilonMicro);
    const reservation: OpenReservation = { ...before, state: "executing", executed };
    this.#put(reservation);
    const undo = (): void => this.#put(before);
    return { reservation, change: { consumed: 0, reserved: 0 }, undo };
  }

  #end(reservationId: string, state: "committed" | "released", consumed: number): StepTaken {
    requireAmount(consumed);
    const reservation = this.#required(reservationId);
    requireStep(reservation, state);
    this.#open.delete(reservationId);
    const undo = (): void => this.#put(reservation);
    return { reservation, change: { consumed, reserved: -reservation.reservedMicro }, undo };
  }

  #put(reservation: OpenReservation): void {
    const { reservationId } = reservation;
    this.#open.set(reservationId, reservation);
    this.#deadlines.add(reservationId, this.#open.size);
  }

  #required(reservationId: string): OpenReservation {
    const reservation = this.#open.get(reservationId);
    if (reservation !== undefined) return reservation;
    throw unknownReservation(reservationId);
  }
}

/** When time ends an open reservation. */
function endMs(reservation: OpenReservation | undefined): number | undefined {
  if (reservation === undefined) return undefined;
  const { state, expiresMs } = reservation;
  return state === "executing" ? expiresMs + SETTLEMENT_GRACE_MS : expiresMs;
}

/** @throws {@link ConflictError} PRIVACY_BUDGET_PARAMETER_INVALID */
export function requireAmount(epsilonMicro: number): void {
  if (Number.isSafeInteger(epsilonMicro) && epsilonMicro >= 0) return;
  throw new ConflictError(
    { code: "PRIVACY_BUDGET_PARAMETER_INVALID" },
    "ledger entry: expected a whole number of micro-epsilon, not negative",
  );
}

export function unknownReservation(reservationId: string): ConflictError {
  return new ConflictError(
    { code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION", reservation_id: reservationId },
    `reservation ${reservationId}: expected one of this ledger`,
  );
}

export function stateConflict(reservationId: string, expected: string, got: string): ConflictError {
  return new ConflictError(
    { code: "PRIVACY_BUDGET_STATE_CONFLICT", reservation_id: reservationId, state: got },
    `reservation ${reservationId}: expected ${expected}, got ${got}`,
  );
}

function requireStep(reservation: Reservation, to: ReservationState): void {
  const legal = BUDGET_RESERVATION_LIFECYCLE.transitions.some(
    (transition) => transition.from === reservation.state && transition.to === to,
  );
  if (!legal) throw stateConflict(reservation.reservationId, `a step to ${to}`, reservation.state);
}
