import { spawnSync } from "node:child_process";
import { createCipheriv, createSecretKey, hash } from "node:crypto";
import os from "node:os";
import path from "node:path";

import { z } from "zod";

import { CsvCutter } from "../host/sovereignty/records/csv-cut.ts";
import { CsvRows } from "../host/sovereignty/records/csv-rows.ts";
import { Pseudonyms } from "../host/sovereignty/records/pseudonyms.ts";
import { concat, serializeRecord, sha256 } from "../protocol/index.ts";
import { bestSeconds, type BenchOptions, type Figure } from "./figures.ts";
import { generatedCsv } from "./ingest-data.ts";

const LIMIT_ROWS = 50_000;
const MIB = 1024 * 1024;

const childResult = z.strictObject({
  records: z.int(),
  seconds: z.number(),
  cpuSeconds: z.number(),
  /** Before the first row: the engine, the code and an open Vault. */
  floorMiB: z.number(),
  peakMiB: z.number(),
});

/**
 * Ingest of CSV whose every row is another subject's, and the limits of its parts over the same rows on one thread:
 * AES-256-GCM of the bytes, one SHA-256 for each record, the CSV reader alone. Each ingest is a process of its own.
 *
 * The bound is what node:crypto leaves: a record takes a pseudonym, its commitment, its share of the batch's tree, of
 * sealing and of reading, and nothing else, on every processor at once. The index of subjects is not in it.
 */
export async function ingestFigures({ short }: BenchOptions): Promise<readonly Figure[]> {
  const { limits, tightest, bound } = await limitFigures();
  const sizes = short ? [50_000, 200_000] : [50_000, 500_000, 5_000_000];
  const runs = sizes.map((rows) => ({ rows, ...ingested(rows) }));
  const bytesPerRow = (await bytesOf(LIMIT_ROWS)).length / LIMIT_ROWS;
  return [
    ...limits,
    { name: BOUND, value: bound, unit: "k records/s" },
    { name: `${BOUND} against the tightest limit`, value: bound / tightest, unit: "x" },
    ...runs.flatMap(({ rows, seconds, cpuSeconds, floorMiB, peakMiB }) => [
      { name: `ingest of ${rows} rows`, value: rows / seconds / 1e3, unit: "k records/s" },
      { name: `ingest of ${rows} rows`, value: (rows * bytesPerRow) / seconds / 1e6, unit: "MB/s" },
      {
        name: `ingest of ${rows} rows against the tightest limit`,
        value: rows / seconds / 1e3 / tightest,
        unit: "x",
      },
      {
        name: `ingest of ${rows} rows against the bound`,
        value: rows / seconds / 1e3 / bound,
        unit: "x",
      },
      {
        name: `ingest of ${rows} rows, processor time of a row`,
        value: (cpuSeconds / rows) * 1e6,
        unit: "us",
      },
      { name: `ingest of ${rows} rows, memory before the first`, value: floorMiB, unit: "MiB" },
      { name: `ingest of ${rows} rows, peak memory`, value: peakMiB, unit: "MiB" },
      {
        name: `ingest of ${rows} rows, peak memory against ${runs[0]?.rows} rows`,
        value: peakMiB / (runs[0]?.peakMiB ?? Number.NaN),
        unit: "x",
      },
    ]),
  ];
}

const BOUND = `bound of node:crypto on ${os.availableParallelism()} processors`;

interface Limits {
  readonly limits: readonly Figure[];
  /** Thousands of records a second. */
  readonly tightest: number;
  readonly bound: number;
}

async function limitFigures(): Promise<Limits> {
  const bytes = await bytesOf(LIMIT_ROWS);
  const pseudonyms = new Pseudonyms(createSecretKey(new Uint8Array(32)));
  const sealing = await bestSeconds(() => {
    const cipher = createCipheriv("aes-256-gcm", new Uint8Array(32), new Uint8Array(12));
    for (let at = 0; at < bytes.length; at += MIB) cipher.update(bytes.subarray(at, at + MIB));
    cipher.final();
  });
  const hashing = await hashSeconds(exampleRecord());
  // Of each 64 records a leaf over their commitments, and a node.
  const entry = await hashSeconds(new Uint8Array(1 + 64 * 32));
  const tree = (entry + (await hashSeconds(new Uint8Array(65)))) / 64;
  const naming = await bestSeconds(() => {
    for (let row = 0; row < LIMIT_ROWS; row += 1) pseudonyms.takeAscii(bytes, row, row + 10);
  });
  const parsing = await bestSeconds(() => {
    const cutter = new CsvCutter({ skipsBlank: false });
    const reader = new CsvRows({ separator: ",", skipsBlank: false });
    for (let at = 0; at < bytes.length; at += MIB) {
      cutter.push(bytes.subarray(at, at + MIB));
      const stretch = cutter.whole();
      if (stretch === undefined) continue;
      reader.open(stretch);
      while (reader.next());
    }
  });
  const perSecond = (seconds: number): number => LIMIT_ROWS / seconds / 1e3;
  const whole = naming + hashing + tree + sealing + parsing;
  return {
    limits: [
      { name: "AES-256-GCM of the bytes alone", value: perSecond(sealing), unit: "k records/s" },
      { name: "SHA-256 of each record alone", value: perSecond(hashing), unit: "k records/s" },
      { name: "reading the CSV alone", value: perSecond(parsing), unit: "k records/s" },
      { name: "pseudonym of each record alone", value: perSecond(naming), unit: "k records/s" },
    ],
    tightest: perSecond(Math.max(sealing, hashing, parsing)),
    bound: perSecond(whole) * os.availableParallelism(),
  };
}

/** One hash for each row. */
async function hashSeconds(bytes: Uint8Array): Promise<number> {
  return await bestSeconds(() => {
    for (let row = 0; row < LIMIT_ROWS; row += 1) hash("sha256", bytes, "binary");
  });
}

function exampleRecord(): Uint8Array {
  return serializeRecord({
    schema: "customers@1",
    subject_id: sha256(),
    attributes: {
      "customer.id": "c-12345",
      "customer.email": "p12345@example.org",
      "customer.age": 45,
      "customer.balance": 34_525,
      "customer.city": "Porto",
      "customer.subscribed": 1,
    },
    salt: new Uint8Array(16),
  });
}

async function bytesOf(rows: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of generatedCsv(rows)) chunks.push(chunk);
  return concat(...chunks);
}

function ingested(rows: number): z.infer<typeof childResult> {
  const child = path.join(import.meta.dirname, "ingest-child.ts");
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["--no-warnings", child, String(rows)],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`ingest of ${rows} rows failed: ${stderr}`);
  return childResult.parse(JSON.parse(stdout));
}
