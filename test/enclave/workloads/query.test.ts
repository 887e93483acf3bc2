import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  compilePredicate,
  countSubjects,
  queryPredicateSchema,
  type QueryColumns,
  type QueryPredicate,
} from "../../../enclave/workloads/query/index.ts";

const COLUMNS: QueryColumns = new Map<string, readonly (number | string | null)[]>([
  ["age", [17, 18, 30, 64, 65, null]],
  ["country", ["SG", "SG", "MY", "SG", null, "MY"]],
  ["visits", [0, 3, 3, null, 9, 1]],
]);
const ROWS = 6;

const match = (predicate: QueryPredicate): string =>
  compilePredicate(queryPredicateSchema.parse(predicate)).match(COLUMNS, ROWS).join("");

const adult: QueryPredicate = { attribute: "age", op: "range", min: 18, max: 65 };
const local: QueryPredicate = { attribute: "country", op: "eq", value: "SG" };
const regular: QueryPredicate = { attribute: "visits", op: "in", values: [3, 9] };

describe("column scans", () => {
  test.for<{ title: string; predicate: QueryPredicate; mask: string }>([
    { title: "a range takes its minimum and leaves its maximum", predicate: adult, mask: "011100" },
    { title: "an equality of text", predicate: local, mask: "110100" },
    { title: "one of several", predicate: regular, mask: "011010" },
    {
      title: "AND",
      predicate: { operator: "AND", operands: [adult, local, regular] },
      mask: "010000",
    },
    {
      title: "FILTER",
      predicate: { operator: "FILTER", operands: [local, regular] },
      mask: "010000",
    },
    { title: "OR", predicate: { operator: "OR", operands: [adult, regular] }, mask: "011110" },
    {
      title: "NOT, which no absent value matches",
      predicate: { operator: "NOT", operands: [adult] },
      mask: "100010",
    },
    {
      title: "NOT over AND, where one certain no is enough",
      predicate: { operator: "NOT", operands: [{ operator: "AND", operands: [local, regular] }] },
      mask: "101001",
    },
    {
      title: "a number is no text",
      predicate: { attribute: "visits", op: "eq", value: "3" },
      mask: "000000",
    },
    {
      title: "text is in no range",
      predicate: { attribute: "country", op: "range", min: 0, max: 9 },
      mask: "000000",
    },
    {
      title: "an empty range",
      predicate: { attribute: "age", op: "range", min: 30, max: 30 },
      mask: "000000",
    },
  ])("[RT-4] $title", ({ predicate, mask }) => {
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
    const { tree } = fc.letrec<{ tree: QueryPredicate }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        operand,
        fc.record({
          operator: fc.constantFrom("AND" as const, "OR" as const, "FILTER" as const),
          operands: fc.array(tie("tree"), { minLength: 1, maxLength: 3 }),
        }),
        fc.record({ operator: fc.constant("NOT" as const), operands: fc.tuple(tie("tree")) }),
      ),
    }));
    const property = fc.property(tree, (predicate) => {
      const expected = Array.from({ length: ROWS }, (_, row) =>
        truth(predicate, row) === true ? 1 : 0,
      );
      expect([...compilePredicate(predicate).match(COLUMNS, ROWS)]).toEqual(expected);
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
    expect(() => compilePredicate(adult).match(columns, ROWS)).toThrow(
      expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" }),
    );
  });

  test("[PB-6] a subject counts once, however many rows match", () => {
    const subjects = Int32Array.of(4, 4, 4, 5, 5, 6);
    expect(countSubjects(Uint8Array.of(1, 1, 0, 0, 1, 0), subjects)).toBe(2);
    expect(countSubjects(new Uint8Array(6), subjects)).toBe(0);
  });
});

/** Three-valued truth, written the slow way. */
function truth(predicate: QueryPredicate, row: number): boolean | undefined {
  if ("op" in predicate) {
    const value = COLUMNS.get(predicate.attribute)?.[row] ?? null;
    if (value === null) return undefined;
    if (predicate.op === "eq") return value === predicate.value;
    if (predicate.op === "in") return predicate.values.includes(value);
    return typeof value === "number" && value >= predicate.min && value < predicate.max;
  }
  const states = predicate.operands.map((operand) => truth(operand, row));
  const some = states.includes(true) ? true : states.includes(undefined) ? undefined : false;
  if (predicate.operator === "OR") return some;
  if (predicate.operator === "NOT") return some === undefined ? undefined : !some;
  return states.includes(false) ? false : states.includes(undefined) ? undefined : true;
}

describe("predicates", () => {
  const nested = (levels: number): unknown =>
    levels === 1 ? adult : { operator: "NOT", operands: [nested(levels - 1)] };

  test("nest 8 deep and hold 64 operands", () => {
    expect(queryPredicateSchema.safeParse(nested(8)).success).toBe(true);
    const operands = Array.from({ length: 64 }, () => adult);
    expect(queryPredicateSchema.safeParse({ operator: "OR", operands }).success).toBe(true);
  });

  test.for([
    { title: "nine levels", predicate: nested(9) },
    { title: "five thousand levels", predicate: nested(5000) },
    {
      title: "65 operands",
      predicate: { operator: "OR", operands: Array.from({ length: 65 }, () => adult) },
    },
    {
      title: "65 operands in two levels",
      predicate: {
        operator: "AND",
        operands: [
          { operator: "OR", operands: Array.from({ length: 40 }, () => adult) },
          { operator: "OR", operands: Array.from({ length: 25 }, () => adult) },
        ],
      },
    },
    { title: "no operands", predicate: { operator: "AND", operands: [] } },
    { title: "NOT of two", predicate: { operator: "NOT", operands: [adult, local] } },
    { title: "another operator", predicate: { operator: "XOR", operands: [adult] } },
    { title: "another test", predicate: { attribute: "age", op: "like", value: "%" } },
    { title: "a fraction", predicate: { attribute: "age", op: "eq", value: 1.5 } },
    { title: "an unknown field", predicate: { ...adult, sql: "1=1" } },
    { title: "no attribute", predicate: { attribute: "", op: "eq", value: 1 } },
    { title: "null for a value", predicate: { attribute: "age", op: "eq", value: null } },
  ])("refuse $title", ({ predicate }) => {
    expect(queryPredicateSchema.safeParse(predicate).success).toBe(false);
  });
});
