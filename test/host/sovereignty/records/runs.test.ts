import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { expect, test } from "vitest";

import { utf8 } from "../../../../protocol/index.ts";
import {
  CUSTOMER_HEADER,
  OPEN_CUSTODY,
  bytesIn,
  customerCsv,
  newFixture,
  recordsIn,
  targetOf,
  type Fixture,
} from "../vault-fixture.ts";

interface Sending {
  readonly onError?: "abort" | "quarantine";
  readonly name?: string;
  readonly signal?: AbortSignal;
  readonly batchRows?: number;
  readonly onProgress?: () => void;
}

function ingest(
  fixture: Fixture,
  source: AsyncIterable<Uint8Array> | string,
  { onError = "abort", batchRows = 5, ...rest }: Sending = {},
) {
  return fixture.vault.ingest({
    ...targetOf(fixture, "customers"),
    format: "csv",
    source: typeof source === "string" ? bytesIn(source, 100) : source,
    onError,
    batchRows,
    ...rest,
  });
}

/** A source whose sender goes away after `bytes`. */
async function* cutOff(text: string, bytes: number): AsyncGenerator<Uint8Array> {
  yield* bytesIn(text.slice(0, bytes), 50);
  throw new Error("the sender is gone");
}

function files(fixture: Fixture): string[] {
  return fs.readdirSync(path.join(fixture.directory, "batches")).toSorted();
}

/** A Vault that counts the batches it has sealed. */
async function counting() {
  const sealed = { count: 0 };
  const fixture = await newFixture({
    custody: {
      ...OPEN_CUSTODY,
      protect: (wrapped) => {
        sealed.count += 1;
        return OPEN_CUSTODY.protect(wrapped);
      },
    },
  });
  return { fixture, sealed };
}

/** A Vault with a run of 22 customers of which the sender sent some 17. */
async function interrupted() {
  const { fixture, sealed } = await counting();
  const csv = customerCsv(22);
  const gone = ingest(fixture, cutOff(csv, csv.indexOf("c-17")));
  await expect(gone).rejects.toThrow("the sender is gone");
  expect(sealed.count).toBe(3);
  return { fixture, sealed, csv };
}

test("[PL-7] what was staged before an interruption is not sealed again, and nothing is lost or doubled", async () => {
  const { fixture, sealed, csv } = await interrupted();
  expect(await fixture.vault.status()).toMatchObject({ records: 0, batches: 0, subjects: 0 });
  const { open } = await fixture.vault.records.runs();
  expect(open).toMatchObject([
    { state: "interrupted", staged: { rows: 15, records: 15, batches: 3 }, progress: null },
  ]);
  const staged = files(fixture);
  const vault = await fixture.reopen();
  const report = await ingest({ ...fixture, vault }, csv);
  expect(report).toMatchObject({ records: 22, batches: 5, ingest_id: open[0]?.ingest_id });
  expect(sealed.count).toBe(5);
  expect(files(fixture)).toEqual(expect.arrayContaining(staged));
  expect(await vault.status()).toMatchObject({ records: 22, batches: 5, subjects: 22 });
  expect(await vault.records.runs()).toEqual({ open: [], published: [report] });
  expect(await ingest({ ...fixture, vault }, csv)).toEqual(report);
  expect(files(fixture)).toHaveLength(5);
});

test.for([
  { title: "its first row", search: "c-0,", kept: 0, sealed: 8 },
  { title: "a row of its second batch", search: "c-7,", kept: 1, sealed: 7 },
  { title: "nothing but the rows after the staged ones", search: "c-18,", kept: 3, sealed: 5 },
])("another source that differs in $title keeps what is the same", async (change) => {
  const { fixture, sealed, csv } = await interrupted();
  const before = files(fixture);
  const other = csv.replace(`\n${change.search}`, `\nX${change.search.slice(1)}`);
  const report = await ingest(fixture, other);
  expect(report).toMatchObject({ records: 22, batches: 5 });
  expect(sealed.count).toBe(change.sealed);
  expect(files(fixture).filter((file) => before.includes(file))).toHaveLength(change.kept);
  expect(files(fixture)).toHaveLength(5);
  expect(await fixture.vault.status()).toMatchObject({ records: 22, subjects: 22 });
});

test.for([
  { title: "shorter", rows: 12, records: 12, batches: 3 },
  { title: "cut at the end of a batch", rows: 10, records: 10, batches: 2 },
  { title: "of nothing but its header", rows: 0, records: 0, batches: 0 },
])("another source that is $title is what is published", async ({ rows, records, batches }) => {
  const { fixture } = await interrupted();
  const report = await ingest(fixture, customerCsv(rows));
  expect(report).toMatchObject({ records, batches, quarantined_count: 0 });
  expect(files(fixture)).toHaveLength(batches);
});

