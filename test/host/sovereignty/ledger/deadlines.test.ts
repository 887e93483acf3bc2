import fc from "fast-check";
import { expect, test } from "vitest";

import { OpenReservations } from "../../../../host/sovereignty/ledger/open-reservations.ts";
import type { Undo } from "../../../../host/sovereignty/ledger/pages.ts";

const GRACE_MS = 600_000;

/** Those that time has ended, one by one as they are looked for: every open one is looked at. */
function naivelyOverdue(open: OpenReservations, nowMs: number): string[] {
  return open
    .all()
    .filter(({ state, expiresMs }) =>
      state === "executing" ? expiresMs + GRACE_MS <= nowMs : expiresMs <= nowMs,
    )
    .map(({ reservationId }) => reservationId)
    .toSorted();
}

function begin(open: OpenReservations, reservationId: string, expiresMs: number): Undo {
  const scope = { usageScope: "marketing", recordScope: "customers", setDigest: "00" } as const;
  return open.take({ kind: "reserve", reservationId, ...scope, epsilonMicro: 5, expiresMs }).undo;
}

function end(open: OpenReservations, reservationId: string): Undo {
  const isBegun = open.find(reservationId)?.state === "executing";
  return open.take(
    isBegun
      ? { kind: "commit", reservationId, epsilonMicro: 5 }
      : { kind: "release", reservationId },
  ).undo;
}

/** Ends what is overdue. @returns which, in the order of their deadlines, and how to take it back */
function endOverdue(open: OpenReservations, nowMs: number): { names: string[]; undos: Undo[] } {
  const names: string[] = [];
  const undos: Undo[] = [];
  for (let due = open.overdue(nowMs); due !== undefined; due = open.overdue(nowMs)) {
    names.push(due.reservationId);
    undos.push(end(open, due.reservationId));
  }
  return { names, undos };
}

const step = fc.record({
  kind: fc.constantFrom("begin", "execute", "end", "overdue"),
  name: fc.integer({ min: 0, max: 3 }).map((index) => `r${index}`),
  /** When a reservation expires, or what time it is: some of them around the grace. */
  ms: fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: GRACE_MS - 20, max: GRACE_MS + 60 }),
  ),
  isUndone: fc.boolean(),
});

test("[PB-4] what time has ended is found whatever began, executed, ended and was taken back before", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 60 }), (steps) => {
      const open = new OpenReservations();
      for (const { kind, name, ms, isUndone } of steps) {
        const found = open.find(name);
        const undos: Undo[] = [];
        if (kind === "begin" && found === undefined) undos.push(begin(open, name, ms));
        if (kind === "execute" && found !== undefined) {
          const round = found.executed.size;
          const executing = { kind: "executing", reservationId: name, round } as const;
          undos.push(open.take({ ...executing, epsilonMicro: 1 }).undo);
        }
        if (kind === "end" && found !== undefined) undos.push(end(open, name));
        if (kind === "overdue") {
          const expected = naivelyOverdue(open, ms);
          const ended = endOverdue(open, ms);
          expect(ended.names.toSorted()).toEqual(expected);
          undos.push(...ended.undos);
        }
        if (isUndone) for (const undo of undos.toReversed()) undo();
      }
      const left = open.all().map(({ reservationId }) => reservationId);
      expect(endOverdue(open, 3 * GRACE_MS).names.toSorted()).toEqual(left.toSorted());
    }),
    { numRuns: 300, seed: 7 },
  );
});

test("[PB-4] what was restored is ended in time, and the first to expire first", () => {
  const before = new OpenReservations();
  for (const [index, expiresMs] of [50, 10, 30, 20, 40].entries()) {
    begin(before, `r${index}`, expiresMs);
  }
  const open = OpenReservations.restored(before.all());
  expect(endOverdue(open, 39).names).toEqual(["r1", "r3", "r2"]);
  expect(open.overdue(39)).toBeUndefined();
  expect(endOverdue(open, 50).names).toEqual(["r4", "r0"]);
});

test("ended reservations leave nothing behind that grows without end", () => {
  const open = new OpenReservations();
  begin(open, "old", 1);
  for (let index = 0; index < 20_000; index += 1) {
    begin(open, `r${index}`, 1_000_000);
    end(open, `r${index}`);
  }
  expect(endOverdue(open, 2_000_000).names).toEqual(["old"]);
});
