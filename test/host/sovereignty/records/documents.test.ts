import fc from "fast-check";
import { expect, test } from "vitest";

import { documentFrames, type IngestDocument } from "../../../../host/sovereignty/index.ts";
import { openDocuments } from "../../../../host/sovereignty/records/documents.ts";
import { IMAGE_BYTES_MAX } from "../../../../host/sovereignty/records/document-image.ts";
import type { SourceRow } from "../../../../host/sovereignty/records/source.ts";
import {
  SymphonyError,
  concat,
  encodeCbor,
  encodeFrame,
  sha256,
  utf8,
} from "../../../../protocol/index.ts";
import { PNG, bytesIn, newFixture, targetOf, type Fixture } from "../vault-fixture.ts";

async function framed(...documents: IngestDocument[]): Promise<Uint8Array> {
  const frames: Uint8Array[] = [];
  for await (const frame of documentFrames(documents)) frames.push(frame);
  return concat(...frames);
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function read(bytes: Uint8Array, size = 7): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  for await (const group of openDocuments(pieces(bytes, size)).rows) rows.push(...group);
  return rows;
}

const ANNA = { name: "1.png", subject: "anna", image: PNG };
const BEN = { name: "2.png", subject: "ben", image: PNG };

function ingest(
  fixture: Fixture,
  source: AsyncIterable<Uint8Array>,
  onError: "abort" | "quarantine" = "abort",
) {
  const target = targetOf(fixture, "receipts");
  return fixture.vault.ingest({ ...target, format: "documents", source, onError });
}

test("[PL-1] documents are rows, one after the other, with their places and digests", async () => {
  const bytes = await framed(ANNA, BEN);
  const first = (await framed(ANNA)).length;
  const source = openDocuments(pieces(bytes, 11));
  const rows: SourceRow[] = [];
  for await (const group of source.rows) rows.push(...group);
  expect(rows).toEqual([
    { line: 1, end: first, cells: [PNG, "anna", "1.png"] },
    { line: 2, end: bytes.length, cells: [PNG, "ben", "2.png"] },
  ]);
  expect(source.digestAt(first)).toEqual(sha256(bytes.subarray(0, first)));
  expect(source.digest()).toEqual(sha256(bytes));
});

test("[PL-1] a document that is no image is a row at fault, and the next are read", async () => {
  const rows = await read(await framed({ ...ANNA, image: utf8("secret text") }, BEN));
  expect(rows[0]).toMatchObject({ line: 1, fault: { column: "image" } });
  expect(JSON.stringify(rows[0])).not.toContain("secret");
  expect(rows[1]).toMatchObject({ line: 2, cells: [PNG, "ben", "2.png"] });
});

test.for<{ title: string; bytes: () => Promise<Uint8Array> | Uint8Array; code: string }>([
  {
    title: "an end inside an image",
    bytes: async () => (await framed(ANNA)).slice(0, -1),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "a label without an image",
    bytes: () => encodeFrame(encodeCbor({ name: "1.png", subject: "anna" })),
    code: "SCHEMA_MALFORMED",
  },
  { title: "half a length", bytes: () => new Uint8Array(3), code: "SCHEMA_MALFORMED" },
  {
    title: "a label with another field",
    bytes: () => encodeFrame(encodeCbor({ name: "1", subject: "a", more: 1 })),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "a label with a long subject",
    bytes: () => encodeFrame(encodeCbor({ name: "1", subject: "a".repeat(201) })),
    code: "SCHEMA_MALFORMED",
  },
  {
    title: "a label that is no CBOR",
    bytes: () => encodeFrame(Uint8Array.of(0xff)),
    code: "SCHEMA_CBOR_MALFORMED",
  },
  {
    title: "an image that announces more than 8 MiB",
    bytes: () => {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, IMAGE_BYTES_MAX + 1);
      return concat(encodeFrame(encodeCbor({ name: "1", subject: "a" })), length);
    },
    code: "SCHEMA_TOO_LARGE",
  },
])("refuses $title", async ({ bytes, code }) => {
  await expect(read(await bytes())).rejects.toMatchObject({ code });
});

test("any bytes are documents or refused, however they are cut", async () => {
  const genuine = await framed(ANNA, BEN);
  const damage = fc.record({ at: fc.nat(genuine.length - 1), bit: fc.nat(7) });
  await fc.assert(
    fc.asyncProperty(damage, fc.integer({ min: 1, max: 300 }), async ({ at, bit }, size) => {
      const damaged = genuine.with(at, (genuine[at] ?? 0) ^ (1 << bit));
      expect(await outcome(damaged, size)).toEqual(await outcome(damaged, 4096));
    }),
  );
});

async function outcome(bytes: Uint8Array, size: number): Promise<unknown> {
  try {
    return await read(bytes, size);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    // Which of two faults is met first depends on what has arrived.
    return "refused";
  }
}

test("[PL-1] many documents become records of their subjects in one ingest, once", async () => {
  const fixture = await newFixture();
  const bytes = await framed(ANNA, { ...BEN, subject: "anna" }, { ...BEN, name: "3.png" });
  const report = await ingest(fixture, pieces(bytes, 100));
  expect(report).toMatchObject({ records: 3, batches: 1, quarantined_count: 0 });
  expect(await ingest(fixture, pieces(bytes, 31))).toEqual(report);
  expect(await fixture.vault.status()).toMatchObject({ records: 3, subjects: 2 });
});

test.for([
  { title: "no image", bad: { ...BEN, image: utf8("hello") }, column: "image" },
  { title: "nobody's", bad: { ...BEN, subject: " " }, column: "subject" },
])("[PL-1] a document that is $title aborts all, or is set aside", async ({ bad, column }) => {
  const fixture = await newFixture();
  const bytes = await framed(ANNA, bad);
  await expect(ingest(fixture, pieces(bytes, 100))).rejects.toMatchObject({
    code: "SCHEMA_ROW_MALFORMED",
    details: { line: 2, column },
  });
  expect(await fixture.vault.status()).toMatchObject({ records: 0 });
  expect(await ingest(fixture, pieces(bytes, 100), "quarantine")).toMatchObject({
    records: 1,
    quarantined: [{ line: 2, column }],
  });
});

test("documents take no mapping and only a scope of documents", async () => {
  const fixture = await newFixture();
  const source = bytesIn("");
  const mapped = fixture.vault.ingest({
    ...targetOf(fixture, "receipts"),
    format: "documents",
    mapping: {
      csv: { separator: ",", columns: null, blank_lines: "refuse" },
      trim: true,
      attributes: {},
      ignore: [],
      keep: {},
    },
    source,
    onError: "abort",
  });
  await expect(mapped).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
  const target = targetOf(fixture, "customers");
  const scope = fixture.vault.ingest({ ...target, format: "documents", source, onError: "abort" });
  await expect(scope).rejects.toMatchObject({ code: "DERIVATION_UNRESOLVED" });
});
