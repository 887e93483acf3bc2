import fc from "fast-check";
import { expect, test } from "vitest";

import {
  BatchBuilder,
  commitRecord,
  concat,
  encodeCbor,
  hex,
  leafHash,
  openBatch,
  sealBuilt,
  sha256,
  utf8,
  type AttributeValue,
  type BatchColumn,
  type CanonicalRecord,
} from "#protocol";
import { CborWriter } from "../../protocol/cbor-writer.ts";
import { MerkleRoot, MerkleTree } from "../../protocol/merkle.ts";
import { recordRoot } from "../../protocol/record-root.ts";

const SCHEMA = "census@1";
const TYPES = ["integer", "decimal", "text", "bytes"] as const;

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/);
const text = fc.string({ unit: "grapheme", maxLength: 80 }).map((each) => each.normalize("NFC"));
const edges = fc.constantFrom(
  0,
  -1,
  23,
  24,
  -24,
  -25,
  255,
  256,
  65535,
  65536,
  2 ** 32 - 1,
  2 ** 32,
);
const values = {
  integer: fc.oneof(fc.maxSafeInteger(), edges),
  decimal: fc.oneof(fc.maxSafeInteger(), edges),
  text,
  bytes: fc.uint8Array({ maxLength: 300 }),
};

function columnOf(columnName: string, type: (typeof TYPES)[number]): BatchColumn {
  return { name: columnName, type, scale: type === "decimal" ? 2 : 0 };
}

const columnsOf = fc
  .uniqueArray(name, { minLength: 0, maxLength: 30 })
  .chain((names) =>
    fc.tuple(...names.map((each) => fc.constantFrom(...TYPES).map((type) => columnOf(each, type)))),
  );

const table = columnsOf.chain((columns) =>
  fc.record({
    columns: fc.constant(columns),
    rows: fc.array(
      fc.tuple(...columns.map(({ type }) => fc.option<AttributeValue>(values[type]))),
      { minLength: 1, maxLength: 5 },
    ),
  }),
);

function recordOf(
  columns: readonly BatchColumn[],
  row: readonly AttributeValue[],
  index: number,
): CanonicalRecord {
  return {
    schema: SCHEMA,
    subject_id: sha256(Uint8Array.of(index)),
    attributes: Object.fromEntries(columns.map((column, at) => [column.name, row[at] ?? null])),
    salt: sha256(Uint8Array.of(9, index)).slice(0, 16),
  };
}

test("[DS-1] what is built is byte for byte what encodeCbor and commitRecord give", () => {
  fc.assert(
    fc.property(table, ({ columns, rows }) => {
      const builder = new BatchBuilder(SCHEMA, columns);
      const records = rows.map((row, index) => recordOf(columns, row, index));
      for (const { attributes, subject_id, salt } of records) {
        for (const column of builder.columns) column.value(attributes[column.name] ?? null);
        builder.endRecord(subject_id, salt);
      }
      const built = builder.finish();
      const body = {
        columns: columns.map((_, at) => rows.map((row) => row[at] ?? null)),
        subject_ids: new Uint8Array(Buffer.concat(records.map((each) => each.subject_id))),
        salts: new Uint8Array(Buffer.concat(records.map((each) => each.salt))),
        erased: [],
      };
      expect(hex(built.body)).toBe(hex(encodeCbor(body)));
      const commitments = records.map(commitRecord);
      expect(built.commitments).toEqual(new Uint8Array(Buffer.concat(commitments)));
      expect(built.root).toEqual(recordRoot(concat(...commitments)));
    }),
    { seed: 11, numRuns: 300 },
  );
});

test("a writer's items are encodeCbor's, at every width of a head", () => {
  const numbers = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
  for (const number of numbers.flatMap((each) => [each, -1 - each]).filter(Number.isSafeInteger)) {
    const writer = new CborWriter(100);
    writer.integer(number);
    expect(hex(writer.written)).toBe(hex(encodeCbor(number)));
  }
  for (const length of [0, 23, 24, 255, 256, 65_536]) {
    const writer = new CborWriter(100_000);
    writer.bytes(new Uint8Array(length).fill(7));
    expect(hex(writer.written)).toBe(hex(encodeCbor(new Uint8Array(length).fill(7))));
  }
  const small = new CborWriter(5_000);
  expect(() => small.bytes(new Uint8Array(6_000))).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
});

