import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { cacheKey, mutate, type Mutant, type Verdict, type VerdictCache } from "./mutants.ts";
import { runVitest, type RunReport, type TestResult } from "./results.ts";
import { copyTree } from "./tree.ts";

const WORKERS_MAX = 2;
const MUTANT_TIMEOUT_MS = 180_000;
const BASELINE_TIMEOUT_MS = 15 * 60_000;

/** What a run of mutants needs to know. */
export interface MutantRun {
  readonly root: string;
  readonly shared: string;
  readonly cache: VerdictCache;
  /** After this many milliseconds no further mutant is started; those stay unchecked. */
  readonly budgetMs: number;
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
 * First the unmutated copy has to pass the same tests; a mutant whose tests do not is a fault, no verdict.
 */
export async function runMutants(
  mutants: readonly Mutant[],
  run: MutantRun,
): Promise<MutantRunResult> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-mutants-"));
  const remove = (): void => fs.rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  try {
    const started = performance.now();
    const copies = Array.from({ length: WORKERS_MAX }, (_, index) => path.join(folder, `${index}`));
    // The second is copied from the first, so that both are the same moment of a tree being edited.
    copies.forEach((copy, index) => copyTree(copies[index - 1] ?? run.root, copy));
    const [first = folder] = copies;
    const baseline = await runBaseline(mutants, first, run);
    const faults: string[] = [];
    const queue = mutants.filter((mutant) => {
      const fault = baselineFault(mutant, baseline);
      if (fault !== undefined) faults.push(`${describeMutant(mutant)}: ${fault}`);
      return fault === undefined && run.cache.get(cacheKey(mutant, first)) === undefined;
    });
    const ordered = oneOfEachFirst(queue);
    const until = started + run.budgetMs;
    const shift = { total: ordered.length, ordered, until, run, faults };
    await Promise.all(copies.map((copy) => work(copy, shift)));
    return { faults, baseline };
  } finally {
    process.off("exit", remove);
    remove();
  }
}

async function runBaseline(
  mutants: readonly Mutant[],
  copy: string,
  run: MutantRun,
): Promise<RunReport> {
  if (mutants.length === 0) return { tests: [], brokenFiles: [] };
  run.progress(`unmutated tree: the tests of ${mutants.length} mutants`);
  const report = await runVitest({
    root: copy,
    shared: run.shared,
    files: [...new Set(mutants.map(({ test }) => test))],
    ids: [...new Set(mutants.map(({ id }) => id))],
    outputFile: `${copy}.baseline.json`,
    timeoutMs: BASELINE_TIMEOUT_MS,
    extra: [],
    verbose: false,
  });
  if (report === undefined) throw new Error("unmutated tree: expected a report, got none in time");
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

/** Every id once before any id twice, so that a short budget proves as many ids as it can. */
function oneOfEachFirst(mutants: readonly Mutant[]): Mutant[] {
  const seen = new Set<string>();
  const firsts = mutants.filter(({ id }) => !seen.has(id) && seen.add(id));
  return [...firsts, ...mutants.filter((mutant) => !firsts.includes(mutant))];
}

/** A verdict, or why there is none. */
export type Outcome = { readonly verdict: Verdict } | { readonly fault: string };

interface Shift {
  readonly total: number;
  readonly ordered: Mutant[];
  readonly until: number;
  readonly run: MutantRun;
  readonly faults: string[];
}

async function work(copy: string, { total, ordered, until, run, faults }: Shift): Promise<void> {
  for (;;) {
    if (performance.now() > until) return;
    const mutant = ordered.shift();
    if (mutant === undefined) return;
    const number = total - ordered.length;
    const started = performance.now();
    const outcome = await judge(mutant, copy, run);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const said = "verdict" in outcome ? outcome.verdict : outcome.fault;
    run.progress(`${number}/${total} ${describeMutant(mutant)}: ${said} ${seconds} s`);
    if ("verdict" in outcome) run.cache.set(cacheKey(mutant, copy), outcome.verdict);
    else faults.push(`${describeMutant(mutant)}: ${outcome.fault}`);
  }
}

async function judge(mutant: Mutant, copy: string, run: MutantRun): Promise<Outcome> {
  const file = path.join(copy, mutant.file);
  const source = fs.readFileSync(file, "utf8");
  fs.writeFileSync(file, mutate(mutant, source));
  try {
    const report = await runVitest({
      root: copy,
      shared: run.shared,
      files: [mutant.test],
      ids: [mutant.id],
      outputFile: `${copy}.mutant.json`,
      timeoutMs: MUTANT_TIMEOUT_MS,
      extra: ["--maxWorkers=1", "--bail=1"],
      verbose: false,
    });
    return verdictOf(mutant, report);
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
export function verdictOf(mutant: Mutant, report: RunReport | undefined): Outcome {
  if (report === undefined) {
    return { fault: `expected a report within ${MUTANT_TIMEOUT_MS} ms, got none` };
  }
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
