import { expect, test } from "vitest";

import { Ledger } from "../../../../host/sovereignty/ledger/ledger.ts";
import {
  PAGE_ORDINALS,
  subjectSetOf,
  type SubjectSet,
} from "../../../../host/sovereignty/ledger/subject-set.ts";

const EVERYBODY = Array.from({ length: 2 * PAGE_ORDINALS }, (_, ordinal) => ordinal);
const CHARGED = new Set(EVERYBODY.filter((each) => each % 7 === 3 || each % PAGE_ORDINALS < 33));
const FROZEN = new Set(EVERYBODY.filter((each) => each % 11 === 5));

const FORMS = [
  { form: "list", members: EVERYBODY.filter((each) => each % 101 === 3) },
  { form: "runs", members: EVERYBODY.filter((each) => each % 5_000 > 2_101) },
  { form: "bitmap", members: EVERYBODY.filter((each) => each % 3 === 0 || each % 31 === 30) },
  { form: "runs", members: EVERYBODY },
] as const;

function formsOf(set: SubjectSet): string[] {
  return Array.from(set.pages(), ({ form }) => form);
}

test.for(FORMS)(
  "[DS-3] a set of $form charges each of its members once, and nobody else",
  ({ form, members }) => {
    const subjects = subjectSetOf(members);
    expect(formsOf(subjects)).toEqual([form, form]);
    const ledger = new Ledger();
    ledger.apply(reserve("a", subjects, 40));
    ledger.apply(reserve("b", subjects, 2));
    const expected = new Set(members);
    const wrong = EVERYBODY.filter(
      (each) => ledger.reservedMicro("marketing", each) !== (expected.has(each) ? 42 : 0),
    );
    expect(wrong).toEqual([]);
  },
);

test.for(FORMS)(
  "[AP-4] [PB-8] of a set of $form, those with too little left and those frozen are counted",
  ({ members }) => {
    const subjects = subjectSetOf(members);
    const ledger = new Ledger();
    ledger.apply(reserve("a", subjectSetOf(CHARGED), 60));
    ledger.setFrozen("marketing", subjectSetOf(FROZEN), true);
    const frozen = members.filter((each) => FROZEN.has(each)).length;
    const exhausted = members.filter((each) => CHARGED.has(each)).length;
    const asked = { usageScope: "marketing", recordScope: "customers", subjects } as const;
    const limits = { allowanceMicro: 100, recordScopeAllowanceMicro: null };
    const shortfall = (epsilonMicro: number) =>
      ledger.shortfall({ ...asked, ...limits, epsilonMicro });
    expect(shortfall(40)).toEqual({ exhausted: 0, frozen, recordScope: false });
    expect(shortfall(41)).toEqual({ exhausted, frozen, recordScope: false });
    expect(shortfall(101)).toEqual({ exhausted: members.length, frozen, recordScope: false });
    ledger.apply({ kind: "release", reservationId: "a" });
    expect(shortfall(100)).toEqual({ exhausted: 0, frozen, recordScope: false });
  },
);

test("[PB-2] what a release gave back counts, and what was written off counts for pages nobody was charged on", () => {
  const [first, second] = [subjectSetOf([1]), subjectSetOf([2])];
  const ledger = new Ledger();
  ledger.apply(reserve("a", first, 60));
  ledger.apply(reserve("b", second, 30));
  ledger.apply({ kind: "release", reservationId: "a" });
  const asked = { usageScope: "marketing", recordScope: "customers", epsilonMicro: 70 } as const;
  const demand = { ...asked, allowanceMicro: 100, recordScopeAllowanceMicro: null };
  const exhausted = (...ordinals: number[]) =>
    ledger.shortfall({ ...demand, subjects: subjectSetOf(ordinals) }).exhausted;
  expect([exhausted(1), exhausted(2), exhausted(1, 2)]).toEqual([0, 0, 0]);
  const all = { epsilonMicro: 31, recordScopeMicro: 0 };
  const undo = ledger.apply({ kind: "write_off", usageScope: "marketing", ...all });
  expect(exhausted(1, 2, 3, 4 * PAGE_ORDINALS, 4 * PAGE_ORDINALS + 1)).toBe(5);
  undo();
  expect(exhausted(1, 2, 3, 4 * PAGE_ORDINALS, 4 * PAGE_ORDINALS + 1)).toBe(0);
});

function reserve(reservationId: string, subjects: SubjectSet, epsilonMicro: number) {
  const scopes = { usageScope: "marketing", recordScope: "customers" } as const;
  return {
    ...{ kind: "reserve" as const, reservationId, subjects, epsilonMicro },
    ...{ ...scopes, expiresMs: 1 },
  };
}
