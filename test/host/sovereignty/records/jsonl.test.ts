import fc from "fast-check";
import { expect, test } from "vitest";

import { JSON_LINE_BYTES_MAX, openJsonLines } from "../../../../host/sovereignty/records/jsonl.ts";
import type { SourceRow } from "../../../../host/sovereignty/records/source.ts";
import { SymphonyError, concat, sha256, utf8 } from "../../../../protocol/index.ts";

const COLUMNS = ["id", "age", "note"];

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function read(
  source: string | Uint8Array,
  options: { readonly size?: number; readonly ignored?: readonly string[] } = {},
): Promise<SourceRow[]> {
  const bytes = typeof source === "string" ? utf8(source) : source;
  const keys = { columns: COLUMNS, ignored: new Set(options.ignored) };
  const rows: SourceRow[] = [];
  for await (const group of openJsonLines(pieces(bytes, options.size ?? 5), keys).rows) {
    rows.push(...group);
  }
  return rows;
}

const cellsOf = (row: SourceRow | undefined) =>
  row !== undefined && "cells" in row ? row.cells : [];
const faultOf = (row: SourceRow | undefined) =>
  row !== undefined && "fault" in row ? row.fault : undefined;

test.for([
  { title: "keys in any order", text: '{"age":3,"id":"a","note":"x"}\n', cells: ["a", "3", "x"] },
  { title: "a key that is not there, and null", text: '{"id":"a","age":null}\n', cells: ["a"] },
  { title: "an object without keys", text: "{}\n", cells: [] },
  { title: "true and false", text: '{"id":true,"age":false}', cells: ["1", "0"] },
  { title: "spaces and CRLF", text: ' { "id" : "a" ,\t"age": 1 } \r\n', cells: ["a", "1"] },
  { title: "no last line end", text: '{"id":"a"}', cells: ["a"] },
  { title: "a byte order mark", text: '\ufeff{"id":"a"}\n', cells: ["a"] },
  {
    title: "every escape",
    text: '{"id":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}',
    cells: ['"\\/\b\f\n\r\té'],
  },
  { title: "a text that ends in a backslash", text: '{"id":"\\\\","age":1}', cells: ["\\", "1"] },
  {
    title: "letters of several bytes",
    text: '{"id":"日本","note":"é🙂"}',
    cells: ["日本", null, "é🙂"],
  },
  { title: "an empty text", text: '{"id":""}', cells: [""] },
  {
    title: "a number's own literal, whatever its digits",
    text: '{"id":12345678901234567890.10,"age":-0,"note":1e-7}',
    cells: ["12345678901234567890.10", "-0", "1e-7"],
  },
  {
    title: "a key written in another Unicode form or with escapes",
    text: '{"\\u0069d":"a"}',
    cells: ["a"],
  },
])("reads $title", async ({ text, cells }) => {
  const full = COLUMNS.map((_, index) => cells[index] ?? null);
  for (const size of [1, 5, 4096]) {
    expect((await read(text, { size })).map(cellsOf)).toEqual([full]);
  }
});

test("says of each row its line and the byte after it", async () => {
  const lines = ['{"id":"é"}\r\n', '{"id":"b"}\n', '{"id":"c"}'];
  const rows = await read(lines.join(""));
  const lengths = lines.map((line) => utf8(line).length);
  expect(rows.map(({ line, end }) => ({ line, end }))).toEqual([
    { line: 1, end: 13 },
    { line: 2, end: 24 },
    { line: 3, end: lengths.reduce((sum, length) => sum + length, 0) },
  ]);
});

test.for([
  { title: "a nested object", text: '{"id":{"a":1}}', column: "id" },
  { title: "an array", text: '{"age":[1]}', column: "age" },
  { title: "a nested value under an ignored key", text: '{"extra":[1]}', column: "extra" },
  { title: "NaN", text: '{"age":NaN}', column: "age" },
  { title: "Infinity", text: '{"age":-Infinity}', column: "age" },
  { title: "a number with a leading zero", text: '{"age":07}', column: "age" },
  { title: "a number with a plus sign", text: '{"age":+7}', column: "age" },
  { title: "a number without digits after the point", text: '{"age":7.}', column: "age" },
  { title: "a bare word", text: '{"age":seven}', column: "age" },
  { title: "an unknown escape", text: '{"note":"\\x41"}', column: "note" },
  { title: "half an escape", text: '{"note":"\\u00"}', column: "note" },
  { title: "a control character", text: '{"note":"a\u0001b"}', column: "note" },
  { title: "a text without an end", text: '{"note":"abc}', column: "note" },
  { title: "no value", text: '{"note":}', column: "note" },
  { title: "a key twice", text: '{"id":"a","id":"a"}', column: null },
  { title: "a key twice, once with an escape", text: '{"id":"a","\\u0069d":"b"}', column: null },
  { title: "an ignored key twice", text: '{"extra":1,"extra":2}', column: null },
  { title: "a trailing comma", text: '{"id":"a",}', column: null },
  { title: "a key without quotes", text: '{id:"a"}', column: null },
  { title: "an array for the object", text: '["a"]', column: null },
  { title: "text after the object", text: '{"id":"a"} x', column: null },
  { title: "two objects", text: '{"id":"a"}{"id":"b"}', column: null },
  { title: "an object over two lines", text: '{"id":\n"a"}', column: "id" },
  { title: "half an object", text: '{"id":"a"', column: "id" },
  { title: "an empty line", text: "\n", column: null },
])("[PL-1] $title is a fault of its line and column", async ({ text, column }) => {
  const rows = await read(`{"id":"first"}\n${text}\n`, { ignored: ["extra"] });
  expect(rows[1]?.line).toBe(2);
  expect(faultOf(rows[1])?.column).toBe(column);
});