test("the root of a tree that keeps nothing is the tree's", () => {
  const tree = new MerkleTree();
  const root = new MerkleRoot();
  expect(root.root()).toEqual(tree.root());
  for (let index = 0; index < 70; index += 1) {
    const entry = sha256(Uint8Array.of(index));
    tree.append(leafHash(entry));
    root.append(leafHash(entry));
    expect(root.root()).toEqual(tree.root());
  }
});

const AGE_AND_NAME = [columnOf("age", "integer"), columnOf("name", "text")];
const malformed = expect.objectContaining({ code: "SCHEMA_BATCH_MALFORMED" });

test("a dropped record leaves nothing, and an ASCII text is a text", () => {
  const subject = sha256();
  const salt = new Uint8Array(16);
  const builder = new BatchBuilder(SCHEMA, AGE_AND_NAME);
  const [age, label] = builder.columns;
  age?.value(1);
  label?.value("dropped");
  label?.value("twice");
  builder.dropRecord();
  age?.value(2);
  expect(label?.ascii(utf8("xkept."), 1, 5)).toBe(true);
  builder.endRecord(subject, salt);
  const built = builder.finish();
  const dataKey = new Uint8Array(32).fill(3);
  const opened = openBatch(
    sealBuilt({
      batchId: new Uint8Array(16),
      schema: SCHEMA,
      columns: AGE_AND_NAME,
      createdMs: 1,
      built,
      dataKey,
    }),
    dataKey,
  );
  expect(opened.columns).toEqual(
    new Map<string, unknown>([
      ["age", [2]],
      ["name", ["kept"]],
    ]),
  );
  expect(built.body.every((byte) => byte === 0)).toBe(true);
});

test("a builder that has finished or was cleared builds the next batch as a new one does", () => {
  const build = (builder: BatchBuilder, value: number) => {
    const [age, label] = builder.columns;
    age?.value(value);
    label?.value(`name ${value}`);
    builder.endRecord(sha256(utf8(`${value}`)), new Uint8Array(16).fill(value));
    const built = builder.finish();
    return { ...built, body: built.body.slice() };
  };
  const builder = new BatchBuilder(SCHEMA, AGE_AND_NAME);
  builder.addErased(sha256());
  const first = build(builder, 1);
  expect(first.recordCount).toBe(2);
  expect(build(builder, 2)).toEqual(build(new BatchBuilder(SCHEMA, AGE_AND_NAME), 2));
  builder.columns[0]?.value(3);
  builder.clear();
  expect(build(builder, 4)).toEqual(build(new BatchBuilder(SCHEMA, AGE_AND_NAME), 4));
});

test("refuses records that are not whole and values that do not fit", () => {
  const builder = new BatchBuilder(SCHEMA, AGE_AND_NAME);
  const [age, label] = builder.columns;
  age?.value(1);
  expect(() => builder.endRecord(sha256(), new Uint8Array(16))).toThrow(malformed);
  label?.null();
  expect(() => builder.endRecord(new Uint8Array(31), new Uint8Array(16))).toThrow(malformed);
  expect(() => builder.endRecord(sha256(), new Uint8Array(15))).toThrow(malformed);
  expect(() => label?.value(3)).toThrow(malformed);
  expect(() => age?.value(2 ** 53)).toThrow(malformed);
  expect(() => label?.value("e\u0301")).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
  expect(() => label?.value("\ud800")).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
  expect(label?.ascii(utf8("é"), 0, 2)).toBe(false);
  expect(age?.ascii(utf8("1"), 0, 1)).toBe(false);
  expect(() => builder.addErased(new Uint8Array(31))).toThrow(malformed);
  expect(() => new BatchBuilder("No Name", [])).toThrow(malformed);
  expect(() => new BatchBuilder(SCHEMA, [columnOf("a", "text"), columnOf("a", "text")])).toThrow(
    malformed,
  );
});
