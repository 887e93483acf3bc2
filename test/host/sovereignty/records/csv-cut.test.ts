import fc from "fast-check";
import { expect, test } from "vitest";

import { CarefulRows } from "../../../../host/sovereignty/records/csv-careful.ts";
import {
  CSV_ROW_BYTES_MAX,
  CsvCutter,
  type CsvStretch,
} from "../../../../host/sovereignty/records/csv-cut.ts";
import { CsvRows } from "../../../../host/sovereignty/records/csv-rows.ts";
import { SymphonyError, utf8 } from "../../../../protocol/index.ts";

const COMMA = { separator: ",", skipsBlank: false } as const;

/** Text whose every place is likely to matter, well-formed or not. */
const table = fc
  .array(fc.constantFrom('"', '""', '"x"', ",", "\n", "\r\n", "\r", "a", "é", "bc"), {
    maxLength: 40,
  })
  .map((parts) => parts.join(""));

/** The stretches of a text that comes in pieces of `size` bytes. */
function stretchesOf(bytes: Uint8Array, { size, rowsMax }: { size: number; rowsMax: number }) {
  const cutter = new CsvCutter(COMMA);
  const stretches: CsvStretch[] = [];
  const take = (stretch: CsvStretch | undefined): boolean => {
    if (stretch !== undefined) stretches.push(stretch);
    return stretch !== undefined;
  };
  const cut = (): boolean => take(cutter.cut({ rowsMax, endMin: Infinity }));
  for (let at = 0; at < bytes.length; at += size) {
    cutter.push(bytes.subarray(at, at + size));
    while (cut());
  }
  take(cutter.rest());
  return stretches;
}

/** The rows of stretches, and the error that ended them as text. */
function rowsOf(stretches: readonly CsvStretch[], spelling = COMMA) {
  const reader = new CsvRows(spelling);
  const rows: unknown[] = [];
  try {
    for (const stretch of stretches) {
      reader.open(stretch);
      while (reader.next()) {
        rows.push({ line: reader.line, end: reader.end, cells: reader.cells() });
      }
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    rows.push(error.message);
  }
  return rows;
}

/** The same by the reader that takes care of every row. */
function carefulRowsOf(bytes: Uint8Array) {
  const from = Buffer.from(bytes);
  const reader = new CarefulRows(from, { separator: ",", ending: "source" });
  const rows: unknown[] = [];
  try {
    for (let at = 0, line = 1; at < from.length;) {
      const { cells, next, lines } = reader.read(at, line);
      rows.push({ line, end: next, cells });
      at = next;
      line += lines;
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    rows.push(error.message);
  }
  return rows;
}

test("[DS-1] rows and faults are the same wherever a source is cut, and whoever reads them", () => {
  const sizes = fc.record({
    size: fc.integer({ min: 1, max: 9 }),
    rowsMax: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(table, sizes, (text, cuts) => {
      const bytes = utf8(text);
      const stretches = stretchesOf(bytes, cuts);
      const joined = Buffer.concat(stretches.map((stretch) => stretch.bytes));
      expect(joined).toEqual(Buffer.from(bytes));
      const rows = rowsOf(stretches);
      expect(rows).toEqual(carefulRowsOf(bytes));
      const whole = rows.filter((row) => typeof row !== "string").length;
      expect(stretches.reduce((sum, each) => sum + each.rows, 0)).toBeGreaterThanOrEqual(whole);
    }),
    { seed: 5, numRuns: 2_000 },
  );
});

test("a stretch ends with the row that reaches a place of the source, and knows its line", () => {
  const cutter = new CsvCutter(COMMA);
  cutter.push(utf8('a\n"b\nc"\nd\ne'));
  const stretch = cutter.cut({ rowsMax: Infinity, endMin: 4 });
  expect(stretch).toMatchObject({ line: 1, start: 0, end: 8, rows: 2, ending: "row" });
  expect(cutter).toMatchObject({ rows: 2, end: 8 });
  expect(cutter.cut({ rowsMax: 3, endMin: Infinity })).toBeUndefined();
  expect(cutter.rest()).toMatchObject({ line: 4, start: 8, end: 11, rows: 2, ending: "source" });
  expect(cutter.rest()).toBeUndefined();
});

test("blank lines that are skipped do not count as rows", () => {
  const spelling = { separator: ",", skipsBlank: true } as const;
  const cutter = new CsvCutter(spelling);
  cutter.push(utf8("\n\r\na\n\nb\n\n"));
  const [first, second] = [0, 1].map(() => cutter.cut({ rowsMax: 1, endMin: Infinity }));
  expect(first).toMatchObject({ rows: 1, end: 5 });
  expect(second).toMatchObject({ rows: 1, end: 8, line: 4 });
});

test.for([
  { title: "a long one", text: "x".repeat(CSV_ROW_BYTES_MAX), expected: "4194304 bytes" },
  {
    title: "a fault before it",
    text: `a"\n${"x\n".repeat(CSV_ROW_BYTES_MAX / 2)}`,
    expected: "column 1",
  },
])("a row that never ends is refused for what it is: $title", ({ text, expected }) => {
  const stretches = stretchesOf(utf8(`a\n${text},`), { size: 1 << 20, rowsMax: 5 });
  expect(stretches.at(-1)).toMatchObject({ ending: "row too long" });
  const rows = rowsOf(stretches);
  expect(rows).toHaveLength(2);
  expect(rows[1]).toContain(expected);
});

test("[DS-1] bytes that are not UTF-8 are refused where they are, and no other row", () => {
  const bytes = Buffer.concat([utf8("é,1\nb,"), Uint8Array.of(0xff), utf8("\nc,2\n")]);
  const [stretch] = stretchesOf(bytes, { size: 100, rowsMax: 3 });
  expect(rowsOf(stretch === undefined ? [] : [stretch])).toEqual([
    { line: 1, end: 5, cells: ["é", "1"] },
    "line 2, column 2: expected UTF-8 text",
  ]);
});
