import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { cacheKey, mutate, type Mutant, type Verdict, type VerdictCache } from "./mutants.ts";
import { runVitest, type RunReport, type TestResult } from "./results.ts";
import { copyTree } from "./tree.ts";

const WORKERS_MAX = 2;
const MUTANT_TIMEOUT_MS = 180_000;
const BASELINE_TIMEOUT_MS = 10 * 60_000;
/** How far past the budget a run that has begun may go. */
const GRACE_MS = 60_000;

/** What a run of mutants needs to know. */
export interface MutantRun {
  readonly root: string;
  readonly shared: string;
  readonly cache: VerdictCache;
  /** After this many milliseconds no further mutant is started; those stay unchecked. */
  readonly budgetMs: number;
  /** How long each test file took, where it is known: cheap ones go first. */
  readonly fileMs: ReadonlyMap<string, number>;
  readonly progress: (line: string) => void;
}

/** What came of a run: the faults of single mutants, and the report of the unmutated tree. */
export interface MutantRunResult {
  readonly faults: readonly string[];
  readonly baseline: RunReport;
}

/** How a mutant is called in messages. */
export function describeMutant({ id, file, search }: Mutant): string {
  return `${id} ${file} ${JSON.stringify(search.trim().slice(0, 48))}`;
}

/**
 * Runs `mutants` in copies of the tree, never in the tree itself; verdicts go to the cache.
 *
 * Before the first mutant of a test file, the unmutated copy has to pass the same tests; a mutant whose tests
 * do not is a fault and gets no verdict.
 */
export async function runMutants(
  mutants: readonly Mutant[],
  run: MutantRun,
): Promise<MutantRunResult> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-mutants-"));
  const remove = (): void => fs.rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  try {
    const copies = Array.from({ length: WORKERS_MAX }, (_, index) => path.join(folder, `${index}`));
    // The second is copied from the first, so that both are the same moment of a tree being edited.
    copies.forEach((copy, index) => copyTree(copies[index - 1] ?? run.root, copy));
    const shift: Shift = {
      run,
      mutants,
      until: performance.now() + run.budgetMs,
      queue: inOrder(mutants, run.fileMs),
      baselines: new Map(),
      faults: [],
    };
    await Promise.all(copies.map((copy) => work(copy, shift)));
    const reports = await Promise.all(shift.baselines.values());
    const tests = reports.flatMap((report) => report?.tests ?? []);
    const brokenFiles = reports.flatMap((report) => report?.brokenFiles ?? []);
    return { faults: shift.faults, baseline: { tests, brokenFiles, fileMs: new Map() } };
  } finally {
    process.off("exit", remove);
    remove();
  }
}

/** A verdict, or why there is none. */
export type Outcome = { readonly verdict: Verdict } | { readonly fault: string };

/** What the workers share. */
interface Shift {
  readonly run: MutantRun;
  readonly mutants: readonly Mutant[];
  readonly until: number;
  readonly queue: Mutant[];
  readonly baselines: Map<string, Promise<RunReport | undefined>>;
  readonly faults: string[];
}

/** Every id once before any id twice, and cheap files first: a short budget proves as many ids as it can. */
function inOrder(mutants: readonly Mutant[], fileMs: ReadonlyMap<string, number>): Mutant[] {
  const cost = ({ test }: Mutant): number => fileMs.get(test) ?? 0;
  const byCost = mutants.toSorted((left, right) => cost(left) - cost(right));
  const seen = new Set<string>();
  const firsts = byCost.filter(({ id }) => !seen.has(id) && seen.add(id));
  return [...firsts, ...byCost.filter((mutant) => !firsts.includes(mutant))];
}

async function work(copy: string, shift: Shift): Promise<void> {
  const { run, queue, mutants, faults } = shift;
  while (performance.now() < shift.until) {
    const mutant = queue.shift();
    if (mutant === undefined) return;
    const number = mutants.length - queue.length;
    const started = performance.now();
    const outcome = await judge(mutant, copy, shift);
    if (outcome === undefined) return;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const said = "verdict" in outcome ? outcome.verdict : outcome.fault;
    run.progress(`${number}/${mutants.length} ${describeMutant(mutant)}: ${said} ${seconds} s`);
    if ("verdict" in outcome) run.cache.set(cacheKey(mutant, copy), outcome.verdict);
    else faults.push(`${describeMutant(mutant)}: ${outcome.fault}`);
  }
}

