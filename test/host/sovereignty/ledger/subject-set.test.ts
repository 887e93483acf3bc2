import fc from "fast-check";
import { expect, test } from "vitest";

import {
  decodeSubjectSet,
  firstSubjects,
  ordinalBytes,
  ordinalsOf,
  subjectSetOf,
  type SubjectSet,
} from "../../../../host/sovereignty/ledger/subject-set.ts";

function membersOf(set: SubjectSet): number[] {
  const members: number[] = [];
  set.forEach((ordinal) => members.push(ordinal));
  return members;
}

/** Sparse, dense, in runs and across pages. */
const ordinals = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 200 }),
  fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { maxLength: 50 }),
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 300 })), {
      maxLength: 20,
    })
    .map((runs) =>
      runs.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i)),
    ),
  fc
    .tuple(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 0, max: 70_000 }))
    .map(([step, count]) => Array.from({ length: count }, (_, i) => i * step)),
);

test("sets of subjects have one encoding each and come back as they were", () => {
  fc.assert(
    fc.property(ordinals, (given) => {
      const set = subjectSetOf(given);
      const members = [...new Set(given)].toSorted((left, right) => left - right);
      expect(set.size).toBe(members.length);
      expect(membersOf(set)).toEqual(members);
      const shuffled = subjectSetOf(members.toReversed());
      expect(shuffled.encoded).toEqual(set.encoded);
      const decoded = decodeSubjectSet(set.encoded);
      expect(membersOf(decoded)).toEqual(members);
      expect(decoded.digest).toEqual(set.digest);
      for (const probe of members.slice(0, 50).flatMap((each) => [each - 1, each, each + 1])) {
        expect(set.has(probe)).toBe(probe >= 0 && members.includes(probe));
      }
    }),
    { seed: 1, numRuns: 60 },
  );
});

test("a page takes the shortest of list, runs and bitmap, a list before runs of one length", () => {
  const lengthOf = (set: SubjectSet): number => set.encoded.length - 6;
  expect(lengthOf(subjectSetOf([7]))).toBe(2);
  expect(subjectSetOf([7, 8]).encoded[3]).toBe(0);
  expect(lengthOf(firstSubjects(65_536))).toBe(4);
  expect(lengthOf(subjectSetOf(Array.from({ length: 4_096 }, (_, i) => i * 2)))).toBe(8_192);
  expect(lengthOf(subjectSetOf(Array.from({ length: 30_000 }, (_, i) => i * 2)))).toBe(8_192);
  expect(firstSubjects(10_000_000).encoded.length).toBe(1 + 153 * 9);
  expect(firstSubjects(70_000).encoded).toEqual(
    subjectSetOf(Array.from({ length: 70_000 }, (_, i) => i)).encoded,
  );
  expect(firstSubjects(0).size).toBe(0);
});

test("what schema versions 1 and 2 wrote is read under its own bytes and digest", () => {
  const list = Uint8Array.of(0, 2, 0, 0, 0, 0, 0, 1, 0);
  expect(membersOf(decodeSubjectSet(list))).toEqual([2, 65_536]);
  const bitmap = Uint8Array.of(1, 0b1001_0001, 0b1);
  const set = decodeSubjectSet(bitmap);
  expect(membersOf(set)).toEqual([0, 4, 7, 8]);
  expect(set.encoded).toEqual(bitmap);
  expect(set.digest).not.toEqual(subjectSetOf([0, 4, 7, 8]).digest);
  expect(decodeSubjectSet(Uint8Array.of(0)).size).toBe(0);
});

test.for([
  { title: "no bytes", bytes: [] },
  { title: "an unknown form", bytes: [3] },
  { title: "an old list that descends", bytes: [0, 2, 0, 0, 0, 1, 0, 0, 0] },
  { title: "an old list that is cut", bytes: [0, 2, 0, 0] },
  { title: "an old bitmap that ends in nothing", bytes: [1, 1, 0] },
  { title: "an old bitmap of nothing", bytes: [1] },
  { title: "a page that is cut", bytes: [2, 0, 0, 0, 1, 0, 5, 0] },
  { title: "a header that is cut", bytes: [2, 0, 0, 0] },
  { title: "a list out of order", bytes: [2, 0, 0, 0, 1, 0, 5, 0, 4, 0] },
  { title: "a list with a member twice", bytes: [2, 0, 0, 0, 1, 0, 5, 0, 5, 0] },
  { title: "runs where a list is as short", bytes: [2, 0, 0, 1, 1, 0, 5, 0, 6, 0] },
  { title: "runs that touch", bytes: [2, 0, 0, 1, 3, 0, 5, 0, 9, 0, 10, 0, 20, 0] },
  { title: "a run that ends before it begins", bytes: [2, 0, 0, 1, 1, 0, 9, 0, 5, 0] },
  { title: "an unknown form of a page", bytes: [2, 0, 0, 3, 0, 0, 5, 0] },
  { title: "a page twice", bytes: [2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 6, 0] },
  {
    title: "pages that descend",
    bytes: [2, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 6, 0],
  },
  { title: "a byte too many", bytes: [2, 0, 0, 0, 0, 0, 5, 0, 0] },
])("refuses $title", ({ bytes }) => {
  expect(() => decodeSubjectSet(Uint8Array.from(bytes))).toThrow(
    expect.objectContaining({ code: "SCHEMA_MALFORMED" }),
  );
});

test.for([-1, 0.5, 2 ** 32, NaN])("refuses %d as an ordinal", (ordinal) => {
  expect(() => subjectSetOf([ordinal])).toThrow("ordinals in [0, 2^32)");
});

test("any bytes give a set or SCHEMA_MALFORMED", () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 2), fc.uint8Array({ maxLength: 40 }), (form, bytes) => {
      const whole = Uint8Array.of(form, ...bytes);
      try {
        expect(decodeSubjectSet(whole).encoded).toEqual(whole);
      } catch (cause) {
        expect(cause).toMatchObject({ code: "SCHEMA_MALFORMED" });
      }
    }),
    { seed: 2, numRuns: 500 },
  );
});

test("ordinals of rows keep order and repetitions", () => {
  const rows = Uint32Array.of(7, 7, 0, 0xffff_ffff);
  expect(ordinalsOf(ordinalBytes(rows))).toEqual(rows);
});
