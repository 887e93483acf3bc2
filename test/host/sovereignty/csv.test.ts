import fc from "fast-check";
import { expect, test } from "vitest";

import { parseAttributeValue } from "../../../host/sovereignty/records/attribute-value.ts";
import { CSV_CELL_MAX, openCsv, type CsvOptions } from "../../../host/sovereignty/records/csv.ts";
import {
  IMAGE_BYTES_MAX,
  parseImageHeader,
} from "../../../host/sovereignty/records/document-image.ts";
import type { SourceRow } from "../../../host/sovereignty/records/source.ts";
import { SymphonyError, sha256, utf8, type CanonicalAttribute } from "../../../protocol/index.ts";
import { PNG } from "./vault-fixture.ts";

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function rowsOf(bytes: Uint8Array, size: number, options: CsvOptions) {
  const source = await openCsv(pieces(bytes, size), options);
  const rows: SourceRow[] = [];
  for await (const group of source.rows) rows.push(...group);
  return { source, rows };
}

/** All rows of a text, the first one too. */
async function read(text: string | Uint8Array, size = 3) {
  const bytes = typeof text === "string" ? utf8(text) : text;
  const { rows } = await rowsOf(bytes, size, { columns: [] });
  return rows.map((row) => ({ ...row, cells: "cells" in row ? row.cells : [] }));
}

test.for([
  {
    title: "LF lines",
    text: "a,b\nc,d\n",
    cells: [
      ["a", "b"],
      ["c", "d"],
    ],
  },
  {
    title: "CRLF lines and no last line end",
    text: "a,b\r\nc,d",
    cells: [
      ["a", "b"],
      ["c", "d"],
    ],
  },
  {
    title: "quotes, commas and lines in a cell",
    text: '"a ""b"", c\nd",e\n',
    cells: [['a "b", c\nd', "e"]],
  },
  {
    title: "empty cells",
    text: ',\n"",\n',
    cells: [
      ["", ""],
      ["", ""],
    ],
  },
  { title: "a byte order mark", text: "\ufeffa\n", cells: [["a"]] },
  { title: "spaces kept", text: " a , b \n", cells: [[" a ", " b "]] },
  { title: "letters of several bytes", text: "é,日本\n", cells: [["é", "日本"]] },
  { title: "nothing", text: "", cells: [] },
])("reads $title", async ({ text, cells }) => {
  expect((await read(text)).map((row) => row.cells)).toEqual(cells);
});

test("says the line on which a row begins", async () => {
  const rows = await read('a\n"b\nb"\nc\n');
  expect(rows.map((row) => row.line)).toEqual([1, 2, 4]);
});

test("the first row names the columns, and every row says where it ends", async () => {
  const text = utf8('\ufeffä;"b"\r\n1;"x\n;y"\r\n\n2;é');
  const options = { separator: ";", blankLines: "skip" } as const;
  for (const size of [1, 2, 7, 100]) {
    const { source, rows } = await rowsOf(text, size, options);
    expect(source.columns).toEqual(["ä", "b"]);
    expect(rows).toEqual([
      { line: 2, end: 21, cells: ["1", "x\n;y"] },
      { line: 5, end: 26, cells: ["2", "é"] },
    ]);
    expect(source.digestAt(21)).toEqual(sha256(text.subarray(0, 21)));
    expect(source.digest()).toEqual(sha256(text));
  }
});

test.for([
  { title: "a quote inside a cell", text: 'a\nb"c\n', facts: { line: 2, column: 1 } },
  { title: "text after a closing quote", text: 'x,"a"b\n', facts: { line: 1, column: 2 } },
  { title: "an open quote at the end", text: '"a\nb', facts: { line: 2, column: 1 } },
  { title: "a lone carriage return", text: "a\rb\n", facts: { line: 1 } },
  { title: "a carriage return at the end", text: "a\r", facts: { line: 1 } },
])("refuses $title", async ({ text, facts }) => {
  await expect(read(text)).rejects.toMatchObject({ code: "SCHEMA_ROW_MALFORMED", details: facts });
});

test("refuses bytes that are not UTF-8, and what is too large", async () => {
  await expect(read(Uint8Array.of(0x61, 0xff))).rejects.toMatchObject({
    code: "SCHEMA_ROW_MALFORMED",
  });
  const cell = "x".repeat(CSV_CELL_MAX + 1);
  await expect(read(cell, 1 << 20)).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
  await expect(read(",".repeat(300), 1 << 20)).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
});