/** The verdict on one mutant, from the cache if it is there; `undefined` when the budget ran out meanwhile. */
async function judge(mutant: Mutant, copy: string, shift: Shift): Promise<Outcome | undefined> {
  const baseline = await baselineOf(mutant.test, copy, shift);
  if (baseline === undefined) {
    return outOfTime(shift, `${mutant.test}: expected to end in time unmutated, got no end`);
  }
  const fault = baselineFault(mutant, baseline);
  if (fault !== undefined) return { fault };
  const known = shift.run.cache.get(cacheKey(mutant, copy));
  if (known !== undefined) return { verdict: known };
  const report = await runMutated(mutant, copy, shift);
  if (report !== undefined) return verdictOf(mutant, report);
  return outOfTime(shift, "expected a report in time, got none");
}

function outOfTime({ until }: Shift, fault: string): Outcome | undefined {
  return performance.now() > until ? undefined : { fault };
}

function timeLeft({ until }: Shift, limitMs: number): number {
  return Math.min(limitMs, until - performance.now() + GRACE_MS);
}

function baselineOf(test: string, copy: string, shift: Shift): Promise<RunReport | undefined> {
  const running = shift.baselines.get(test);
  if (running !== undefined) return running;
  const ids = shift.mutants.filter((mutant) => mutant.test === test).map(({ id }) => id);
  const report = runVitest({
    root: copy,
    shared: shift.run.shared,
    files: [test],
    ids: [...new Set(ids)],
    outputFile: `${copy}.baseline.json`,
    timeoutMs: timeLeft(shift, BASELINE_TIMEOUT_MS),
    extra: ["--maxWorkers=1"],
    verbose: false,
  });
  shift.baselines.set(test, report);
  return report;
}

function baselineFault(mutant: Mutant, { tests, brokenFiles }: RunReport): string | undefined {
  if (brokenFiles.includes(mutant.test)) return `${mutant.test} cannot be loaded, unmutated`;
  const named = tests.filter(({ file, ids }) => file === mutant.test && ids.includes(mutant.id));
  const failed = named.find(({ status }) => status === "failed");
  if (failed !== undefined) return `fails unmutated: ${failed.name}`;
  if (named.some(({ status }) => status === "passed")) return undefined;
  return `${mutant.test}: expected a test named [${mutant.id}] that passes unmutated, got none`;
}

async function runMutated(
  mutant: Mutant,
  copy: string,
  shift: Shift,
): Promise<RunReport | undefined> {
  const file = path.join(copy, mutant.file);
  const source = fs.readFileSync(file, "utf8");
  fs.writeFileSync(file, mutate(mutant, source));
  try {
    return await runVitest({
      root: copy,
      shared: shift.run.shared,
      files: [mutant.test],
      ids: [mutant.id],
      outputFile: `${copy}.mutant.json`,
      timeoutMs: timeLeft(shift, MUTANT_TIMEOUT_MS),
      extra: ["--maxWorkers=1", "--bail=1"],
      verbose: false,
    });
  } finally {
    fs.writeFileSync(file, source);
  }
}

/**
 * What a report on the mutated tree says about `mutant`.
 *
 * Killed only by a failing test that names the id. A file that no longer loads, a failed hook, a time-out
 * and a run without tests are faults of the mutant: they would kill anything.
 */
export function verdictOf(mutant: Mutant, report: RunReport): Outcome {
  const named = report.tests.filter(
    ({ file, ids }) => file === mutant.test && ids.includes(mutant.id),
  );
  if (named.some(isAssertionFailure)) return { verdict: "killed" };
  if (report.brokenFiles.length > 0) {
    return { fault: "breaks loading or a hook, which proves nothing" };
  }
  if (named.some(({ status }) => status === "failed")) {
    return { fault: "test timed out, which proves nothing" };
  }
  if (named.some(({ status }) => status === "passed")) return { verdict: "survived" };
  return { fault: `expected a test named [${mutant.id}] to run, got none` };
}

function isAssertionFailure({ status, messages }: TestResult): boolean {
  return status === "failed" && !messages.some((text) => /(Test|Hook) timed out in /.test(text));
}