test.for([
  {
    title: "torn",
    harm: (file: string) => fs.truncateSync(file, 100),
  },
  {
    title: "altered in one bit",
    harm: (file: string) => {
      const bytes = fs.readFileSync(file);
      fs.writeFileSync(
        file,
        bytes.map((byte, index) => (index === bytes.length - 20 ? byte ^ 1 : byte)),
      );
    },
  },
  { title: "missing", harm: (file: string) => fs.rmSync(file) },
])("[PL-7] a staged batch that is $title is made again", async ({ harm }) => {
  const { fixture, csv } = await interrupted();
  const harmed = files(fixture);
  for (const file of harmed) harm(path.join(fixture.directory, "batches", file));
  const vault = await fixture.reopen();
  const report = await ingest({ ...fixture, vault }, csv);
  expect(report).toMatchObject({ records: 22, batches: 5 });
  expect(files(fixture)).toHaveLength(5);
  expect(files(fixture).filter((file) => harmed.includes(file))).toEqual([]);
});

test("[DS-1] equal rows are records that nobody can tell to be equal", async () => {
  const fixture = await newFixture();
  const [header, row] = customerCsv(1).split("\n");
  await ingest(fixture, [header, row, row, ""].join("\n"));
  const [one, two] = await recordsIn(fixture.vault, "customers");
  expect(one?.commitment).not.toEqual(two?.commitment);
  expect(await fixture.vault.status()).toMatchObject({ records: 2, subjects: 1 });
});

test("an interrupted ingest can be abandoned, once", async () => {
  const { fixture } = await interrupted();
  const { open } = await fixture.vault.records.runs();
  const id = open[0]?.ingest_id ?? "";
  await fixture.vault.records.abandon(id);
  expect(files(fixture)).toEqual([]);
  expect(await fixture.vault.records.runs()).toEqual({ open: [], published: [] });
  await expect(fixture.vault.records.abandon(id)).rejects.toMatchObject({
    code: "SCHEMA_INGEST_UNKNOWN",
  });
});

test("one that nobody continues is removed after seven days", async () => {
  const { fixture } = await interrupted();
  fixture.clock.nowMs += 7 * 24 * 60 * 60 * 1000 + 1;
  await ingest(fixture, customerCsv(3), { name: "another" });
  expect((await fixture.vault.records.runs()).open).toEqual([]);
  expect(files(fixture)).toHaveLength(1);
});

test("[PL-1] one source is ingested by one at a time, and its progress can be read meanwhile", async () => {
  const fixture = await newFixture();
  const csv = customerCsv(22);
  const half = csv.indexOf("c-12");
  const seen: unknown[] = [];
  async function* watched(): AsyncGenerator<Uint8Array> {
    yield utf8(csv.slice(0, half));
    const { open } = await fixture.vault.records.runs();
    seen.push(...open);
    await expect(ingest(fixture, csv)).rejects.toMatchObject({ code: "SCHEMA_INGEST_RUNNING" });
    await expect(fixture.vault.records.abandon(open[0]?.ingest_id ?? "")).rejects.toMatchObject({
      code: "SCHEMA_INGEST_RUNNING",
    });
    yield utf8(csv.slice(half));
  }
  expect(await ingest(fixture, watched())).toMatchObject({ records: 22 });
  expect(seen).toMatchObject([
    { state: "running", progress: { rows: 12, bytes: half, quarantined: 0 } },
  ]);
});

test("two names are two ingests, and the same bytes are published once", async () => {
  const fixture = await newFixture();
  const csv = customerCsv(12);
  const [one, two] = await Promise.all([
    ingest(fixture, csv, { name: "one" }),
    ingest(fixture, csv, { name: "two" }),
  ]);
  expect(one).toEqual(two);
  expect(await fixture.vault.status()).toMatchObject({ records: 12, subjects: 12 });
  expect(files(fixture)).toHaveLength(3);
  await expect(ingest(fixture, csv, { name: "x".repeat(513) })).rejects.toMatchObject({
    code: "SCHEMA_TOO_LARGE",
  });
});

test("a signal ends an ingest where it can go on", async () => {
  const fixture = await newFixture();
  const csv = customerCsv(22);
  const controller = new AbortController();
  async function* stopped(): AsyncGenerator<Uint8Array> {
    yield utf8(csv.slice(0, csv.indexOf("c-12")));
    controller.abort(new Error("stopped by hand"));
    yield utf8(csv.slice(csv.indexOf("c-12")));
  }
  const stopping = ingest(fixture, stopped(), { signal: controller.signal });
  await expect(stopping).rejects.toThrow("stopped by hand");
  const { open } = await fixture.vault.records.runs();
  expect(open).toMatchObject([{ state: "interrupted", staged: { rows: 10 } }]);
  expect(await ingest(fixture, csv)).toMatchObject({ records: 22, ingest_id: open[0]?.ingest_id });
});

