import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { compilePredicate, type QueryColumns } from "../../../enclave/workloads/query/index.ts";
import type { Operand, Predicate } from "../../../protocol/index.ts";

const COLUMNS: QueryColumns = new Map<string, readonly (number | string | null)[]>([
  ["age", [17, 18, 30, 64, 65, null]],
  ["country", ["SG", "SG", "MY", "SG", null, "MY"]],
  ["visits", [0, 3, 3, null, 9, 1]],
]);
const ROWS = 6;
/** Whose the rows are: two subjects have two rows each. */
const SUBJECTS = ["ana", "ana", "bo", "cy", "bo", "di"];

const match = (predicate: Predicate): string =>
  compilePredicate(predicate).match(COLUMNS, SUBJECTS).join("");
const alone = (operand: Operand): Predicate => ({ operator: "AND", operands: [operand] });

const adult: Operand = { attribute: "age", op: "range", min: 18, max: 65 };
const local: Operand = { attribute: "country", op: "eq", value: "SG" };
const regular: Operand = { attribute: "visits", op: "in", values: [3, 9] };

describe("column scans", () => {
  test.for<{ title: string; predicate: Predicate; mask: string }>([
    {
      title: "a range takes its minimum and leaves its maximum",
      predicate: alone(adult),
      mask: "011100",
    },
    { title: "an equality of text", predicate: alone(local), mask: "110100" },
    { title: "one of several", predicate: alone(regular), mask: "011010" },
    {
      title: "AND",
      predicate: { operator: "AND", operands: [adult, local, regular] },
      mask: "010000",
    },
    { title: "OR", predicate: { operator: "OR", operands: [adult, regular] }, mask: "011110" },
    {
      title: "NOT, which no absent value matches",
      predicate: { operator: "NOT", operands: [adult] },
      mask: "100010",
    },
    {
      title: "OR, where one certain yes is enough",
      predicate: { operator: "OR", operands: [local, regular] },
      mask: "111110",
    },
    {
      title: "JOIN, where each operand may be met by another row of the subject",
      predicate: {
        operator: "JOIN",
        operands: [adult, { attribute: "visits", op: "in", values: [0, 9] }],
      },
      mask: "111010",
    },
    {
      title: "JOIN, which an absent value does not meet",
      predicate: { operator: "JOIN", operands: [adult, regular] },
      mask: "111010",
    },
    {
      title: "JOIN with nobody in all of it",
      predicate: {
        operator: "JOIN",
        operands: [adult, { attribute: "age", op: "eq", value: 120 }],
      },
      mask: "000000",
    },
    {
      title: "a number is no text",
      predicate: alone({ attribute: "visits", op: "eq", value: "3" }),
      mask: "000000",
    },
    {
      title: "text is in no range",
      predicate: alone({ attribute: "country", op: "range", min: 0, max: 9 }),
      mask: "000000",
    },
    {
      title: "an empty range",
      predicate: alone({ attribute: "age", op: "range", min: 30, max: 30 }),
      mask: "000000",
    },
  ])("[RT-4][AC-1] $title", ({ predicate, mask }) => {
    expect(match(predicate)).toBe(mask);
  });

  test("[RT-4] agree with a row-by-row reading of any predicate", () => {
    const operand = fc.oneof(
      fc.record({
        attribute: fc.constantFrom("age", "visits"),
        op: fc.constant("range" as const),
        min: fc.integer({ min: 0, max: 70 }),
        max: fc.integer({ min: 0, max: 70 }),
      }),
      fc.constantFrom(adult, local, regular),
    );
    const predicates = fc.oneof(
      fc.record({
        operator: fc.constantFrom("AND" as const, "OR" as const, "JOIN" as const),
        operands: fc.array(operand, { minLength: 1, maxLength: 4 }),
      }),
      fc.record({ operator: fc.constant("NOT" as const), operands: fc.tuple(operand) }),
    );
    const property = fc.property(predicates, (predicate) => {
      const expected = Array.from({ length: ROWS }, (_, row) =>
        truth(predicate, row) === true ? 1 : 0,
      );
      expect([...compilePredicate(predicate).match(COLUMNS, SUBJECTS)]).toEqual(expected);
    });
    fc.assert(property, { seed: 29, numRuns: 300 });
  });

  test("names the attributes it reads", () => {
    const { attributes } = compilePredicate({ operator: "OR", operands: [local, adult, local] });
    expect(attributes).toEqual(["age", "country"]);
  });

  test.for([
    { title: "a column that is not there", columns: new Map() },
    { title: "a short column", columns: new Map([["age", [1]]]) },
  ])("refuse $title", ({ columns }) => {
    expect(() => compilePredicate(alone(adult)).match(columns, SUBJECTS)).toThrow(
      expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" }),
    );
  });
});

/** Three-valued truth of one operand, written the slow way. */
function stateOf(operand: Operand, row: number): boolean | undefined {
  const value = COLUMNS.get(operand.attribute)?.[row] ?? null;
  if (value === null) return undefined;
  if (operand.op === "eq") return value === operand.value;
  if (operand.op === "in") return operand.values.includes(value);
  return typeof value === "number" && value >= operand.min && value < operand.max;
}

function truth({ operator, operands }: Predicate, row: number): boolean | undefined {
  const states = operands.map((operand) => stateOf(operand, row));
  const some = states.includes(true) ? true : states.includes(undefined) ? undefined : false;
  if (operator === "OR") return some;
  if (operator === "JOIN") {
    const own = SUBJECTS.flatMap((subject, at) => (subject === SUBJECTS[row] ? [at] : []));
    return operands.every((operand) => own.some((at) => stateOf(operand, at) === true));
  }
  if (operator === "NOT") return some === undefined ? undefined : !some;
  return states.includes(false) ? false : states.includes(undefined) ? undefined : true;
}
