import * as fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { readCatalogue, type Requirement } from "./catalogue.ts";
import { isAtDoor } from "./doors.ts";
import { cacheKey, faultOf, readMutants, VerdictCache, type Mutant } from "./mutants.ts";
import { parseReport, runVitest, type RunReport } from "./results.ts";
import { describeMutant, runMutants, type MutantRunResult } from "./run-mutants.ts";
import { countsOf, renderTable, rowsOf, type Row } from "./table.ts";
import { treeHash } from "./tree.ts";

const HELP = `npm run conformance -- [options] [--mutants [id...]]

Prints the requirement ids against the tests that name them. An id is proven when a test named
[id] ran and passed, and a registered mutant (test/conformance/mutants/*.json) makes it fail. It is
at a door when one of those tests goes through a running listener, the command line or the client.

  --mutants          run the mutants that have no verdict yet, of all ids or of those given
  --results FILE     use this vitest JSON report instead of running the tests
  --budget SECONDS   start no further mutant after this time (default: no limit)
  --json             print JSON
  --help             print this

Exit codes: 0 ok, 1 a test failed, a mutant survived or is at fault, an id is unknown; 2 usage.
`;

const ROOT = path.resolve(import.meta.dirname, "../..");
const CACHE = path.join(ROOT, ".conformance");
const SHARED = path.resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared");
const TESTS_TIMEOUT_MS = 20 * 60_000;

interface Options {
  readonly mutants: boolean;
  readonly ids: readonly string[];
  readonly results: string | undefined;
  readonly budgetMs: number;
  readonly json: boolean;
}

const NOTHING: RunReport = { tests: [], brokenFiles: [], fileMs: new Map() };

class UsageError extends Error {}

function readOptions(args: readonly string[], known: ReadonlySet<string>): Options | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true) return undefined;
  const unknown = positionals.find((id) => !known.has(id));
  if (unknown !== undefined)
    throw new UsageError(`id: expected one of the catalogue, got ${unknown}`);
  const mutants = values.mutants === true;
  if (positionals.length > 0 && !mutants)
    throw new UsageError("ids: expected after --mutants only");
  const budget = values.budget === undefined ? Infinity : Number(values.budget);
  if (Number.isNaN(budget) || budget < 0) {
    throw new UsageError(`--budget: expected seconds, got ${values.budget}`);
  }
  if (values.results !== undefined && !fs.existsSync(values.results)) {
    throw new UsageError(`--results: expected a file, got ${values.results}`);
  }
  return {
    mutants,
    ids: positionals,
    results: values.results,
    budgetMs: budget * 1000,
    json: values.json === true,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        mutants: { type: "boolean" },
        results: { type: "string" },
        budget: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "arguments", { cause: error });
  }
}

/** The report given, the one of this very tree, or one made now. */
async function obtainReport({ results, mutants, ids }: Options): Promise<RunReport | undefined> {
  if (results !== undefined) return parseReport(results, ROOT);
  const outputFile = path.join(CACHE, "vitest.json");
  const hashFile = path.join(CACHE, "vitest.tree");
  const hash = treeHash(ROOT);
  if (fs.existsSync(outputFile) && readOrEmpty(hashFile) === hash)
    return parseReport(outputFile, ROOT);
  if (mutants && ids.length > 0) return undefined;
  fs.rmSync(hashFile, { force: true });
  console.error("conformance: running the tests");
  const report = await runVitest({
    root: ROOT,
    shared: SHARED,
    files: [],
    ids: [],
    outputFile,
    timeoutMs: TESTS_TIMEOUT_MS,
    extra: [],
    verbose: true,
  });
  if (report === undefined) throw new Error("tests: expected a report, got none in time");
  fs.writeFileSync(hashFile, hash);
  return report;
}

function readOrEmpty(file: string): string {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
}

function faultsOfTests({ tests, brokenFiles }: RunReport, known: ReadonlySet<string>): string[] {
  return [
    ...brokenFiles.map((file) => `${file}: failed outside its tests`),
    ...tests
      .filter(({ status }) => status === "failed")
      .map(({ file, name }) => `${file}: failed: ${name}`),
    ...tests.flatMap(({ file, name, ids }) =>
      ids
        .filter((id) => !known.has(id))
        .map((id) => `${file}: expected ids of the catalogue, got [${id}] in: ${name}`),
    ),
  ];
}

function print(rows: readonly Row[], faults: readonly string[], json: boolean): void {
  if (json) {
    const out = { counts: countsOf(rows), requirements: rows, faults };
    process.stdout.write(`${JSON.stringify(out, undefined, 2)}\n`);
    return;
  }
  process.stdout.write(renderTable(rows));
  for (const fault of faults) process.stdout.write(`fault: ${fault}\n`);
}

interface Selection {
  readonly usable: readonly Mutant[];
  readonly faults: readonly string[];
}

function select(ids: readonly string[], known: ReadonlySet<string>): Selection {
  const all = readMutants(path.join(import.meta.dirname, "mutants"));
  const wanted = all.filter(({ id }) => ids.length === 0 || ids.includes(id));
  const faults: string[] = [];
  const usable = wanted.filter((mutant) => {
    const fault = faultOf(mutant, ROOT, known);
    if (fault !== undefined) faults.push(`${describeMutant(mutant)}: ${fault}`);
    return fault === undefined;
  });
  return { usable, faults };
}

async function conformance(catalogue: readonly Requirement[], options: Options): Promise<number> {
  const known = new Set(catalogue.map(({ id }) => id));
  const cache = new VerdictCache(path.join(CACHE, "mutants"));
  const { usable, faults } = select(options.ids, known);
  const whole = await obtainReport(options);
  let run: MutantRunResult = { faults: [], baseline: NOTHING };
  if (options.mutants) {
    // With a report at hand, the unmutated tree runs only the tests of mutants that are still open.
    const open = usable.filter((mutant) => cache.get(cacheKey(mutant, ROOT)) === undefined);
    const progress = (line: string): void => console.error(`conformance: ${line}`);
    const { budgetMs } = options;
    run = await runMutants(whole === undefined ? usable : open, {
      root: ROOT,
      shared: SHARED,
      cache,
      budgetMs,
      fileMs: whole?.fileMs ?? new Map(),
      progress,
    });
  }
  const report = whole ?? run.baseline;
  const judged = usable.map((mutant) => ({ mutant, verdict: cache.get(cacheKey(mutant, ROOT)) }));
  const survivors = judged
    .filter(({ verdict }) => verdict === "survived")
    .map(({ mutant }) => `${describeMutant(mutant)}: survived`);
  const all = [...faultsOfTests(report, known), ...faults, ...run.faults, ...survivors];
  const shown = catalogue.filter(({ id }) => options.ids.length === 0 || options.ids.includes(id));
  print(
    rowsOf(shown, report, judged, (file) => isAtDoor(file, ROOT)),
    all,
    options.json,
  );
  return all.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const catalogue = readCatalogue(path.join(import.meta.dirname, "requirements.tsv"));
  try {
    const known = new Set(catalogue.map(({ id }) => id));
    const options = readOptions(process.argv.slice(2), known);
    if (options !== undefined) return await conformance(catalogue, options);
    process.stdout.write(HELP);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`conformance: ${error.message}`);
    return 2;
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.exitCode = await main();