test("[PL-7] a signal is heeded within 256 KiB of a source, however large its chunks are", async () => {
  const fixture = await newFixture();
  const controller = new AbortController();
  const csv = customerCsv(20_000);
  const stopping = ingest(fixture, bytesIn(csv, csv.length), {
    batchRows: 1_000,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("stopped by hand")),
  });
  await expect(stopping).rejects.toThrow("stopped by hand");
  const { open } = await fixture.vault.records.runs();
  const [{ staged } = { staged: { rows: 0, bytes: 0 } }] = open;
  expect(staged.rows).toBeGreaterThan(0);
  expect(staged.bytes).toBeLessThan(256 * 1024);
});

const BAD = "c-x,a@x,secret-value,1,Porto,1";

test("[PL-1] every row left out can be paged, and none says its value", async () => {
  const fixture = await newFixture();
  const rows = Array.from({ length: 230 }, (_, index) =>
    index % 2 === 0 ? BAD : customerCsv(1, index).split("\n")[1],
  );
  const csv = `${[CUSTOMER_HEADER, ...rows].join("\n")}\n`;
  const report = await ingest(fixture, csv, { onError: "quarantine", batchRows: 50 });
  expect(report).toMatchObject({ records: 115, quarantined_count: 115, batches: 5 });
  expect(report.quarantined).toHaveLength(100);
  const page = (after: number) =>
    fixture.vault.records.quarantined({ ingestId: report.ingest_id, after, limit: 60 });
  const first = await page(0);
  const second = await page(first.at(-1)?.line ?? 0);
  expect([...first, ...second]).toEqual(
    Array.from({ length: 115 }, (_, index) => ({
      line: 2 + 2 * index,
      column: "customer.age",
      expected: "a whole number",
    })),
  );
});

test("an ingest that may leave nothing out does not go on from one that did", async () => {
  const fixture = await newFixture();
  const csv = `${customerCsv(4)}${BAD}\n${customerCsv(9, 5).split("\n").slice(1).join("\n")}`;
  const gone = ingest(fixture, cutOff(csv, csv.length - 10), { onError: "quarantine" });
  await expect(gone).rejects.toThrow("gone");
  await expect(ingest(fixture, csv)).rejects.toMatchObject({
    code: "SCHEMA_ROW_MALFORMED",
    details: { line: 6, column: "customer.age" },
  });
  expect(files(fixture)).toEqual([]);
});

test("rows that are all at fault are no batch, and too many of them end the ingest", async () => {
  const fixture = await newFixture();
  const few = `${CUSTOMER_HEADER}\n${`${BAD}\n`.repeat(12)}`;
  expect(await ingest(fixture, few, { onError: "quarantine" })).toMatchObject({
    records: 0,
    batches: 0,
    quarantined_count: 12,
  });
  const many = bytesIn(`${CUSTOMER_HEADER}\n${"x\n".repeat(100_001)}`);
  const sending = ingest(fixture, many, { onError: "quarantine", batchRows: 10_000 });
  await expect(sending).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
  expect((await fixture.vault.records.runs()).open).toEqual([]);
});

test("[DS-1] a large source is built on threads, in its order", async () => {
  const fixture = await newFixture();
  const csv = customerCsv(16_000);
  const report = await ingest(fixture, bytesIn(csv), { batchRows: 2_000 });
  expect(report).toMatchObject({ records: 16_000, batches: 8 });
  expect(await fixture.vault.status()).toMatchObject({ records: 16_000, subjects: 16_000 });
  const listed = await recordsIn(fixture.vault, "customers");
  expect(
    new Set(listed.map(({ commitment }) => Buffer.from(commitment).toString("hex"))).size,
  ).toBe(16_000);
  const late = csv.replace("c-15999,", ",");
  await expect(ingest(fixture, bytesIn(late), { batchRows: 2_000 })).rejects.toMatchObject({
    details: { line: 16_001, column: "customer.id" },
  });
  expect(files(fixture)).toHaveLength(8);
});

test("[DS-1] the subjects of many batches get one ordinal each, whatever batch they are in", async () => {
  const fixture = await newFixture();
  const rows = customerCsv(70).trimEnd().split("\n").slice(1);
  const again = rows.map((row) => row.replace("Porto", "Lisboa"));
  const csv = [CUSTOMER_HEADER, ...rows, ...again, ""].join("\n");
  expect(await ingest(fixture, csv, { batchRows: 1 })).toMatchObject({ batches: 140 });
  expect(await fixture.vault.status()).toMatchObject({ records: 140, subjects: 70 });
  await fixture.vault.close();
  const database = new DatabaseSync(path.join(fixture.directory, "vault.db"), { readOnly: true });
  const stored = database.prepare("select hex(ordinals) as ordinal from batch order by position");
  const ordinals = stored.all().map(({ ordinal }) => String(ordinal));
  database.close();
  expect(ordinals.slice(70)).toEqual(ordinals.slice(0, 70));
  expect(new Set(ordinals).size).toBe(70);
});
