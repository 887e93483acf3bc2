import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { idsInName, readCatalogue } from "./catalogue.ts";
import { isAtDoor } from "./doors.ts";
import { faultOf, readMutants } from "./mutants.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const SHARED = path.resolve(ROOT, process.env["SYMPHONY_SHARED"] ?? "../shared");
const CATALOGUE = path.join(import.meta.dirname, "requirements.tsv");
const ORIGINAL = path.join(SHARED, "spec/requirements.tsv");

const SOURCE = `export const double = (x: number): number => x * 2;
export const isSmall = (x: number): boolean => x < 10;
export const idle = 1;
`;

const TEST = `import { expect, test } from "vitest";
import { double, isSmall } from "../source.ts";
test("[PL-1] doubles", () => { expect(double(3)).toBe(6); });
test("[PL-2] knows small numbers", () => { expect(isSmall(1)).toBe(true); });
test("[PL-3] is named by no mutant", () => { expect(1).toBe(1); });
`;

const DOOR_TEST = `import { expect, test } from "vitest";
test("[PL-2] by the command line", () => { expect(1).toBe(1); });
`;

const ALIEN_TEST = `import { expect, test } from "vitest";
test("[ZZ-9] names an id of nobody", () => { expect(1).toBe(1); });
`;

const Report = z.object({
  counts: z.object({ named: z.number(), passed: z.number(), proven: z.number() }),
  requirements: z.array(
    z.object({
      ...{ id: z.string(), proven: z.boolean(), atDoor: z.boolean(), unchecked: z.number() },
    }),
  ),
  faults: z.array(z.string()),
});

const mutant = (id: string, search: string, replace: string, file = "source.ts") => ({
  id,
  file,
  search,
  replace,
  test: "test/a.test.ts",
});
const KILLED = mutant("PL-1", "x * 2", "x * 3");

let folder = "";

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-conformance-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

interface Project {
  readonly mutants?: readonly unknown[];
  readonly files?: Readonly<Record<string, string>>;
}

/** A small project of its own, with the runner copied into it. */
function project({ mutants = [], files = {} }: Project): string {
  const root = fs.mkdtempSync(path.join(folder, "project-"));
  const runner = path.join(root, "test/conformance");
  fs.mkdirSync(path.join(runner, "mutants"), { recursive: true });
  for (const name of fs.readdirSync(import.meta.dirname)) {
    if (name.endsWith(".test.ts") || name === "mutants") continue;
    fs.copyFileSync(path.join(import.meta.dirname, name), path.join(runner, name));
  }
  const all = {
    "package.json": JSON.stringify({ type: "module" }),
    "vitest.config.ts": `export default { test: { include: ["test/**/*.test.ts"] } };\n`,
    "source.ts": SOURCE,
    "test/a.test.ts": TEST,
    "test/conformance/mutants/a.json": JSON.stringify(mutants),
    ...files,
  };
  for (const [name, text] of Object.entries(all)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  }
  fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(root, "node_modules"));
  return root;
}

function run(root: string, ...args: string[]) {
  const main = path.join(root, "test/conformance/main.ts");
  const { VITEST: _, ...env } = process.env;
  const child = spawnSync(process.execPath, [main, ...args], { cwd: root, env, encoding: "utf8" });
  return { code: child.status, out: child.stdout, err: child.stderr };
}

function runJson(root: string, ...args: string[]) {
  const { code, out, err } = run(root, "--json", ...args);
  expect(out, err).not.toBe("");
  const report = Report.parse(JSON.parse(out));
  const proven = report.requirements.filter((row) => row.proven).map(({ id }) => id);
  return { code, proven, ...report };
}

test("proves an id by a passed test and a killed mutant, and remembers it", () => {
  const files = { "test/host/cli/b.test.ts": DOOR_TEST };
  const root = project({ mutants: [KILLED], files });
  const before = runJson(root);
  expect(before).toMatchObject({ code: 0, proven: [], faults: [] });
  expect(before.counts).toMatchObject({ named: 3, passed: 3, proven: 0 });
  expect(before.requirements.find(({ id }) => id === "PL-1")?.unchecked).toBe(1);
  expect(before.requirements.flatMap(({ id, atDoor }) => (atDoor ? [id] : []))).toEqual(["PL-2"]);
  expect(runJson(root, "--mutants")).toMatchObject({ code: 0, proven: ["PL-1"], faults: [] });
  expect(runJson(root)).toMatchObject({ code: 0, proven: ["PL-1"] });
  expect(fs.readFileSync(path.join(root, "source.ts"), "utf8")).toBe(SOURCE);
  const edited = SOURCE.replace("idle = 1", "idle = 2");
  fs.writeFileSync(path.join(root, "source.ts"), edited);
  expect(runJson(root)).toMatchObject({ code: 0, proven: [] });
});

test("judges only the ids given, without the whole test run", () => {
  const root = project({
    mutants: [KILLED, mutant("PL-2", "x < 10", "x < 0")],
    files: { "test/broken.test.ts": "throw new Error('not to be run');\n" },
  });
  const report = runJson(root, "--mutants", "PL-2");
  expect(report).toMatchObject({ code: 0, proven: ["PL-2"], faults: [] });
  expect(report.requirements.map(({ id }) => id)).toEqual(["PL-2"]);
});

