import fc from "fast-check";
import { expect, test } from "vitest";

import { PAGE_RULES } from "../../../host/sovereignty/ledger/amounts.ts";
import {
  Ledger,
  type LedgerEntry,
  type LedgerStep,
} from "../../../host/sovereignty/ledger/ledger.ts";
import { subjectSetOf, type SubjectSet } from "../../../host/sovereignty/ledger/subject-set.ts";
import { hex } from "../../../protocol/index.ts";

const ALLOWANCE = 100;

function reserve(reservationId: string, epsilonMicro: number, ...subjects: number[]) {
  return {
    kind: "reserve" as const,
    reservationId,
    usageScope: "marketing" as const,
    recordScope: "customers",
    subjects: subjectSetOf(subjects),
    epsilonMicro,
    expiresMs: 1,
  };
}

function ledgerOf(entries: readonly LedgerEntry[]): Ledger {
  const ledger = new Ledger();
  for (const entry of entries) ledger.apply(entry);
  return ledger;
}

/** As a start does it, from what the table says. */
async function replayedOf(entries: readonly LedgerEntry[]): Promise<Ledger> {
  const sets = new Map<string, SubjectSet>();
  async function* steps(): AsyncGenerator<LedgerStep> {
    for (const entry of entries) {
      if (entry.kind !== "reserve") {
        yield entry;
        continue;
      }
      const { subjects, ...rest } = entry;
      sets.set(hex(subjects.digest), subjects);
      yield { ...rest, setDigest: hex(subjects.digest) };
    }
  }
  const ledger = new Ledger();
  await ledger.replay(steps(), async (digest) => sets.get(digest) ?? subjectSetOf([]));
  return ledger;
}

function fits(ledger: Ledger, epsilonMicro: number, ...subjects: number[]): boolean {
  const { exhausted, frozen } = ledger.shortfall({
    usageScope: "marketing",
    subjects: subjectSetOf(subjects),
    epsilonMicro,
    recordScope: "customers",
    allowanceMicro: ALLOWANCE,
    recordScopeAllowanceMicro: null,
  });
  return exhausted === 0 && frozen === 0;
}

test("[DS-3] reserve and commit move the balances of every subject of the set, and of no other", () => {
  const ledger = ledgerOf([reserve("a", 60, 1, 3), reserve("b", 10, 3)]);
  expect(ledger.reservedMicro("marketing", 1)).toBe(60);
  expect(ledger.reservedMicro("marketing", 3)).toBe(70);
  ledger.apply({ kind: "executing", reservationId: "a", round: 0, epsilonMicro: 60 });
  ledger.apply({ kind: "commit", reservationId: "a", epsilonMicro: 55 });
  ledger.apply({ kind: "release", reservationId: "b" });
  expect(ledger.consumedMicro("marketing", 1)).toBe(55);
  expect(ledger.consumedMicro("marketing", 3)).toBe(55);
  expect(ledger.reservedMicro("marketing", 3)).toBe(0);
  expect(ledger.consumedMicro("marketing", 2)).toBe(0);
  expect(ledger.consumedMicro("analytics", 1)).toBe(0);
});

test("[AP-4] one subject without enough left refuses the whole set", () => {
  const ledger = ledgerOf([reserve("a", 60, 1)]);
  expect(fits(ledger, 40, 1, 2)).toBe(true);
  expect(fits(ledger, 41, 1, 2)).toBe(false);
  expect(fits(ledger, 41, 2)).toBe(true);
});

test("[PB-8] a frozen subject takes no new reservation until thawed", () => {
  const ledger = new Ledger();
  ledger.setFrozen("marketing", subjectSetOf([5]), true);
  expect(fits(ledger, 1, 4, 5)).toBe(false);
  expect(fits(ledger, 1, 4)).toBe(true);
  ledger.setFrozen("marketing", subjectSetOf([5]), false);
  expect(fits(ledger, 1, 4, 5)).toBe(true);
});

const EXECUTING: LedgerEntry = {
  kind: "executing",
  reservationId: "a",
  round: 0,
  epsilonMicro: 1,
};

test.for([16, 0, 1])(
  "[PB-2] what was charged after a write-off or a replenishment is taken back with it, of pages that keep %d changes",
  (changesKept) => {
    const ledger = new Ledger({ ...PAGE_RULES, changesKept });
    const scopes = { kind: "write_off", usageScope: "marketing" } as const;
    ledger.apply({ ...scopes, epsilonMicro: 50, recordScopeMicro: 50 });
    const replenish = { kind: "replenish", usageScope: "marketing", epochId: 1 } as const;
    const [alone, both] = [subjectSetOf([1]), subjectSetOf([1, 2])];
    const undos = [
      { ...replenish, epsilonMicro: 20 },
      ...committed("a", alone),
      ...committed("b", alone),
      ...committed("c", both),
    ].map((entry) => ledger.apply(entry));
    expect(ledger.consumedMicro("marketing", 1)).toBe(45);
    for (const undo of undos.toReversed()) undo();
    expect([1, 2, 3].map((each) => ledger.consumedMicro("marketing", each))).toEqual([50, 50, 50]);
    expect(ledger.reservedMicro("marketing", 1)).toBe(0);
  },
);

/** Reserves, begins and commits 5 of 10. */
function committed(reservationId: string, subjects: SubjectSet): LedgerEntry[] {
  return [
    { ...reserve(reservationId, 10), subjects },
    { kind: "executing", reservationId, round: 0, epsilonMicro: 1 },
    { kind: "commit", reservationId, epsilonMicro: 5 },
  ];
}

