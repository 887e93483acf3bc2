import { createCipheriv } from "node:crypto";

import fc from "fast-check";
import { expect, test } from "vitest";

import {
  BATCH_BYTES_MAX,
  BATCH_CHUNK_BYTES,
  SymphonyError,
  batchRoot,
  commitRecord,
  concat,
  decodeCbor,
  digestOfBytes,
  encodeCbor,
  hex,
  inputCommitment,
  leafHash,
  merkleRoot,
  openBatch,
  parseBatchHeader,
  recordAt,
  rehashBatch,
  sealBatch,
  sha256,
  utf8,
  type BatchColumn,
  type CanonicalRecord,
  type CborValue,
  type ErasedRecord,
} from "#protocol";

import { recordRoot } from "../../protocol/record-root.ts";

const dataKey = new Uint8Array(32).fill(3);
const CANARY = "canary-7f3a";
const columns: readonly BatchColumn[] = [
  { name: "age", type: "integer", scale: 0 },
  { name: "income", type: "decimal", scale: 2 },
  { name: "name", type: "text", scale: 0 },
  { name: "photo", type: "bytes", scale: 0 },
];

function recordOf(index: number, photo = new Uint8Array(2).fill(index)): CanonicalRecord {
  return {
    schema: "census",
    subject_id: sha256(Uint8Array.of(index)),
    attributes: { age: index, income: index * 100 + 1, name: `${CANARY}-${index}`, photo },
    salt: sha256(Uint8Array.of(9, index)).slice(0, 16),
  };
}

function sealOf(records: readonly (CanonicalRecord | ErasedRecord)[]): Uint8Array {
  const batchId = new Uint8Array(16).fill(1);
  return sealBatch({ batchId, schema: "census", columns, createdMs: 5, records, dataKey });
}

const records = [recordOf(1), recordOf(2), { ...recordOf(3), attributes: nulls() }];
const sealed = sealOf(records);
const openFailed = expect.objectContaining({ class: "verification", code: "INTERNAL_OPEN_FAILED" });
const malformed = expect.objectContaining({ class: "malformed", code: "SCHEMA_BATCH_MALFORMED" });
const tooLarge = expect.objectContaining({ class: "limit", code: "SCHEMA_TOO_LARGE" });

function nulls(): CanonicalRecord["attributes"] {
  return { age: null, income: null, name: null, photo: null };
}

const headerLength = new DataView(sealed.buffer, sealed.byteOffset).getUint32(4);
const chunksAt = 8 + headerLength;

test("a sealed batch opens to its columns", () => {
  const opened = openBatch(sealed, dataKey);
  expect(opened.header).toEqual(parseBatchHeader(sealed));
  expect(opened.header).toMatchObject({
    record_count: 3,
    chunk_count: 1,
    schema: "census",
    columns,
  });
  expect(opened.columns.get("age")).toEqual([1, 2, null]);
  expect(opened.columns.get("income")).toEqual([101, 201, null]);
  expect(opened.columns.get("photo")?.[1]).toEqual(Uint8Array.of(2, 2));
  expect(opened.subjectIds).toEqual(records.map((record) => record.subject_id));
  expect(opened.salts).toEqual(records.map((record) => record.salt));
  expect(records.map((_, index) => recordAt(opened, index))).toEqual(records);
  expect(() => recordAt(opened, 3)).toThrow(malformed);
});

test("[DS-1] no value, subject or salt is readable in a sealed batch", () => {
  const shown = hex(sealed);
  for (const { subject_id, salt } of records) {
    expect(shown).not.toContain(hex(subject_id));
    expect(shown).not.toContain(hex(salt));
  }
  expect(shown).not.toContain(hex(utf8(CANARY)));
  expect(sealed.length - chunksAt).toBeGreaterThan(16);
});

test("[DS-1] a batch opens under its own key only", () => {
  expect(() => openBatch(sealed, dataKey.with(31, 0))).toThrow(openFailed);
  expect(() => openBatch(sealed, new Uint8Array(16))).toThrow(malformed);
});

