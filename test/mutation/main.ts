import { createHash } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import { join, matchesGlob } from "node:path";
import { parseArgs } from "node:util";

import { copyTree } from "../conformance/tree.ts";
import { isExplained, loadExplained } from "./explained.ts";
import { Judge } from "./judges.ts";
import { mutantsOf, mutate, type Mutant } from "./mutants.ts";
import { failingTests, isKilledByTests } from "./second-chance.ts";

/**
 * `npm run mutation -- [--files GLOB] [--budget SECONDS] [--json] [--vectors-only]`
 *
 * Makes every small defect of `mutants.ts` in the verifier, one at a time, and asks the vectors; those that no vector
 * notices, the unit tests. Prints the score and each survivor. Ends with 1 when a survivor is not explained.
 */

const ROOT = join(import.meta.dirname, "../..");
const SCOPE = ["attestation/**/*.ts", "enclave/adapters/{ber,cms}.ts"];
/** Data, compared with published fingerprints by tests of their own. */
const OUT_OF_SCOPE = "attestation/anchors/**";
/** No vector goes through image files: they are compared with what was built, not judged as evidence. */
const UNIT_TESTS_ALONE = /\/(eif|eif-signature|crc32)\.ts$/;
const explained = loadExplained();
const JUDGE_TIMEOUT_MS = 20_000;

type Verdict = "vectors" | "tests" | "hangs" | "invalid" | "equivalent" | "survived";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "**" },
    budget: { type: "string", default: "3600" },
    json: { type: "boolean", default: false },
    "vectors-only": { type: "boolean", default: false },
  },
});
const until = performance.now() + Number(values.budget) * 1000;
const folder = fs.mkdtempSync(join(os.tmpdir(), "symphony-mutation-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
process.on("SIGINT", () => process.exit(130));
copyTree(ROOT, folder);
await run();

async function run(): Promise<void> {
  const mutants = sourceFiles().flatMap((file) => mutantsOf(file, read(file)));
  const verdicts = new Map<Mutant, Verdict>();
  const judge = new Judge(folder, JUDGE_TIMEOUT_MS);
  const reply = await judge.judge({ file: null, source: "", numbers: null });
  if (!("differs" in reply) || reply.differs !== null) {
    throw new Error(`source: expected the vectors to pass, got ${JSON.stringify(reply)}`);
  }
  const failing = values["vectors-only"] ? [] : await failingTests(folder);
  if (failing.length > 0) throw new Error(`tests: expected them to pass, got ${failing.join(" ")}`);
  for (const mutant of mutants.toSorted(inMixedOrder)) {
    if (performance.now() > until) break;
    verdicts.set(mutant, await verdictOf(judge, mutant));
    note(`${verdicts.size} of ${mutants.length} judged`);
  }
  judge.close();
  report(mutants.length, verdicts);
}

/** The vectors are asked first, then the reasons given, then the unit tests. */
async function verdictOf(judge: Judge, mutant: Mutant): Promise<Verdict> {
  const verdict = UNIT_TESTS_ALONE.test(mutant.file)
    ? "survived"
    : await verdictOfVectors(judge, mutant);
  if (verdict !== "survived") return verdict;
  if (isExplained(explained, mutant)) return "equivalent";
  return !values["vectors-only"] && (await isKilled(mutant)) ? "tests" : "survived";
}

function sourceFiles(): readonly string[] {
  return SCOPE.flatMap((glob) => fs.globSync(glob, { cwd: folder }))
    .filter((file) => matchesGlob(file, values.files) && !matchesGlob(file, OUT_OF_SCOPE))
    .sort();
}

function read(file: string): string {
  return fs.readFileSync(join(folder, file), "utf8");
}

/** An order in which any beginning is a fair sample, the same on every run. */
function inMixedOrder(left: Mutant, right: Mutant): number {
  return digestOf(left).localeCompare(digestOf(right));
}

function digestOf({ file, start, from, to }: Mutant): string {
  return createHash("sha256")
    .update(JSON.stringify([file, start, from, to]))
    .digest("hex");
}

async function verdictOfVectors(judge: Judge, mutant: Mutant): Promise<Verdict> {
  const source = mutate(read(mutant.file), mutant);
  const reply = await judge.judge({ file: mutant.file, source, numbers: null });
  if ("hangs" in reply) return "hangs";
  if ("broken" in reply) return reply.broken.startsWith("SyntaxError") ? "invalid" : "vectors";
  return "differs" in reply && reply.differs !== null ? "vectors" : "survived";
}

/** Whether the unit tests notice `mutant` in the tree. */
async function isKilled(mutant: Mutant): Promise<boolean> {
  const source = read(mutant.file);
  fs.writeFileSync(join(folder, mutant.file), mutate(source, mutant));
  try {
    return await isKilledByTests(folder, mutant.file);
  } finally {
    fs.writeFileSync(join(folder, mutant.file), source);
  }
}

function note(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line} `);
}

function report(made: number, verdicts: ReadonlyMap<Mutant, Verdict>): void {
  const count = (...kinds: readonly Verdict[]): number =>
    [...verdicts.values()].filter((verdict) => kinds.includes(verdict)).length;
  const survivors = [...verdicts].flatMap(([mutant, verdict]) =>
    verdict === "survived" ? [mutant] : [],
  );
  const killed = count("vectors", "tests", "hangs");
  const valid = verdicts.size - count("invalid");
  const percent = (of: number): string => ((100 * killed) / of).toFixed(1);
  const figures = {
    made,
    judged: verdicts.size,
    invalid: count("invalid"),
    killedByVectors: count("vectors"),
    killedByTests: count("tests"),
    killedByHanging: count("hangs"),
    equivalent: count("equivalent"),
    survived: survivors.length,
    scorePercent: percent(valid),
    scoreWithoutEquivalentPercent: percent(valid - count("equivalent")),
  };
  process.exitCode = survivors.length > 0 ? 1 : 0;
  if (values.json) return console.log(JSON.stringify({ ...figures, survivors }, null, 2));
  for (const [name, value] of Object.entries(figures)) console.log(`${name}: ${value}`);
  for (const { file, line, from, to, text } of survivors.toSorted(inFileOrder)) {
    const what = `${from.replaceAll(/\s+/g, " ").slice(0, 60)} -> ${to || "nothing"}`;
    console.log(`${file}:${line}: ${what}\n    ${text}`);
  }
}

function inFileOrder(left: Mutant, right: Mutant): number {
  return left.file.localeCompare(right.file) || left.start - right.start;
}