test.for<{ title: string; entries: LedgerEntry[]; code: string }>([
  {
    title: "a commit before execution",
    entries: [reserve("a", 1, 1), { kind: "commit", reservationId: "a", epsilonMicro: 1 }],
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  },
  {
    title: "a release after execution began",
    entries: [reserve("a", 1, 1), EXECUTING, { kind: "release", reservationId: "a" }],
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  },
  {
    title: "a second commit",
    entries: [
      reserve("a", 1, 1),
      EXECUTING,
      { kind: "commit", reservationId: "a", epsilonMicro: 1 },
      { kind: "commit", reservationId: "a", epsilonMicro: 0 },
    ],
    code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION",
  },
  {
    title: "a commit of less than nothing",
    entries: [
      reserve("a", 1, 1),
      EXECUTING,
      { kind: "commit", reservationId: "a", epsilonMicro: -1 },
    ],
    code: "PRIVACY_BUDGET_PARAMETER_INVALID",
  },
  {
    title: "a round that begins twice",
    entries: [reserve("a", 1, 1), EXECUTING, EXECUTING],
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  },
  {
    title: "a second reservation of one name",
    entries: [reserve("a", 1, 1), reserve("a", 1, 1)],
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  },
  {
    title: "an unknown reservation",
    entries: [{ kind: "release", reservationId: "a" }],
    code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION",
  },
])("[PB-5] refuses $title and keeps the balances", ({ entries, code }) => {
  const ledger = ledgerOf(entries.slice(0, -1));
  const before = ledger.summary();
  const last = entries.slice(-1);
  expect(() => last.forEach((entry) => ledger.apply(entry))).toThrow(
    expect.objectContaining({ code }),
  );
  expect(ledger.summary()).toEqual(before);
});

/** The ledger as one would write it down first: a list of reservations, balances summed anew each time. */
class NaiveLedger {
  readonly #all = new Map<
    string,
    { set: number[]; reserved: number; consumed: number; executing: boolean }
  >();

  balance(subject: number): number {
    return [...this.#all.values()]
      .filter(({ set }) => set.includes(subject))
      .reduce((sum, { reserved, consumed }) => sum + reserved + consumed, 0);
  }

  tryReserve(id: string, set: number[], epsilon: number): boolean {
    if (set.some((subject) => this.balance(subject) + epsilon > ALLOWANCE)) return false;
    this.#all.set(id, { set, reserved: epsilon, consumed: 0, executing: false });
    return true;
  }

  end(id: string, kind: "executing" | "commit" | "release", epsilon: number): boolean {
    const found = this.#all.get(id);
    if (found === undefined || found.reserved < 0) return false;
    if (kind === "executing") {
      if (found.executing) return false;
      found.executing = true;
      return true;
    }
    if ((kind === "commit") !== found.executing) return false;
    this.#all.set(id, {
      ...found,
      reserved: 0,
      consumed: kind === "commit" ? epsilon : 0,
      executing: kind === "commit",
    });
    this.#ended.add(id);
    return true;
  }

  readonly #ended = new Set<string>();

  hasEnded(id: string): boolean {
    return this.#ended.has(id);
  }
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant("reserve" as const),
    id: fc.integer({ min: 0, max: 9 }),
    set: fc.oneof(
      fc.constantFrom<number[]>([1, 2, 3], [3, 40]),
      fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 12 }),
    ),
    epsilon: fc.integer({ min: 0, max: 60 }),
  }),
  fc.record({
    kind: fc.constantFrom("executing" as const, "commit" as const, "release" as const),
    id: fc.integer({ min: 0, max: 9 }),
    set: fc.constant<number[]>([]),
    epsilon: fc.integer({ min: 0, max: 60 }),
  }),
);

test("[PB-1] balances follow a naive model, whatever happens in whichever order, also when replayed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const ledger = new Ledger();
      const naive = new NaiveLedger();
      const seen = new Set<string>();
      const entries: LedgerEntry[] = [];
      for (const { kind, id, set, epsilon } of steps) {
        const reservationId = `r${id}`;
        if (kind === "reserve") {
          if (seen.has(reservationId)) continue;
          const accepted = naive.tryReserve(reservationId, set, epsilon);
          expect(fits(ledger, epsilon, ...set)).toBe(accepted);
          if (!accepted) continue;
          seen.add(reservationId);
          entries.push(reserve(reservationId, epsilon, ...set));
        } else {
          const ended = naive.hasEnded(reservationId);
          if (ended || !naive.end(reservationId, kind, epsilon)) {
            expect(() => ledger.apply(entryOf(kind, reservationId, epsilon))).toThrow();
            continue;
          }
          entries.push(entryOf(kind, reservationId, epsilon));
        }
        entries.slice(-1).forEach((entry) => ledger.apply(entry));
      }
      const replayed = await replayedOf(entries);
      for (let subject = 0; subject <= 40; subject += 1) {
        for (const each of [ledger, replayed]) {
          const balance =
            each.consumedMicro("marketing", subject) + each.reservedMicro("marketing", subject);
          expect(balance).toBe(naive.balance(subject));
        }
      }
    }),
    { seed: 7, numRuns: 300 },
  );
});

function entryOf(
  kind: "executing" | "commit" | "release",
  reservationId: string,
  epsilonMicro: number,
): LedgerEntry {
  if (kind === "executing") return { kind, reservationId, round: 0, epsilonMicro };
  return kind === "commit" ? { kind, reservationId, epsilonMicro } : { kind, reservationId };
}
