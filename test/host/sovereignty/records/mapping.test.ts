import fc from "fast-check";
import { expect, test } from "vitest";

import {
  IDENTITY_MAPPING,
  MAPPING_BYTES_MAX,
  isIdentity,
  mappingDigest,
  parseMapping,
  planMapping,
} from "../../../../host/sovereignty/records/mapping.ts";
import { SymphonyError, hex, utf8 } from "../../../../protocol/index.ts";

const parse = (value: unknown) => parseMapping(utf8(JSON.stringify(value)));

test("[PL-1] an attribute comes from its own column, another, a constant or the line", () => {
  const mapping = parse({
    attributes: {
      "p.id": { line: "cleveland-" },
      "p.site": { constant: "cleveland" },
      "p.age": { column: "age" },
    },
    ignore: ["extra"],
  });
  const plan = planMapping(mapping, ["p.id", "p.age", "p.site", "p.sex"]);
  expect(plan.columns).toEqual(["age", "p.sex"]);
  expect([...plan.ignored]).toEqual(["extra"]);
  expect(plan.apply(["63", "1"], 7)).toEqual(["cleveland-7", "63", "cleveland", "1"]);
});

test("[PL-1] values are translated after trimming, and null is no value", () => {
  const mapping = parse({
    trim: true,
    attributes: { y: { column: "y", values: { yes: "1", no: "0", "?": null, "": null } } },
  });
  const { apply } = planMapping(mapping, ["y", "z"]);
  const read = (text: string | null) => apply([text, " kept  apart\t"], 1);
  expect(["yes", " no ", "\t?", " ", "other", null].map((text) => read(text)[0])).toEqual([
    "1",
    "0",
    null,
    null,
    "other",
    null,
  ]);
  expect(read("yes")[1]).toBe("kept  apart");
});

test("a cell in another Unicode form is the same value", () => {
  const mapping = parse({ attributes: { y: { column: "y", values: { "\u00e9": "e" } } } });
  expect(planMapping(mapping, ["y"]).apply(["e\u0301"], 1)).toEqual(["e"]);
});

test.for([
  ["63.0", "63"],
  [".7", "0.7"],
  ["-.9", "-0.9"],
  ["+007.50", "7.5"],
  ["000", "0"],
  ["-0.0", "-0"],
  ["5.", "5"],
  ["12345678901234567890.10", "12345678901234567890.1"],
  ["", ""],
  [".", "."],
  ["-", "-"],
  ["1e3", "1e3"],
  ["1 000", "1 000"],
  ["abc", "abc"],
])("[PL-1] relaxed numbers: %s is %s, and no digit is lost", ([text = "", number]) => {
  const relaxed = parse({ attributes: { n: { column: "n", number: "relaxed" } } });
  expect(planMapping(relaxed, ["n"]).apply([text], 1)).toEqual([number]);
  expect(planMapping(IDENTITY_MAPPING, ["n"]).apply([text], 1)).toEqual([text]);
});

test("a long cell is mapped in time that its length bounds", () => {
  const mapping = parse({ trim: true, attributes: { n: { column: "n", number: "relaxed" } } });
  const blanks = ` a${" ".repeat(65_000)}b `;
  const zeros = `0.${"0".repeat(65_000)}1`;
  const { apply } = planMapping(mapping, ["n"]);
  expect(apply([blanks], 1)).toEqual([blanks.slice(1, -1)]);
  expect(apply([zeros], 1)).toEqual([zeros]);
});

test("the digest is of the meaning: defaults in place, order of no account, every difference counts", () => {
  const digest = (value: unknown) => hex(mappingDigest(parse(value)));
  expect(digest({})).toBe(hex(mappingDigest(IDENTITY_MAPPING)));
  expect(digest({ trim: false, csv: {}, ignore: [] })).toBe(digest({}));
  expect(digest({ ignore: ["b", "a"] })).toBe(digest({ ignore: ["a", "b"] }));
  const different = [
    {},
    { trim: true },
    { ignore: ["a"] },
    { csv: { separator: ";" } },
    { csv: { columns: ["a"] } },
    { csv: { blank_lines: "skip" } },
    { attributes: { a: { constant: "1" } } },
    { attributes: { a: { line: "1" } } },
    { attributes: { a: { column: "b" } } },
    { attributes: { a: { column: "b", number: "relaxed" } } },
    { attributes: { a: { column: "b", values: { x: null } } } },
    { attributes: { a: { column: "b", values: { x: "" } } } },
  ].map(digest);
  expect(new Set(different).size).toBe(different.length);
});

test("a mapping that changes nothing is known as such", () => {
  expect(isIdentity(IDENTITY_MAPPING)).toBe(true);
  expect(isIdentity(parse({ csv: { separator: ";" } }))).toBe(true);
  expect(isIdentity(parse({ trim: true }))).toBe(false);
  expect(isIdentity(parse({ attributes: { a: { column: "b" } } }))).toBe(false);
});

test.for<{ title: string; value: unknown; field: string }>([
  { title: "an unknown field", value: { colums: {} }, field: "mapping" },
  {
    title: "another separator",
    value: { csv: { separator: "|" } },
    field: "mapping.csv.separator",
  },
  { title: "no columns", value: { csv: { columns: [] } }, field: "mapping.csv.columns" },
  {
    title: "a rule of two kinds",
    value: { attributes: { a: { column: "b", constant: "c" } } },
    field: "mapping.attributes.a",
  },
  {
    title: "a number as a constant",
    value: { attributes: { a: { constant: 1 } } },
    field: "mapping.attributes.a",
  },
  {
    title: "an attribute that is no identifier",
    value: { attributes: { "a b": { line: "" } } },
    field: "mapping.attributes.a b",
  },
  {
    title: "text in another Unicode form",
    value: { ignore: ["e\u0301"] },
    field: "mapping.ignore.0",
  },
  { title: "a list", value: [], field: "mapping" },
])("refuses $title", ({ value, field }) => {
  expect(() => parse(value)).toThrow(
    expect.objectContaining({
      code: "SCHEMA_CONFIG_MALFORMED",
      details: expect.objectContaining({ field }),
    }),
  );
});

test("refuses what is no JSON, and too much of it", () => {
  for (const bytes of [utf8("{"), Uint8Array.of(0xff), new Uint8Array(0)]) {
    expect(() => parseMapping(bytes)).toThrow(
      expect.objectContaining({ code: "SCHEMA_CONFIG_MALFORMED" }),
    );
  }
  expect(() => parseMapping(new Uint8Array(MAPPING_BYTES_MAX + 1))).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
});

test.for([
  {
    title: "an attribute the scope does not have",
    value: { attributes: { b: { line: "" } } },
    name: "b",
  },
  { title: "a column read and ignored", value: { ignore: ["a"] }, name: "a" },
])("a plan refuses $title", ({ value, name }) => {
  expect(() => planMapping(parse(value), ["a", "constructor"])).toThrow(
    expect.objectContaining({
      code: "SCHEMA_CONFIG_MALFORMED",
      details: expect.objectContaining({ name }),
    }),
  );
});

test("attributes with the names of every object's own are ordinary", () => {
  const plan = planMapping(IDENTITY_MAPPING, ["constructor", "toString"]);
  expect(plan.columns).toEqual(["constructor", "toString"]);
  expect(plan.apply(["a", "b"], 1)).toEqual(["a", "b"]);
});

test("any JSON is a mapping or refused", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        expect(mappingDigest(parse(value))).toHaveLength(32);
      } catch (error) {
        expect(error).toBeInstanceOf(SymphonyError);
      }
    }),
  );
});