test("any text gives rows or one of our errors, however it is cut; written cells come back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", "é") }),
      fc.integer({ min: 1, max: 5 }),
      async (text, size) => {
        const whole = await read(text, 1 << 16).catch((error: unknown) => error);
        const cut = await read(text, size).catch((error: unknown) => error);
        if (whole instanceof Error) expect(whole).toBeInstanceOf(SymphonyError);
        else expect(cut).toEqual(whole);
      },
    ),
    { seed: 3, numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.string(), { minLength: 1, maxLength: 4 }), { maxLength: 6 }),
      async (table) => {
        const text = table
          .map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",") + "\r\n")
          .join("");
        const wellFormed = table.map((row) => row.map((cell) => cell.toWellFormed()));
        expect((await read(text)).map((row) => row.cells)).toEqual(wellFormed);
      },
    ),
    { seed: 4, numRuns: 200 },
  );
});

function attribute(type: CanonicalAttribute["type"], scale = 0): CanonicalAttribute {
  return {
    attribute_id: "a",
    domain_id: "d",
    semantic_version: "s",
    scope: "network",
    status: "active",
    effective_from: "s",
    deprecated_from: null,
    retired_from: null,
    supersedes: null,
    type,
    scale,
    range: type === "integer" || type === "decimal" ? { min: -1000, max: 1000 } : null,
    directly_queryable: true,
    default_query_granularity: null,
    default_privacy_class: 1,
    privacy_impact_epsilon_micro: 1,
  };
}

test.for([
  { text: "12", of: attribute("integer"), value: 12 },
  { text: "-0", of: attribute("integer"), value: 0 },
  { text: "", of: attribute("integer"), value: null },
  { text: "1.5", of: attribute("decimal", 2), value: 150 },
  { text: "-0.25", of: attribute("decimal", 2), value: -25 },
  { text: "e\u0301", of: attribute("text"), value: "é" },
  { text: "AQI=", of: attribute("bytes"), value: Uint8Array.of(1, 2) },
])("takes $text as $of.type", ({ text, of, value }) => {
  expect(parseAttributeValue(text, of)).toEqual(value);
});

test.for([
  { text: "1.0", of: attribute("integer") },
  { text: "+1", of: attribute("integer") },
  { text: "01", of: attribute("integer") },
  { text: "1e3", of: attribute("integer") },
  { text: " 1", of: attribute("integer") },
  { text: "1001", of: attribute("integer") },
  { text: "NaN", of: attribute("decimal", 2) },
  { text: "1.005", of: attribute("decimal", 2) },
  { text: "10.01", of: attribute("decimal", 2) },
  { text: ".5", of: attribute("decimal", 2) },
  { text: "A===", of: attribute("bytes") },
])("refuses $text as $of.type and does not repeat it", ({ text, of }) => {
  expect(() => parseAttributeValue(text, of)).toThrow(
    expect.objectContaining({ code: "SCHEMA_ROW_MALFORMED" }),
  );
});

const JPEG = Uint8Array.of(
  ...[
    0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc0, 0, 8, 8, 0, 30, 0, 40, 3,
  ],
);

test("reads the size of PNG and JPEG", () => {
  expect(parseImageHeader(PNG)).toEqual({ format: "png", width: 40, height: 30 });
  expect(parseImageHeader(JPEG)).toEqual({ format: "jpeg", width: 40, height: 30 });
});

test.for([
  { title: "no bytes", bytes: new Uint8Array(0), code: "SCHEMA_IMAGE_MALFORMED" },
  { title: "a PNG cut short", bytes: PNG.slice(0, 20), code: "SCHEMA_IMAGE_MALFORMED" },
  { title: "a PNG of no width", bytes: PNG.with(19, 0), code: "SCHEMA_IMAGE_MALFORMED" },
  { title: "a PNG too wide", bytes: PNG.with(16, 1), code: "SCHEMA_IMAGE_MALFORMED" },
  { title: "a JPEG without a frame", bytes: JPEG.slice(0, 14), code: "SCHEMA_IMAGE_MALFORMED" },
  {
    title: "another format",
    bytes: utf8("GIF89a and more than that"),
    code: "SCHEMA_IMAGE_MALFORMED",
  },
  {
    title: "one byte too many",
    bytes: new Uint8Array(IMAGE_BYTES_MAX + 1),
    code: "SCHEMA_TOO_LARGE",
  },
])("refuses $title", ({ bytes, code }) => {
  expect(() => parseImageHeader(bytes)).toThrow(expect.objectContaining({ code }));
});

test("any bytes give an image header or one of our errors", () => {
  const header = fc.constantFrom(PNG.slice(0, 16), JPEG.slice(0, 4), new Uint8Array(0));
  fc.assert(
    fc.property(header, fc.uint8Array({ maxLength: 64 }), (front, rest) => {
      try {
        expect(parseImageHeader(Uint8Array.of(...front, ...rest)).width).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(SymphonyError);
      }
    }),
    { seed: 5, numRuns: 500 },
  );
});
