import { createSecretKey } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { BatchBuild } from "../../../../host/sovereignty/records/batch-build.ts";
import { BuildPool } from "../../../../host/sovereignty/records/build-pool.ts";
import { CsvCutter } from "../../../../host/sovereignty/records/csv-cut.ts";
import { layoutOf } from "../../../../host/sovereignty/records/layout.ts";
import { IDENTITY_MAPPING } from "../../../../host/sovereignty/records/mapping-file.ts";
import { utf8 } from "../../../../protocol/index.ts";
import {
  CUSTOMER_HEADER,
  bytesIn,
  customerCsv,
  newFixture,
  targetOf,
  type Fixture,
} from "../vault-fixture.ts";

const BAD = "c-x,a@x,secret-value,1,Porto,1";
const BROKEN = 'c-y,a@x"secret,30,1,Porto,1';

function ingest(fixture: Fixture, csv: string, onError: "abort" | "quarantine") {
  const target = targetOf(fixture, "customers");
  return fixture.vault.ingest({
    ...target,
    format: "csv",
    source: bytesIn(csv, 100),
    onError,
    batchRows: 5,
  });
}

test.for([
  { title: "a row at fault before it is named first", rows: [BAD, BROKEN], line: 4 },
  { title: "a row at fault after it is not looked at", rows: [BROKEN, BAD], line: 4 },
])("[DS-1] CSV that breaks off ends an ingest that aborts: $title", async ({ rows, line }) => {
  const fixture = await newFixture();
  const csv = `${customerCsv(2)}${rows.join("\n")}\n`;
  const failing = ingest(fixture, csv, "abort");
  await expect(failing).rejects.toMatchObject({ code: "SCHEMA_ROW_MALFORMED", details: { line } });
  const files = path.join(fixture.directory, "batches");
  expect(fs.readdirSync(files)).toEqual([]);
});

test("[DS-1] CSV that breaks off ends an ingest that leaves rows out, and nothing stays", async () => {
  const fixture = await newFixture();
  const csv = `${customerCsv(12)}${BAD}\n${BROKEN}\n`;
  const error: unknown = await ingest(fixture, csv, "quarantine").catch((cause: unknown) => cause);
  expect(error).toMatchObject({
    code: "SCHEMA_ROW_MALFORMED",
    details: { line: 15, column: 2, expected: "the end of a cell" },
  });
  expect(String(error)).not.toContain("secret");
  expect(fs.readdirSync(path.join(fixture.directory, "batches"))).toEqual([]);
  expect((await fixture.vault.records.runs()).open).toEqual([]);
});

async function newPlan() {
  const layout = layoutOf(targetOf(await newFixture(), "customers"));
  const columns = CUSTOMER_HEADER.split(",");
  const csv = {
    spelling: { separator: ",", skipsBlank: false },
    columns,
    mapping: IDENTITY_MAPPING,
  } as const;
  const subjectKey = createSecretKey(new Uint8Array(32));
  return { layout, names: columns, subjectKey, csv };
}

function jobOf(rows: string) {
  const cutter = new CsvCutter({ skipsBlank: false });
  cutter.push(utf8(rows));
  const content = cutter.cut({ rowsMax: Infinity, endMin: Infinity }) ?? cutter.rest();
  if (content === undefined) throw new Error("expected a stretch");
  return {
    content,
    salts: new Uint8Array(content.rows * 16),
    batchId: new Uint8Array(16),
    dataKey: new Uint8Array(32).fill(1),
    createdMs: 0,
  };
}

test("[DS-1] what a thread answers of a broken stretch is plain data, and its next batch is whole", async () => {
  const build = new BatchBuild(await newPlan());
  const built = (text: string) => {
    const { content, ...job } = jobOf(text);
    const result = build.build({ content, ...job });
    expect(content.bytes.every((byte) => byte === 0)).toBe(true);
    return result;
  };
  const rows = customerCsv(3).slice(CUSTOMER_HEADER.length + 1);
  const broken = built(`${rows}${BAD}\n${BROKEN}\n`);
  expect(structuredClone(broken)).toEqual(broken);
  expect(broken).toMatchObject({
    batch: null,
    faults: [{ line: 4, column: "customer.age" }],
    failure: { class: "malformed", code: "SCHEMA_ROW_MALFORMED", details: { line: 5, column: 2 } },
  });
  expect(built(rows)).toMatchObject({ batch: { recordCount: 3 }, faults: [], failure: null });
});

test("[DS-1] threads take over from the calling one, and build the same batch", async () => {
  const pool = new BuildPool(await newPlan());
  const [, ...rows] = customerCsv(10_000).split("\n");
  try {
    const few = rows.slice(0, 5).join("\n");
    const here = await pool.build(jobOf(few));
    expect(here).toMatchObject({ batch: { recordCount: 5 }, failure: null });
    expect((await pool.build(jobOf(rows.join("\n")))).batch?.recordCount).toBe(10_000);
    let last = here;
    for (let isHere = true; isHere;) {
      const job = jobOf(few);
      last = await pool.build(job);
      // What goes to another thread is there, and here no more.
      isHere = job.content.bytes.length > 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(last).toEqual(here);
  } finally {
    await pool.close();
  }
  await expect(pool.build(jobOf(`${rows[0]}\n`))).rejects.toMatchObject({
    class: "unavailable",
    code: "INTERNAL_UNEXPECTED",
  });
});