test("[DS-1] the root is the one of RFC 9162 over the record commitments, 64 to an entry", () => {
  const commitments = records.map(commitRecord);
  const root = merkleRoot([leafHash(concat(...commitments))]);
  expect(batchRoot(parseBatchHeader(sealed))).toEqual(root);
  expect(rehashBatch(openBatch(sealed, dataKey))).toEqual({ commitments, root });
});

test.for([0, 1, 63, 64, 65, 128, 200])(
  "[DS-1] the root over %i commitments binds each and their order",
  (count) => {
    const commitments = Array.from({ length: count }, (_, index) => sha256(utf8(`${index}`)));
    const entries = Array.from({ length: Math.ceil(count / 64) }, (_, entry) =>
      concat(...commitments.slice(entry * 64, entry * 64 + 64)),
    );
    const root = recordRoot(concat(...commitments));
    expect(root).toEqual(merkleRoot(entries.map(leafHash)));
    const others = [
      ...commitments.map((_, index) => commitments.with(index, new Uint8Array(32))),
      ...commitments.map((_, index) => commitments.toSpliced(index, 1)),
      [...commitments, sha256()],
      ...(count > 1 ? [commitments.toReversed()] : []),
    ];
    for (const other of others) expect(recordRoot(concat(...other))).not.toEqual(root);
  },
);

test("[DS-1] rehashing finds records that the root does not commit to", () => {
  const opened = openBatch(sealed, dataKey);
  const age = opened.columns.get("age") ?? [];
  const altered = { ...opened, columns: new Map([...opened.columns, ["age", age.with(0, 9)]]) };
  const salted = { ...opened, salts: opened.salts.with(0, new Uint8Array(16)) };
  for (const each of [altered, salted]) {
    expect(() => rehashBatch(each)).toThrow(
      expect.objectContaining({ class: "verification", code: "PROOF_COMMITMENT_MISMATCH" }),
    );
  }
});

test("the input commitment is the root over the batch roots in order", () => {
  const roots = [sha256(utf8("a")), sha256(utf8("b"))];
  expect(inputCommitment(roots)).toEqual(merkleRoot(roots.map(leafHash)));
  expect(inputCommitment(roots)).not.toEqual(inputCommitment(roots.toReversed()));
});

test("[DS-1] no byte of a batch can change: not its header, not its chunks", () => {
  for (let at = 0; at < sealed.length; at += 1) {
    const altered = sealed.with(at, (sealed[at] ?? 0) ^ 1);
    expect(() => openBatch(altered, dataKey)).toThrow(SymphonyError);
  }
  const later = sealed.with(chunksAt - 1, 6);
  expect(parseBatchHeader(sealed).created_ms).toBe(5);
  expect(() => openBatch(later, dataKey)).toThrow(SymphonyError);
});

test("a canonical header with one other fact does not open", () => {
  const header = parseBatchHeader(sealed);
  const others: { readonly [field: string]: CborValue }[] = [
    { created_ms: 6 },
    { batch_id: new Uint8Array(16) },
    { schema: "other" },
    { record_root: new Uint8Array(32) },
    { record_count: 2 },
    { columns: columns.toReversed().map((column) => ({ ...column })) },
  ];
  for (const other of others) {
    const bytes = encodeCbor({ ...header, ...other });
    expect(() => openBatch(reheaded(bytes), dataKey)).toThrow(openFailed);
  }
});

/** The sealed chunks under other header bytes. */
function reheaded(header: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, header.length);
  return concat(utf8("SYMB"), length, header, sealed.subarray(chunksAt));
}