test("[PL-1] the lines after one at fault are read", async () => {
  const rows = await read('{"id":"a"}\n{"id":[]}\n\n{"id":"b"}\n');
  expect(rows.map(cellsOf)).toEqual([["a", null, null], [], [], ["b", null, null]]);
  expect(rows.map((row) => row.line)).toEqual([1, 2, 3, 4]);
});

test("the source's digests are of its bytes, up to a row and of all", async () => {
  const text = utf8('\ufeff{"id":"é"}\n{"id":"b"}');
  const source = openJsonLines(pieces(text, 4), { columns: COLUMNS, ignored: new Set() });
  const ends: number[] = [];
  for await (const group of source.rows) {
    for (const { end } of group) {
      expect(source.digestAt(end)).toEqual(sha256(text.subarray(0, end)));
      ends.push(end);
    }
  }
  expect(ends).toEqual([15, text.length]);
  expect(source.digest()).toEqual(sha256(text));
});

test("[PL-1] a key that nobody asked for is named, unless it is ignored", async () => {
  await expect(read('{"id":"a","shoe":42}\n')).rejects.toMatchObject({
    code: "SCHEMA_UNKNOWN_COLUMN",
    details: { line: 1, column: "shoe" },
  });
  const [row] = await read('{"id":"a","shoe":42}\n', { ignored: ["shoe"] });
  expect(cellsOf(row)).toEqual(["a", null, null]);
  await expect(read('{"__proto__":1}\n')).rejects.toMatchObject({ code: "SCHEMA_UNKNOWN_COLUMN" });
});

test("bytes that are not UTF-8 are a fault of their line", async () => {
  const [row] = await read(concat(utf8('{"id":"'), Uint8Array.of(0xff), utf8('"}\n')));
  expect(faultOf(row)).toEqual({ column: null, expected: "UTF-8 text" });
});

test.for([
  { title: "a long line", text: `{"id":"a"${" ".repeat(JSON_LINE_BYTES_MAX)}}` },
  { title: "a line without end", text: " ".repeat(JSON_LINE_BYTES_MAX + 1) },
  { title: "a long text", text: `{"id":"${"a".repeat(64 * 1024 + 1)}"}` },
  { title: "a long key", text: `{"${"a".repeat(1025)}":1}` },
  {
    title: "many keys",
    text: `{${Array.from({ length: 257 }, (_, index) => `"k${index}":1`).join(",")}}`,
  },
])("refuses $title", async ({ text }) => {
  const ignored = Array.from({ length: 257 }, (_, index) => `k${index}`);
  await expect(read(text, { size: 65_536, ignored })).rejects.toMatchObject({
    code: "SCHEMA_TOO_LARGE",
    details: { line: 1 },
  });
});

test("a fault never tells a value", async () => {
  const [row] = await read('{"note":"secret-value\\x"}');
  expect(faultOf(row)?.column).toBe("note");
  expect(JSON.stringify(row)).not.toContain("secret-value");
});

test("any bytes give rows or a refusal, the same however they are cut", async () => {
  const token = fc.constantFrom(
    '{"id":',
    '"a"',
    "}",
    "{",
    ",",
    '"',
    "\\",
    "\n",
    "1.5e3",
    '"age":',
    "é",
  );
  const text = fc.array(token, { maxLength: 20 }).map((parts) => utf8(parts.join("")));
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 60 }), text);
  await fc.assert(
    fc.asyncProperty(bytes, async (source) => {
      const outcomes = await Promise.all([1, 3, 1000].map((size) => outcome(source, size)));
      expect(outcomes[1]).toEqual(outcomes[0]);
      expect(outcomes[2]).toEqual(outcomes[0]);
    }),
  );
});

async function outcome(source: Uint8Array, size: number): Promise<unknown> {
  try {
    return await read(source, { size });
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return [error.code, error.message];
  }
}

test("what JSON.stringify writes is read back", async () => {
  const cell = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  await fc.assert(
    fc.asyncProperty(cell, cell, async (id, note) => {
      const [row] = await read(`${JSON.stringify({ id, note })}\n`);
      const text = (value: string | number) =>
        typeof value === "string" ? value : JSON.stringify(value);
      expect(cellsOf(row)).toEqual([text(id), null, text(note)]);
    }),
  );
});