test("reports every mutant that proves nothing, each with its reason", () => {
  const root = project({
    mutants: [
      mutant("PL-2", "x < 10", "x < 9"),
      mutant("PL-1", "x * 2", "x * ("),
      mutant("PL-1", "number", "string"),
      mutant("PL-1", "absent", "string"),
      mutant("PL-3", "idle = 1", "idle = 1"),
      mutant("PL-4", "x * 2", "x * 4"),
      mutant("ZZ-9", "x * 2", "x * 4"),
      mutant("PL-1", "x", "y", "missing.ts"),
    ],
  });
  const { code, proven, faults } = runJson(root, "--mutants");
  expect({ code, proven }).toEqual({ code: 1, proven: [] });
  for (const reason of [
    /PL-2 .*: survived/,
    /PL-1 .*: breaks loading or a hook/,
    /PL-1 .*exactly once in source.ts, got 3 times/,
    /PL-1 .*exactly once in source.ts, got 0 times/,
    /PL-3 .*: replace: expected other text/,
    /PL-4 .*expected a test named \[PL-4\] that passes unmutated/,
    /ZZ-9 .*expected an id of the catalogue/,
    /missing.ts: expected the file/,
  ]) {
    expect(faults).toContainEqual(expect.stringMatching(reason));
  }
  expect(faults).toHaveLength(8);
});

test("a budget of no time leaves mutants unchecked", () => {
  const root = project({ mutants: [KILLED] });
  expect(runJson(root, "--mutants", "--budget", "0")).toMatchObject({ code: 0, proven: [] });
});

test("an id of no catalogue in a test's name is an error", () => {
  const root = project({ files: { "test/alien.test.ts": ALIEN_TEST } });
  const { code, faults } = runJson(root);
  expect(code).toBe(1);
  expect(faults).toEqual([expect.stringContaining("got [ZZ-9]")]);
});

test("reads a given report instead of running the tests", () => {
  const root = project({ mutants: [KILLED] });
  const file = path.join(root, "given.json");
  const name = path.join(root, "test/a.test.ts");
  const assertionResults = [
    { fullName: "[PL-1] doubles", status: "passed", failureMessages: [] },
    { fullName: "[PL-2] small", status: "failed", failureMessages: ["no"] },
  ];
  const testResults = [{ name, status: "failed", assertionResults }];
  fs.writeFileSync(file, JSON.stringify({ testResults }));
  const { code, counts, faults } = runJson(root, "--results", file);
  expect(code).toBe(1);
  expect(counts).toMatchObject({ named: 2, passed: 1 });
  expect(faults).toEqual([expect.stringContaining("failed: [PL-2] small")]);
});

test.for([
  ["--what"],
  ["PL-1"],
  ["--mutants", "ZZ-9"],
  ["--mutants", "--budget", "soon"],
  ["--results", "absent.json"],
])("usage error: %j", (args) => {
  const { code, out, err } = run(project({}), ...args);
  expect(code).toBe(2);
  expect(out).toBe("");
  expect(err).toMatch(/^conformance: .+\n$/);
});

test("--help explains itself", () => {
  const { code, out } = run(project({}), "--help");
  expect(code).toBe(0);
  expect(out).toContain("--budget SECONDS");
});

test("finds ids in a name once each, and nothing else in brackets", () => {
  expect(idsInName("[TL-5][PL-12] x [TL-5] [tl-5] [array] [TL-]")).toEqual(["TL-5", "PL-12"]);
});

test("the catalogue has 166 ids", () => {
  expect(readCatalogue(CATALOGUE)).toHaveLength(166);
});

test.skipIf(!fs.existsSync(ORIGINAL))("the catalogue is the specification's, unaltered", () => {
  expect(fs.readFileSync(CATALOGUE, "utf8")).toBe(fs.readFileSync(ORIGINAL, "utf8"));
});

/** Parts of the specification whose every id is exercised where users go in. */
const AT_DOORS = [
  ...[
    "AP",
    "GS",
    "TE",
    "TC",
    "DM",
    "CA",
    "QA",
    "QG",
    "DR",
    "AC",
    "LA",
    "PV",
    "EP",
    "DT",
    "CB",
    "TL",
  ],
];
/** AC-3 is enforced inside enclaves, on counts that nobody outside may see. */
const UNSEEN = new Set(["AC-3"]);

test("each id from admission to the contract is named by a test at a door", () => {
  const files = fs.globSync("test/**/*.test.ts", { cwd: ROOT }).filter((f) => isAtDoor(f, ROOT));
  const text = files.map((file) => fs.readFileSync(path.join(ROOT, file), "utf8")).join("\n");
  const named = new Set(idsInName(text));
  const owed = readCatalogue(CATALOGUE)
    .map(({ id }) => id)
    .filter((id) => AT_DOORS.includes(id.split("-")[0] ?? "") && !UNSEEN.has(id));
  expect(owed.filter((id) => !named.has(id))).toEqual([]);
});

test("every registered mutant still fits its source", () => {
  const known = new Set(readCatalogue(CATALOGUE).map(({ id }) => id));
  const mutants = readMutants(path.join(import.meta.dirname, "mutants"));
  const faults = mutants.map((one) => [one, faultOf(one, ROOT, known)] as const);
  expect(faults.filter(([, fault]) => fault !== undefined)).toEqual([]);
});
