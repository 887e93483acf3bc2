import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { hex } from "../../../protocol/bytes.ts";
import type { DerivationRule } from "../../../protocol/semantics/derivation-rule.ts";
import { derive } from "../../../protocol/semantics/derivation.ts";
import {
  coarsen,
  isAtGranularity,
  isFiner,
  type ProjectedValue,
  type QueryGranularity,
} from "../../../protocol/semantics/granularity.ts";
import { digestOf } from "../../../protocol/hash.ts";
import { granularityOf, ruleNamed } from "../../helpers/derived-semantics.ts";

const EXACT = granularityOf({ categorical_resolution: "exact" });
const UNITS = granularityOf({ numeric_resolution: { boundaries: [], width: 1 } });

function results(
  rule: DerivationRule,
  sources: readonly (readonly ProjectedValue[])[],
  {
    subjects,
    granularity = EXACT,
  }: { subjects?: readonly string[]; granularity?: QueryGranularity } = {},
): ProjectedValue[] {
  const rows = sources[0]?.length ?? 0;
  const names = subjects ?? Array.from({ length: rows }, (_, row) => `s${row}`);
  return derive({ rule, granularity }, { rows, sources, subjects: names });
}

describe("[DR-2] transforms", () => {
  test("[QG-2] passthrough gives the value, held to the output range and coarsened", () => {
    const granularity = granularityOf({ numeric_resolution: { boundaries: [], width: 10 } });
    const values = results(ruleNamed("age-decade"), [[-5, 0, 39, 120, 500, null]], { granularity });
    expect(values).toEqual([0, 0, 30, 120, 120, null]);
  });

  test("bucket gives the label between boundaries, the first below all of them", () => {
    expect(results(ruleNamed("age-band"), [[-1, 29, 30, 49, 50, null, "x"]])).toEqual([
      ...["young", "young", "middle", "middle", "senior"],
      ...[null, null],
    ]);
  });

  test("bucket gives the label of a group, and another for values of none", () => {
    expect(results(ruleNamed("city-group"), [["Porto", "Turin", null]])).toEqual([
      "coast",
      "inland",
      null,
    ]);
  });

  test("hash gives the digest of salt and value", () => {
    const [digest] = results(ruleNamed("email-hash"), [["a@example.org"]]);
    expect(digest).toBe(hex(digestOf("derived-value", ["network", "a@example.org"])));
    const salted = {
      ...ruleNamed("email-hash"),
      transform_params: { method: "sha-256", salt: "" },
    };
    expect(results(salted as DerivationRule, [["a@example.org"]])[0]).not.toBe(digest);
  });

  test("boolean says whether there is something, absence being a no", () => {
    expect(results(ruleNamed("has-balance"), [[0, 5, -5, null]])).toEqual([0, 1, 1, 0]);
    const present = { ...ruleNamed("has-balance"), transform_params: { test: "present" } };
    expect(results(present as DerivationRule, [[0, "", null]])).toEqual([1, 1, 0]);
  });

  test("threshold compares with its boundary, absence being no answer", () => {
    expect(results(ruleNamed("is-adult"), [[17, 18, null, "x"]])).toEqual([0, 1, null, null]);
    const below = {
      ...ruleNamed("is-adult"),
      transform_params: { comparison: "below", boundary: 18 },
    };
    expect(results(below as DerivationRule, [[17, 18]])).toEqual([1, 0]);
  });

  test.for([
    { name: "count", expected: [2, 2, 1, 0] },
    { name: "sum", expected: [-5, -5, 9, null] },
    { name: "average", expected: [-3, -3, 9, null] },
    { name: "minimum", expected: [-7, -7, 9, null] },
    { name: "maximum", expected: [2, 2, 9, null] },
  ])("aggregate gives each row the $name of its subject", ({ name, expected }) => {
    const rule = { ...ruleNamed("total-balance"), transform_params: { function: name } };
    const values = results(rule as DerivationRule, [[-7, 2, 9, null]], {
      subjects: ["a", "a", "b", "c"],
    });
    expect(values).toEqual(expected);
  });

  test.for([
    { name: "sum", a: 7, b: -2, expected: 5 },
    { name: "difference", a: 7, b: -2, expected: 9 },
    { name: "product", a: 7, b: -2, expected: -14 },
    { name: "ratio", a: 7, b: -2, expected: -35, multiplier: 10 },
    { name: "ratio", a: 7, b: 2, expected: 3 },
    { name: "ratio", a: -7, b: 2, expected: -4 },
    { name: "ratio", a: 7, b: 0, expected: null },
    { name: "minimum", a: 7, b: -2, expected: -2 },
    { name: "maximum", a: 7, b: -2, expected: 7 },
    { name: "all", a: 7, b: 0, expected: 0 },
    { name: "all", a: 7, b: 1, expected: 1 },
    { name: "any", a: 0, b: 1, expected: 1 },
    { name: "any", a: 0, b: 0, expected: 0 },
    { name: "sum", a: 7, b: null, expected: null },
  ])("composite: $name of $a and $b", ({ name, a, b, expected, multiplier = 1 }) => {
    const rule = {
      ...ruleNamed("adult-subscriber"),
      output_range: { min: -100, max: 100 },
      transform_params: { function: name, multiplier },
    };
    expect(results(rule as DerivationRule, [[a], [b]])).toEqual([expected]);
  });

  test("arithmetic is exact beyond the integers that a float has", () => {
    const big = Number.MAX_SAFE_INTEGER;
    const rule = { ...ruleNamed("total-balance"), output_range: { min: 0, max: big } };
    const subjects = ["a", "a", "a"];
    expect(results(rule, [[big, 1, -big]], { subjects, granularity: UNITS })).toEqual([1, 1, 1]);
  });

  test("no value of a record makes a rule throw, and equal input gives equal output", () => {
    const value = fc.oneof(fc.maxSafeInteger(), fc.string(), fc.constant(null));
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value), { maxLength: 20 }), (rows) => {
        const sources = [rows.map(([a]) => a), rows.map(([, b]) => b)];
        for (const id of [
          "age-band",
          "email-hash",
          "is-adult",
          "total-balance",
          "adult-subscriber",
        ]) {
          expect(results(ruleNamed(id), sources)).toEqual(results(ruleNamed(id), sources));
        }
      }),
      { seed: 5 },
    );
  });
});

