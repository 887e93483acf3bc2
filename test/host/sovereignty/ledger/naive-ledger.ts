// The ledger as one would write it down first. It imports nothing: what it agrees on, it agrees on by itself.

/** A reservation, from when it is made until it ends. */
interface NaiveReservation {
  readonly scope: string;
  readonly record: string;
  readonly subjects: readonly number[];
  readonly epsilon: number;
  readonly rounds: readonly number[];
}

/** What somebody wants to do; each is accepted or refused. */
export type NaiveStep =
  | (Omit<NaiveReservation, "rounds"> & { readonly kind: "reserve"; readonly id: string })
  | { readonly kind: "executing"; readonly id: string; readonly round: number }
  | { readonly kind: "commit"; readonly id: string; readonly epsilon: number }
  | { readonly kind: "release"; readonly id: string }
  | {
      readonly kind: "replenish";
      readonly scope: string;
      readonly epoch: number;
      readonly epsilon: number;
    }
  | { readonly kind: "write_off"; readonly scope: string }
  | { readonly kind: "freeze"; readonly scope: string; readonly subjects: readonly number[] }
  | { readonly kind: "thaw"; readonly scope: string; readonly subjects: readonly number[] };

/** Everybody there is. */
export interface NaiveWorld {
  readonly scopes: readonly string[];
  readonly subjects: readonly number[];
  readonly records: readonly string[];
  readonly allowance: number;
  readonly recordAllowance: number;
}

/** Never changed: each step gives a new one. Keys are a scope and a subject or record scope. */
export interface NaiveLedger {
  readonly consumed: Readonly<Record<string, number>>;
  readonly frozen: readonly string[];
  readonly open: Readonly<Record<string, NaiveReservation>>;
  readonly ended: readonly string[];
  readonly epochs: Readonly<Record<string, number>>;
}

export const EMPTY: NaiveLedger = { consumed: {}, frozen: [], open: {}, ended: [], epochs: {} };

/** What a subject, or a record scope as a whole, has consumed. */
export function consumedBy(ledger: NaiveLedger, scope: string, who: number | string): number {
  return ledger.consumed[`${scope} ${who}`] ?? 0;
}

/** What open reservations hold of a subject, or of a record scope as a whole. */
export function reservedOf(ledger: NaiveLedger, scope: string, who: number | string): number {
  return Object.values(ledger.open)
    .filter((each) => each.scope === scope)
    .filter((each) => (typeof who === "number" ? each.subjects.includes(who) : each.record === who))
    .reduce((sum, { epsilon }) => sum + epsilon, 0);
}

/** The ledger after `step`, or null when the step is refused. */
export function after(ledger: NaiveLedger, step: NaiveStep, world: NaiveWorld): NaiveLedger | null {
  switch (step.kind) {
    case "reserve":
      return afterReserve(ledger, step, world);
    case "executing": {
      const found = ledger.open[step.id];
      if (found === undefined || found.rounds.includes(step.round)) return null;
      const begun = { ...found, rounds: [...found.rounds, step.round] };
      return { ...ledger, open: { ...ledger.open, [step.id]: begun } };
    }
    case "commit":
      return afterEnd(ledger, step.id, step.epsilon);
    case "release":
      return afterEnd(ledger, step.id, null);
    case "replenish": {
      const { scope, epoch, epsilon } = step;
      if (epoch <= (ledger.epochs[scope] ?? -1)) return null;
      const consumed = { ...ledger.consumed };
      for (const who of [...world.subjects, ...world.records]) {
        if (ledger.frozen.includes(`${scope} ${who}`)) continue;
        consumed[`${scope} ${who}`] = Math.max(0, consumedBy(ledger, scope, who) - epsilon);
      }
      return { ...ledger, consumed, epochs: { ...ledger.epochs, [scope]: epoch } };
    }
    case "write_off": {
      const consumed = { ...ledger.consumed };
      for (const who of [...world.subjects, ...world.records]) {
        const all = typeof who === "number" ? world.allowance : world.recordAllowance;
        consumed[`${step.scope} ${who}`] = Math.max(all, consumedBy(ledger, step.scope, who));
      }
      return { ...ledger, consumed };
    }
    case "freeze":
    case "thaw": {
      const named = step.subjects.map((subject) => `${step.scope} ${subject}`);
      const others = ledger.frozen.filter((each) => !named.includes(each));
      return { ...ledger, frozen: step.kind === "freeze" ? [...others, ...named] : others };
    }
  }
}

function afterReserve(
  ledger: NaiveLedger,
  step: Extract<NaiveStep, { kind: "reserve" }>,
  world: NaiveWorld,
): NaiveLedger | null {
  const { kind: _, id, ...rest } = step;
  const { scope, record, subjects, epsilon } = rest;
  if (ledger.open[id] !== undefined || ledger.ended.includes(id)) return null;
  const spent = (who: number | string): number =>
    consumedBy(ledger, scope, who) + reservedOf(ledger, scope, who) + epsilon;
  if (spent(record) > world.recordAllowance) return null;
  if (subjects.some((each) => spent(each) > world.allowance)) return null;
  if (subjects.some((each) => ledger.frozen.includes(`${scope} ${each}`))) return null;
  return { ...ledger, open: { ...ledger.open, [id]: { ...rest, rounds: [] } } };
}

function afterEnd(ledger: NaiveLedger, id: string, epsilon: number | null): NaiveLedger | null {
  const { [id]: found, ...open } = ledger.open;
  if (found === undefined || found.rounds.length > 0 !== (epsilon !== null)) return null;
  const consumed = { ...ledger.consumed };
  for (const who of [...found.subjects, found.record]) {
    const key = `${found.scope} ${who}`;
    consumed[key] = consumedBy(ledger, found.scope, who) + (epsilon ?? 0);
  }
  return { ...ledger, open, consumed, ended: [...ledger.ended, id] };
}
