import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, expect, test } from "vitest";

import { PARQUET_GROUP_CELLS_MAX, openParquet } from "../../../host/adapters/parquet.ts";
import { SymphonyError } from "../../../protocol/index.ts";

type Written = Parameters<typeof parquetWriteBuffer>[0];

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-parquet-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function bytesOf(written: Written): Uint8Array {
  return new Uint8Array(parquetWriteBuffer(written));
}

function save(bytes: Uint8Array): string {
  const file = path.join(folder, `${fs.readdirSync(folder).length}.parquet`);
  fs.writeFileSync(file, bytes);
  return file;
}

async function read(bytes: Uint8Array, ignored: readonly string[] = []) {
  const file = await openParquet(save(bytes), new Set(ignored));
  try {
    const rows: (string | null)[][] = [];
    const groups: number[] = [];
    for await (const group of file.groups()) {
      rows.push(...group);
      groups.push(group.length);
    }
    return { columns: file.columns, counted: file.rows, rows, groups };
  } finally {
    await file.close();
  }
}

type Element = NonNullable<Written["schema"]>[number];

/** One column under its own schema element. */
async function column(element: Omit<Element, "name">, data: unknown[]): Promise<(string | null)[]> {
  const schema: Element[] = [
    { name: "root", num_children: 1 },
    { name: "c", repetition_type: "OPTIONAL", ...element },
  ];
  const { rows } = await read(bytesOf({ columnData: [{ name: "c", data }], schema }));
  return rows.map(([cell]) => cell ?? null);
}

const bigEndian = (...bytes: number[]) => Uint8Array.from(bytes);

test.for<{
  title: string;
  element: Omit<Element, "name">;
  data: unknown[];
  text: (string | null)[];
}>([
  {
    title: "booleans",
    element: { type: "BOOLEAN" },
    data: [true, false, null],
    text: ["1", "0", null],
  },
  {
    title: "INT32",
    element: { type: "INT32" },
    data: [-2147483648, 0, 7],
    text: ["-2147483648", "0", "7"],
  },
  {
    title: "INT64 with all its digits",
    element: { type: "INT64" },
    data: [9223372036854775807n, -9223372036854775808n, null],
    text: ["9223372036854775807", "-9223372036854775808", null],
  },
  {
    title: "unsigned INT64",
    element: { type: "INT64", converted_type: "UINT_64" },
    data: [18446744073709551615n, 5n],
    text: ["18446744073709551615", "5"],
  },
  {
    title: "DECIMAL in INT64",
    element: { type: "INT64", converted_type: "DECIMAL", scale: 2, precision: 18 },
    data: [1050n, -5n, 0n, 999999999999999999n],
    text: ["10.50", "-0.05", "0.00", "9999999999999999.99"],
  },
  {
    title: "DOUBLE without exponent",
    element: { type: "DOUBLE" },
    data: [0.1, 1e21, 1.5e-7, -0, 123456.789, -2.5e-10],
    text: ["0.1", "1000000000000000000000", "0.00000015", "0", "123456.789", "-0.00000000025"],
  },
  {
    title: "what is no number, as a word",
    element: { type: "DOUBLE" },
    data: [Number.NaN, Infinity, -Infinity],
    text: ["NaN", "Infinity", "-Infinity"],
  },
  {
    title: "FLOAT by its own precision",
    element: { type: "FLOAT" },
    data: [0.1, 16777216, 3.4028234663852886e38].map(Math.fround),
    text: ["0.1", "16777216", "340282350000000000000000000000000000000"],
  },
  {
    title: "text",
    element: { type: "BYTE_ARRAY", converted_type: "UTF8" },
    data: ["a", "é 日本", "", null],
    text: ["a", "é 日本", "", null],
  },
  {
    title: "bytes as base64",
    element: { type: "BYTE_ARRAY" },
    data: [bigEndian(1, 2, 255), bigEndian()],
    text: ["AQL/", ""],
  },
  {
    title: "a UUID",
    element: { type: "FIXED_LEN_BYTE_ARRAY", type_length: 16, logical_type: { type: "UUID" } },
    data: ["00112233-4455-6677-8899-aabbccddeeff"],
    text: ["00112233-4455-6677-8899-aabbccddeeff"],
  },
  {
    title: "dates",
    element: { type: "INT32", converted_type: "DATE" },
    data: [new Date("1969-12-31"), new Date("2024-02-29")],
    text: ["1969-12-31", "2024-02-29"],
  },
  {
    title: "instants in milliseconds",
    element: { type: "INT64", converted_type: "TIMESTAMP_MILLIS" },
    data: [new Date("1969-12-31T23:59:59.999Z"), new Date("2024-02-29T12:00:00.050Z")],
    text: ["1969-12-31T23:59:59.999Z", "2024-02-29T12:00:00.050Z"],
  },
  {
    title: "clock readings in nanoseconds",
    element: {
      type: "INT64",
      logical_type: { type: "TIMESTAMP", isAdjustedToUTC: false, unit: "NANOS" },
    },
    data: [-1n, 1709208000000000001n],
    text: ["1969-12-31T23:59:59.999999999", "2024-02-29T12:00:00.000000001"],
  },
  {
    title: "times of day",
    element: {
      type: "INT64",
      logical_type: { type: "TIME", isAdjustedToUTC: true, unit: "MICROS" },
    },
    data: [0n, 86399999999n],
    text: ["00:00:00.000000", "23:59:59.999999"],
  },
])("[PL-1] writes $title", async ({ element, data, text }) => {
  expect(await column(element, data)).toEqual(text);
});