test.for<{ title: string; wrong: { readonly [field: string]: CborValue } }>([
  { title: "another version", wrong: { version: 2 } },
  { title: "another field", wrong: { owner: "x" } },
  { title: "a short batch id", wrong: { batch_id: new Uint8Array(15) } },
  { title: "a short root", wrong: { record_root: new Uint8Array(31) } },
  { title: "no records", wrong: { record_count: 0 } },
  { title: "too many records", wrong: { record_count: 1_000_001 } },
  { title: "another chunk size", wrong: { chunk_bytes: 4096 } },
  { title: "no chunks", wrong: { chunk_count: 0 } },
  { title: "a chunk more", wrong: { chunk_count: 2 } },
  { title: "a column twice", wrong: { columns: [{ ...columns[0] }, { ...columns[0] }] } },
  { title: "a scale on text", wrong: { columns: [{ name: "a", type: "text", scale: 1 }] } },
  { title: "an unknown type", wrong: { columns: [{ name: "a", type: "float", scale: 0 }] } },
  {
    title: "257 columns",
    wrong: {
      columns: Array.from({ length: 257 }, (_, at) => ({ name: `a${at}`, type: "text", scale: 0 })),
    },
  },
])("parses no header with $title", ({ wrong }) => {
  const bytes = reheaded(encodeCbor({ ...parseBatchHeader(sealed), ...wrong }));
  expect(() => parseBatchHeader(bytes)).toThrow(malformed);
  expect(() => openBatch(bytes, dataKey)).toThrow(malformed);
});

test.for<{ title: string; bytes: Uint8Array }>([
  { title: "nothing", bytes: new Uint8Array(0) },
  { title: "another magic", bytes: sealed.with(0, 0) },
  { title: "a header that is not canonical", bytes: reheaded(Uint8Array.of(0x18, 1)) },
  { title: "half a header", bytes: sealed.slice(0, chunksAt - 4) },
  { title: "no chunk", bytes: sealed.slice(0, chunksAt) },
  { title: "a tag without a byte", bytes: sealed.slice(0, chunksAt + 16) },
])("parses no batch with $title", ({ bytes }) => {
  expect(() => parseBatchHeader(bytes)).toThrow(malformed);
});

test("limits are judged before anything is read", () => {
  expect(() => parseBatchHeader(new Uint8Array(BATCH_BYTES_MAX + 1))).toThrow(tooLarge);
  expect(() => parseBatchHeader(concat(utf8("SYMB"), new Uint8Array(4).fill(255)))).toThrow(
    tooLarge,
  );
  const photo = new Uint8Array(16 * 1024 * 1024);
  const many = [1, 2, 3, 4].map((index) => recordOf(index, photo));
  expect(() => sealOf(many)).toThrow(tooLarge);
});

test("[DS-1] chunks of a longer batch cannot be dropped, repeated, swapped or cut", () => {
  const photo = new Uint8Array(BATCH_CHUNK_BYTES - 100).fill(8);
  const long = sealOf([recordOf(1, photo), recordOf(2, photo), recordOf(3, photo)]);
  expect(parseBatchHeader(long).chunk_count).toBe(3);
  expect(rehashBatch(openBatch(long, dataKey)).commitments).toHaveLength(3);
  const start = 8 + new DataView(long.buffer).getUint32(4);
  const size = BATCH_CHUNK_BYTES + 16;
  const head = long.slice(0, start);
  const [one, two, three] = [0, 1, 2].map((index) =>
    long.slice(start + index * size, start + (index + 1) * size),
  );
  const [first, second, third] = [one ?? head, two ?? head, three ?? head];
  const swapped = concat(head, second, first, third);
  const repeated = concat(head, first, first, third);
  for (const each of [swapped, repeated, long.slice(0, -1), concat(long, Uint8Array.of(0))]) {
    expect(() => openBatch(each, dataKey)).toThrow(openFailed);
  }
  for (const each of [concat(head, first, third), concat(head, first, second, second, third)]) {
    expect(() => openBatch(each, dataKey)).toThrow(malformed);
  }
});

/** Seals any body under the genuine header, as only a holder of the data key can. */
function resealed(body: CborValue): Uint8Array {
  const header = sealed.slice(8, chunksAt);
  const cipher = createCipheriv("aes-256-gcm", dataKey, new Uint8Array(12));
  cipher.setAAD(concat(digestOfBytes("batch-header", header), Uint8Array.of(0, 0, 0, 0, 1)));
  const chunk = concat(cipher.update(encodeCbor(body)), cipher.final(), cipher.getAuthTag());
  return concat(sealed.slice(0, chunksAt), chunk);
}

const bodyColumns: readonly CborValue[] = [
  [1, 2, 3],
  [1, 2, 3],
  ["a", "b", "c"],
  [null, null, null],
];

const body = {
  columns: bodyColumns,
  subject_ids: new Uint8Array(96),
  salts: new Uint8Array(48),
  erased: [],
};

