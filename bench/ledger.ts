import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { z } from "zod";

import { quantile, type BenchOptions, type Figure } from "./figures.ts";
import { postgresTimes } from "./ledger-postgres.ts";
import {
  SHORT,
  WHOLE,
  commitDurably,
  concurrently,
  contiguousSet,
  fdatasyncTimes,
  openLedger,
  randomSet,
  replenishDurably,
  reserveDurably,
  timed,
  type LedgerSize,
  type OpenLedger,
} from "./ledger-work.ts";
import type { SubjectSet } from "../host/sovereignty/ledger/subject-set.ts";

const CHILD = path.join(import.meta.dirname, "ledger-child.ts");
const CONCURRENT = 4;
const FDATASYNCS = 200;
const EPOCHS = 50;
/** Acknowledged reservations after which the filling process is killed. */
const KILLED_AFTER = 20;

const recovery = z.strictObject({ seconds: z.number(), bytes: z.number(), open: z.number() });

/**
 * The privacy budget ledger: durable reservations over a tenth of all subjects, memory, and recovery after kill -9; and
 * the same reservations in PostgreSQL. SYMPHONY_BENCH_DIR names the folder, and so the disk; the system's temporary one
 * otherwise.
 */
export async function ledgerFigures({ short }: BenchOptions): Promise<readonly Figure[]> {
  const size = short ? SHORT : WHOLE;
  const parent = process.env["SYMPHONY_BENCH_DIR"] ?? os.tmpdir();
  const folder = fs.mkdtempSync(path.join(parent, "symphony-ledger-"));
  fs.chmodSync(folder, 0o755);
  try {
    const directory = path.join(folder, "vault");
    const recovered = await killAndRecover(directory, short);
    const measured = await measure(directory, size);
    const postgres = await postgresTimes(path.join(folder, "postgres"), size);
    return [
      ...measured.flatMap(({ name, times }) => quantiles(name, times)),
      {
        name: "memory of balances and consent, per subject and scope",
        value: recovered.bytes / size.subjects,
        unit: "B",
      },
      { name: "recovery after kill -9", value: recovered.seconds, unit: "s" },
      ...(postgres === null ? [] : comparison(measured, postgres)),
    ];
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

type Series = { readonly name: string; readonly times: readonly number[] };

/** Fills a ledger in a child, kills it between acknowledgements, and opens what is left in another. */
async function killAndRecover(directory: string, short: boolean) {
  const args = [CHILD, "fill", directory, short ? "short" : "whole"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  let acknowledged = 0;
  for await (const text of child.stdout) {
    acknowledged = Number(String(text).trim().split("\n").at(-1));
    if (acknowledged >= KILLED_AFTER) child.kill("SIGKILL");
  }
  await exited;
  const opened = spawnSync(process.execPath, [CHILD, "recover", directory], { encoding: "utf8" });
  if (opened.status !== 0) throw new Error(`bench: recovery failed: ${opened.stderr}`);
  const found = recovery.parse(JSON.parse(opened.stdout));
  if (acknowledged >= KILLED_AFTER && found.open >= acknowledged) return found;
  throw new Error(`bench: ${acknowledged} reservations were acknowledged, found ${found.open}`);
}

async function measure(directory: string, size: LedgerSize): Promise<Series[]> {
  const ledger = await openLedger(directory);
  try {
    const disk = fdatasyncTimes(directory, FDATASYNCS);
    const once = await reserveTimes(ledger, { size, setOf: (run) => randomSet(size, 2_000 + run) });
    const random = randomSet(size, 1);
    const again = await reserveTimes(ledger, { size, setOf: () => random });
    const contiguous = await reserveTimes(ledger, {
      size,
      setOf: (run) => contiguousSet(size, run),
    });
    const workers = Array.from({ length: CONCURRENT }, (_, index) => index);
    const concurrent = await concurrently(workers, size.runs, (worker, run) =>
      reserveDurably(ledger, `concurrent-${worker}-${run}`, random),
    );
    const boundaries = await timed(EPOCHS, () => replenishDurably(ledger));
    return [
      {
        name: "fdatasync of this disk, 4 KiB appended",
        times: [...disk, ...fdatasyncTimes(directory, FDATASYNCS)],
      },
      { name: "durable reserve, random members, set seen before", times: again },
      { name: "durable reserve, random members, new set each time", times: once },
      { name: "durable reserve, contiguous members", times: contiguous },
      { name: `durable reserve, ${CONCURRENT} at once, random members`, times: concurrent },
      { name: "durable replenishment of everybody at an epoch's boundary", times: boundaries },
    ];
  } finally {
    await ledger.store.close();
  }
}

let reservations = 0;

/** Reserves and, outside of what is timed, commits. */
async function reserveTimes(
  ledger: OpenLedger,
  { size, setOf }: { readonly size: LedgerSize; readonly setOf: (run: number) => SubjectSet },
): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < size.runs; run += 1) {
    const set = setOf(run);
    reservations += 1;
    const name = `measured-${reservations}`;
    times.push(...(await timed(1, () => reserveDurably(ledger, name, set))));
    await commitDurably(ledger, name);
  }
  return times;
}

function quantiles(name: string, times: readonly number[]): Figure[] {
  return [0.5, 0.99].map((at) => ({
    name: `${name}, p${at * 100}`,
    value: quantile(times, at) * 1000,
    unit: "ms",
  }));
}

function comparison(
  measured: readonly Series[],
  postgres: NonNullable<Awaited<ReturnType<typeof postgresTimes>>>,
): Figure[] {
  const median = (name: string): number =>
    quantile(measured.find((each) => each.name.includes(name))?.times ?? [], 0.5);
  const against = [
    { name: "random members", theirs: postgres.random, ours: median("new set") },
    { name: "contiguous members", theirs: postgres.contiguous, ours: median("contiguous") },
    { name: "4 at once", theirs: postgres.concurrent, ours: median("at once") },
    { name: "random members, unlogged", theirs: postgres.unlogged, ours: median("new set") },
  ];
  return against.flatMap(({ name, theirs, ours }) => {
    const seconds = quantile(theirs, 0.5);
    return [
      { name: `PostgreSQL, ${name}, p50`, value: seconds * 1000, unit: "ms" },
      { name: `PostgreSQL against ours, ${name}, time`, value: seconds / ours, unit: "x" },
    ];
  });
}