describe("[QG-1] granularity", () => {
  const time = (temporal_resolution: QueryGranularity["temporal_resolution"]) =>
    granularityOf({ temporal_resolution });
  test.for([
    { resolution: "exact", text: "2024-03-17T08:00:00Z", expected: "2024-03-17T08:00:00Z" },
    { resolution: "day", text: "2024-03-17T08:00:00Z", expected: "2024-03-17" },
    { resolution: "week", text: "2024-03-17", expected: "2024-03-11" },
    { resolution: "week", text: "2024-01-01", expected: "2024-01-01" },
    { resolution: "month", text: "2024-02-29", expected: "2024-02-01" },
    { resolution: "quarter", text: "2024-12-31", expected: "2024-10-01" },
    { resolution: "year", text: "1969-12-31", expected: "1969-01-01" },
    { resolution: "day", text: "2023-02-29", expected: null },
    { resolution: "year", text: "yesterday", expected: null },
  ] as const)("$text by $resolution is $expected", ({ resolution, text, expected }) => {
    expect(coarsen(text, time(resolution))).toBe(expected);
  });

  test("milliseconds begin the same periods as the calendar says", () => {
    const instants = fc.integer({ min: Date.UTC(1600, 0, 1), max: Date.UTC(2400, 0, 1) });
    fc.assert(
      fc.property(instants, (ms) => {
        const at = new Date(ms);
        const [year, month] = [at.getUTCFullYear(), at.getUTCMonth()];
        expect(coarsen(ms, time("month"))).toBe(Date.UTC(year, month, 1));
        expect(coarsen(ms, time("quarter"))).toBe(Date.UTC(year, month - (month % 3), 1));
        expect(coarsen(ms, time("year"))).toBe(Date.UTC(year, 0, 1));
        const monday = Number(coarsen(ms, time("week")));
        expect(new Date(monday).getUTCDay()).toBe(1);
        expect(ms - monday).toBeLessThan(7 * 86_400_000);
        expect(coarsen(at.toISOString(), time("day"))).toBe(at.toISOString().slice(0, 10));
      }),
      { seed: 6 },
    );
  });

  test.for([
    { resolution: "exact", expected: "SG/Central/Singapore/Orchard/Ion" },
    { resolution: "district", expected: "SG/Central/Singapore/Orchard" },
    { resolution: "city", expected: "SG/Central/Singapore" },
    { resolution: "region", expected: "SG/Central" },
    { resolution: "country", expected: "SG" },
  ] as const)("a place by $resolution is $expected", ({ resolution, expected }) => {
    const granularity = granularityOf({ spatial_resolution: resolution });
    expect(coarsen("SG/Central/Singapore/Orchard/Ion", granularity)).toBe(expected);
  });

  test("a number becomes the lower edge of its bucket", () => {
    const edges = granularityOf({ numeric_resolution: { boundaries: [0, 20, 50], width: 0 } });
    expect([-3, 0, 19, 20, 50, 99].map((value) => coarsen(value, edges))).toEqual([
      ...[0, 0, 0, 20, 50, 50],
    ]);
    const tens = granularityOf({ numeric_resolution: { boundaries: [], width: 10 } });
    expect([-1, -10, 0, 9, 10].map((value) => coarsen(value, tens))).toEqual([-10, -10, 0, 0, 10]);
  });

  test("[QG-2] coarsening twice is coarsening once", () => {
    const granularities = [
      ...(["day", "week", "month", "quarter", "year"] as const).map(time),
      granularityOf({ numeric_resolution: { boundaries: [], width: 7 } }),
      granularityOf({ numeric_resolution: { boundaries: [-5, 3], width: 0 } }),
    ];
    fc.assert(
      fc.property(fc.integer({ min: -1e14, max: 1e14 }), fc.nat(6), (value, index) => {
        const granularity = granularities[index] ?? EXACT;
        const once = coarsen(value, granularity);
        expect(typeof once === "number" && isAtGranularity(once, granularity)).toBe(true);
      }),
      { seed: 7 },
    );
  });

  test.for([
    { fine: time("day"), coarse: time("week"), is: true },
    { fine: time("week"), coarse: time("month"), is: false },
    { fine: time("month"), coarse: time("month"), is: false },
    {
      fine: granularityOf({ spatial_resolution: "city" }),
      coarse: granularityOf({ spatial_resolution: "country" }),
      is: true,
    },
    {
      fine: UNITS,
      coarse: granularityOf({ numeric_resolution: { boundaries: [], width: 10 } }),
      is: true,
    },
    {
      fine: UNITS,
      coarse: granularityOf({ numeric_resolution: { boundaries: [3, 5], width: 0 } }),
      is: true,
    },
    { fine: UNITS, coarse: time("year"), is: false },
  ])("[QG-2] which of two says more: case %#", ({ fine, coarse, is }) => {
    expect(isFiner(fine, coarse)).toBe(is);
    expect(isFiner(coarse, fine)).toBe(false);
  });
});
