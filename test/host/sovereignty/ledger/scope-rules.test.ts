import fc from "fast-check";
import { expect, test } from "vitest";

import { Balances } from "../../../../host/sovereignty/ledger/balances.ts";
import type { Undo } from "../../../../host/sovereignty/ledger/pages.ts";
import { subjectSetOf } from "../../../../host/sovereignty/ledger/subject-set.ts";

/** Two pages, of which the second is charged on seldom, and few changes beside each. */
const RULES = { changesKept: 2, ordinals: 32 };
const SUBJECTS = [0, 1, 31, 65_536, 65_537];
const STRANGER = 2;

type Step =
  | { readonly kind: "add" | "freeze" | "thaw"; readonly members: number; readonly amount: number }
  | { readonly kind: "replenish" | "write_off"; readonly amount: number };

interface Naive {
  readonly consumed: readonly number[];
  readonly frozen: readonly boolean[];
  /** Of whoever was never charged. */
  readonly floor: number;
}

const START: Naive = {
  consumed: SUBJECTS.map(() => 0),
  frozen: SUBJECTS.map(() => false),
  floor: 0,
};

function after(naive: Naive, step: Step): Naive {
  const each = (rule: (amount: number, index: number) => number): number[] =>
    naive.consumed.map(rule);
  const isIn = (index: number): boolean => "members" in step && ((step.members >> index) & 1) === 1;
  const lowered = (amount: number): number => Math.max(0, amount - step.amount);
  const raised = (amount: number): number => Math.max(amount, step.amount);
  switch (step.kind) {
    case "add":
      return {
        ...naive,
        consumed: each((amount, index) => amount + (isIn(index) ? step.amount : 0)),
      };
    case "freeze":
    case "thaw":
      return {
        ...naive,
        frozen: naive.frozen.map((was, index) => (isIn(index) ? step.kind === "freeze" : was)),
      };
    case "replenish":
      return {
        ...naive,
        consumed: each((amount, index) => (naive.frozen[index] ? amount : lowered(amount))),
        floor: lowered(naive.floor),
      };
    case "write_off":
      return { ...naive, consumed: each(raised), floor: raised(naive.floor) };
  }
}

function take(balances: Balances, step: Step): Undo {
  const set = () =>
    subjectSetOf(SUBJECTS.filter((_, at) => "members" in step && (step.members >> at) & 1));
  switch (step.kind) {
    case "add":
      return balances.add(set(), { consumed: step.amount, reserved: 0 });
    case "freeze":
    case "thaw":
      return balances.freeze(set(), step.kind === "freeze");
    case "replenish":
      return balances.replenish(step.amount);
    case "write_off":
      return balances.writeOff(step.amount, 0);
  }
}

/** As one asks for a subject, and as a snapshot has all of a page. */
function requireSame(balances: Balances, naive: Naive): void {
  const held = balances.hold();
  const pages = new Set(held.consumed.pages);
  for (const [index, subject] of SUBJECTS.entries()) {
    const [page, low] = [Math.floor(subject / 65_536), subject % 65_536];
    const inPage = held.consumed.valuesOf(page, new Float64Array(RULES.ordinals))[low];
    const seen = [balances.consumedOf(subject), pages.has(page) ? inPage : naive.consumed[index]];
    expect(seen).toEqual([naive.consumed[index], naive.consumed[index]]);
  }
  expect(balances.consumedOf(STRANGER)).toBe(naive.floor);
  held.consumed.release();
  held.frozen.release();
}

const amount = fc.integer({ min: 0, max: 30 });
const members = fc.integer({ min: 1, max: 2 ** SUBJECTS.length - 1 });
const steps = fc.oneof(
  fc.record({ kind: fc.constantFrom("add", "add", "freeze", "thaw"), members, amount }),
  fc.record({ kind: fc.constantFrom("replenish", "write_off"), amount }),
);
/** A write of some steps, which is kept or taken back. */
const writes = fc.array(
  fc.record({ steps: fc.array(steps, { maxLength: 4 }), kept: fc.boolean() }),
  { maxLength: 12 },
);

test("[PB-5] [PB-8] pages that follow rules late, one after the other or never, have what all at once would have", () => {
  fc.assert(
    fc.property(writes, (all) => {
      const balances = new Balances(RULES);
      let naive = START;
      for (const { steps: taken, kept } of all) {
        const before = naive;
        const undos: Undo[] = [];
        for (const step of taken) {
          undos.push(take(balances, step));
          naive = after(naive, step);
          requireSame(balances, naive);
        }
        if (kept) for (const undo of undos) undo.kept?.();
        else for (const undo of undos.toReversed()) undo();
        if (!kept) naive = before;
        requireSame(balances, naive);
      }
    }),
    { seed: 7, numRuns: 300 },
  );
});