test.for<{ title: string; wrong: { readonly [field: string]: CborValue } }>([
  { title: "another field", wrong: { more: 1 } },
  { title: "a column less", wrong: { columns: bodyColumns.slice(1) } },
  { title: "a value less", wrong: { columns: bodyColumns.with(0, [1, 2]) } },
  { title: "text among integers", wrong: { columns: bodyColumns.with(0, [1, 2, "3"]) } },
  { title: "text among decimals", wrong: { columns: bodyColumns.with(1, [1, 2, "3"]) } },
  { title: "an integer among text", wrong: { columns: bodyColumns.with(2, ["a", "b", 3]) } },
  { title: "text among bytes", wrong: { columns: bodyColumns.with(3, [null, null, "c"]) } },
  { title: "true", wrong: { columns: bodyColumns.with(0, [1, 2, true]) } },
  { title: "a subject less", wrong: { subject_ids: new Uint8Array(64) } },
  { title: "half a salt", wrong: { salts: new Uint8Array(40) } },
  { title: "an erased record past the end", wrong: { erased: [[3, new Uint8Array(32)]] } },
  {
    title: "an erased record twice",
    wrong: { erased: [0, 0].map((at) => [at, new Uint8Array(32)]) },
  },
  { title: "a short commitment", wrong: { erased: [[0, new Uint8Array(31)]] } },
])("opens no batch whose body has $title", ({ wrong }) => {
  expect(openBatch(resealed(body), dataKey).columns.get("name")).toEqual(["a", "b", "c"]);
  expect(() => openBatch(resealed({ ...body, ...wrong }), dataKey)).toThrow(malformed);
});

test("opens no batch whose body is not canonical", () => {
  expect(() => openBatch(resealed([1.5].map(Math.floor)), dataKey)).toThrow(malformed);
});

test("an erased record leaves its commitment and keeps the root", () => {
  const [first = recordOf(1), second = recordOf(2), third = recordOf(3)] = records;
  const erased = openBatch(
    sealOf([first, { erasedCommitment: commitRecord(second) }, third]),
    dataKey,
  );
  expect(batchRoot(erased.header)).toEqual(batchRoot(parseBatchHeader(sealed)));
  expect(erased.columns.get("name")?.[1]).toBeNull();
  expect(erased.subjectIds[1]).toEqual(new Uint8Array(32));
  expect(rehashBatch(erased).commitments[1]).toEqual(commitRecord(second));
  expect(recordAt(erased, 0)).toEqual(first);
  expect(() => recordAt(erased, 1)).toThrow(malformed);
  expect(() => sealOf([{ erasedCommitment: new Uint8Array(31) }])).toThrow(malformed);
});

test.for<{ title: string; record: CanonicalRecord }>([
  { title: "of another schema", record: { ...recordOf(1), schema: "other" } },
  { title: "without a column", record: { ...recordOf(1), attributes: { age: 1 } } },
  {
    title: "with a column more",
    record: { ...recordOf(1), attributes: { ...recordOf(1).attributes, more: 1 } },
  },
  {
    title: "with text for an integer",
    record: { ...recordOf(1), attributes: { ...recordOf(1).attributes, age: "1" } },
  },
  { title: "with a short salt", record: { ...recordOf(1), salt: new Uint8Array(8) } },
  { title: "with a short subject id", record: { ...recordOf(1), subject_id: new Uint8Array(8) } },
])("seals no record $title", ({ record }) => {
  expect(() => sealOf([recordOf(2), record])).toThrow(malformed);
});

test("seals no batch without records", () => {
  expect(() => sealOf([])).toThrow(malformed);
});

test("equal records, key and id give equal bytes", () => {
  expect(sealOf(records)).toEqual(sealed);
  expect(decodeCbor(sealed.slice(8, chunksAt))).toEqual(parseBatchHeader(sealed));
});

test("any bytes are refused", () => {
  const cut = fc.nat(sealed.length).map((length) => sealed.slice(0, length));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), cut), (bytes) => {
      fc.pre(bytes.length !== sealed.length);
      expect(() => openBatch(bytes, dataKey)).toThrow(SymphonyError);
    }),
  );
});