const NAMES = ["id", "age"];
const TABLE = (count: number) => [
  { name: "id", data: Array.from({ length: count }, (_, row) => `c-${row}`) },
  { name: "age", data: Array.from({ length: count }, (_, row) => row % 90) },
];

test("[PL-1] row groups come one after the other, a thousand rows at a time", async () => {
  const bytes = bytesOf({ columnData: TABLE(4_500), rowGroupSize: 2_000 });
  const { columns, counted, rows, groups } = await read(bytes);
  expect({ columns, counted, groups }).toEqual({
    columns: NAMES,
    counted: 4_500,
    groups: [1_000, 1_000, 1_000, 1_000, 500],
  });
  expect(rows).toEqual(Array.from({ length: 4_500 }, (_, row) => [`c-${row}`, String(row % 90)]));
});

test.for(["UNCOMPRESSED", "SNAPPY"] as const)("[PL-1] reads %s pages", async (codec) => {
  const { rows } = await read(bytesOf({ columnData: TABLE(100), codec }));
  expect(rows[99]).toEqual(["c-99", "9"]);
});

test("[PL-1] a nested column is refused by name, and left alone when it is ignored", async () => {
  const bytes = bytesOf({
    columnData: [
      { name: "tags", data: [["a", "b"], ["c"]] },
      { name: "id", data: ["x", "y"] },
    ],
    schema: [
      { name: "root", num_children: 2 },
      { name: "tags", num_children: 1, repetition_type: "OPTIONAL", converted_type: "LIST" },
      { name: "list", num_children: 1, repetition_type: "REPEATED" },
      { name: "element", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "id", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
    ],
  });
  await expect(read(bytes)).rejects.toMatchObject({
    code: "SCHEMA_MALFORMED",
    details: { column: "tags" },
    message: expect.stringContaining("nested or repeated"),
  });
  expect((await read(bytes, ["tags"])).rows).toEqual([["x"], ["y"]]);
});

test("[PL-1] a type that has no text is refused by name", async () => {
  const refused = column(
    { type: "FIXED_LEN_BYTE_ARRAY", type_length: 2, logical_type: { type: "FLOAT16" } },
    [1.5],
  );
  await expect(refused).rejects.toMatchObject({
    code: "SCHEMA_MALFORMED",
    details: { column: "c" },
  });
});

test("a row group that would not fit into memory is refused before it is read", async () => {
  const rows = PARQUET_GROUP_CELLS_MAX / 256 + 1;
  const data = new Int32Array(rows);
  const columnData = Array.from({ length: 256 }, (_, index) => ({ name: `c${index}`, data }));
  const refused = read(bytesOf({ columnData, rowGroupSize: rows }));
  await expect(refused).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
});

test("more columns than a record can have are refused", async () => {
  const columnData = Array.from({ length: 257 }, (_, index) => ({ name: `c${index}`, data: [1] }));
  await expect(read(bytesOf({ columnData }))).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
});

test("damage anywhere gives rows or a refusal, and never text of the file", async () => {
  const genuine = bytesOf({ columnData: TABLE(40) });
  let refusals = 0;
  for (let at = 0; at < genuine.length; at += 1) {
    const error: unknown = await read(genuine.with(at, (genuine[at] ?? 0) ^ 0xff)).catch(
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof Error)) continue;
    expect(error).toBeInstanceOf(SymphonyError);
    expect(`${error.message} ${String(error.cause)}`).not.toContain("c-1");
    refusals += 1;
  }
  expect(refusals).toBeGreaterThan(50);
});

test.for([
  { title: "no bytes", damage: () => new Uint8Array(0) },
  { title: "another file", damage: () => new TextEncoder().encode("id,age\nc-1,30\n") },
  { title: "half a file", damage: (bytes: Uint8Array) => bytes.subarray(0, bytes.length / 2) },
  { title: "a file without its beginning", damage: (bytes: Uint8Array) => bytes.subarray(100) },
])("refuses $title", async ({ damage }) => {
  const refused = read(damage(bytesOf({ columnData: TABLE(100) })));
  await expect(refused).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
});

test("a file that is not there is said as the disk says it", async () => {
  await expect(openParquet(path.join(folder, "none"))).rejects.toMatchObject({ code: "ENOENT" });
});
