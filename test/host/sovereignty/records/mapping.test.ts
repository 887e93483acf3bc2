import fc from "fast-check";
import { expect, test } from "vitest";

import {
  IDENTITY_MAPPING,
  MAPPING_BYTES_MAX,
  parseMapping,
} from "../../../../host/sovereignty/records/mapping-file.ts";
import { rowMappingOf, sourceColumns } from "../../../../host/sovereignty/records/mapping.ts";
import { SymphonyError, hex, utf8 } from "../../../../protocol/index.ts";

const parse = (value: unknown) => parseMapping(utf8(JSON.stringify(value)));

/** The mapping of `value`, ready for one column a name. */
const bound = (value: unknown, names: readonly string[]) =>
  rowMappingOf(parse(value), "csv").bind(sourceColumns(parse(value), names), names);

test("[PL-1] an attribute comes from its own column, another, a constant or the line", () => {
  const value = {
    attributes: {
      "p.id": { line: "cleveland-" },
      "p.site": { constant: "cleveland" },
      "p.age": { column: "age" },
    },
    ignore: ["extra"],
  };
  const attributes = ["p.id", "p.age", "p.site", "p.sex"];
  expect(sourceColumns(parse(value), attributes)).toEqual(["age", "p.sex"]);
  const columns = ["p.sex", "extra", "age"];
  const { names, apply } = rowMappingOf(parse(value), "csv").bind(columns, attributes);
  expect(names).toEqual(["p.id", "age", "p.site", "p.sex"]);
  expect(apply(["1", "x", "63"], 7)).toEqual(["cleveland-7", "63", "cleveland", "1"]);
});

test.for([
  { title: "a column that nobody asked for", columns: ["a", "b", "c"], column: "c" },
  { title: "a column twice", columns: ["a", "b", "a"], column: "a" },
  { title: "a missing column", columns: ["a"], column: "b" },
  { title: "no column", columns: [], column: "a" },
])("[PL-1] $title is named", ({ columns, column }) => {
  expect(() => rowMappingOf(IDENTITY_MAPPING, "csv").bind(columns, ["a", "b"])).toThrow(
    expect.objectContaining({
      code: "SCHEMA_UNKNOWN_COLUMN",
      details: expect.objectContaining({ column }),
    }),
  );
});

test("a column may feed two attributes, and be written in another Unicode form", () => {
  const value = { attributes: { b: { column: "\u00e9" }, a: { column: "\u00e9" } } };
  const { apply } = rowMappingOf(parse(value), "csv").bind(["e\u0301"], ["a", "b"]);
  expect(apply(["1"], 1)).toEqual(["1", "1"]);
});

test("[PL-1] values are translated after trimming, and null is no value", () => {
  const mapping = {
    trim: true,
    attributes: { y: { column: "y", values: { yes: "1", no: "0", "?": null, "": null } } },
  };
  const { apply } = bound(mapping, ["y", "z"]);
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
  const mapping = { attributes: { y: { column: "y", values: { "\u00e9": "e" } } } };
  expect(bound(mapping, ["y"]).apply(["e\u0301"], 1)).toEqual(["e"]);
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
  const relaxed = { attributes: { n: { column: "n", number: "relaxed" } } };
  expect(bound(relaxed, ["n"]).apply([text], 1)).toEqual([number]);
  expect(bound({}, ["n"]).apply([text], 1)).toEqual([text]);
});

test("a long cell is mapped in time that its length bounds", () => {
  const mapping = { trim: true, attributes: { n: { column: "n", number: "relaxed" } } };
  const blanks = ` a${" ".repeat(65_000)}b `;
  const zeros = `0.${"0".repeat(65_000)}1`;
  const { apply } = bound(mapping, ["n"]);
  expect(apply([blanks], 1)).toEqual([blanks.slice(1, -1)]);
  expect(apply([zeros], 1)).toEqual([zeros]);
});

test("the digest is of the meaning: defaults in place, order of no account, every difference counts", () => {
  const digest = (value: unknown) =>
    hex(rowMappingOf(parse(value), "jsonl").digest ?? new Uint8Array(0));
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

test("comma-separated values under the attributes' own names have nothing to tell apart", () => {
  expect(rowMappingOf(IDENTITY_MAPPING, "csv").digest).toBeNull();
  expect(rowMappingOf(IDENTITY_MAPPING, "jsonl").digest).toHaveLength(32);
  expect(rowMappingOf(parse({ csv: { separator: ";" } }), "csv").digest).toHaveLength(32);
  expect(rowMappingOf(parse({ trim: true }), "csv").digest).toHaveLength(32);
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
])("refuses $title", ({ value, name }) => {
  expect(() => rowMappingOf(parse(value), "csv").bind(["a"], ["a", "constructor"])).toThrow(
    expect.objectContaining({
      code: "SCHEMA_CONFIG_MALFORMED",
      details: expect.objectContaining({ name }),
    }),
  );
});

test("attributes with the names of every object's own are ordinary", () => {
  expect(bound({}, ["constructor", "toString"]).apply(["a", "b"], 1)).toEqual(["a", "b"]);
});

test("any JSON is a mapping or refused", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        expect(rowMappingOf(parse(value), "jsonl").digest).toHaveLength(32);
      } catch (error) {
        expect(error).toBeInstanceOf(SymphonyError);
      }
    }),
  );
});
