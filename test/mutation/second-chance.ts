import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { basename, join } from "node:path";

const SHARED = join(import.meta.dirname, "../../../shared");
const TIMEOUT_MS = 120_000;
const CMS_TESTS = ["test/enclave/adapters/ber.test.ts", "test/enclave/adapters/cms.test.ts"];

/**
 * Whether the unit tests that concern `file` fail in the tree `root`, which holds the mutant.
 *
 * The vectors are not run again. Tests that do not end in two minutes have failed.
 */
export async function isKilledByTests(root: string, file: string): Promise<boolean> {
  const tests = testsFor(root, file);
  const [near, far] = [true, false].map((wanted) =>
    tests.filter((test) => mentions(root, test, file) === wanted),
  );
  return !((await passes(root, near ?? [])) && (await passes(root, far ?? [])));
}

/** Whether a test names the file it is about, or is named after it: it is asked first. */
function mentions(root: string, test: string, file: string): boolean {
  const stem = basename(file, ".ts");
  return basename(test).includes(stem) || read(root, test).includes(`/${stem}.ts"`);
}

function read(root: string, test: string): string {
  return fs.readFileSync(join(root, test), "utf8");
}

/** Test files, each run once, that fail in the tree `root` as it stands: they cannot judge mutants. */
export async function failingTests(root: string): Promise<readonly string[]> {
  const all = [...attestationTests(root), ...CMS_TESTS];
  const failing: string[] = [];
  for (const each of all) if (!(await passes(root, [each]))) failing.push(each);
  return failing;
}

function attestationTests(root: string): readonly string[] {
  return fs
    .readdirSync(join(root, "test/attestation"))
    .filter((name) => name.endsWith(".test.ts") && name !== "vectors.test.ts")
    .map((name) => `test/attestation/${name}`);
}

function testsFor(root: string, file: string): readonly string[] {
  if (file.startsWith("enclave/")) return CMS_TESTS;
  const subject = subjectOf(file);
  const all = attestationTests(root);
  const named = all.filter((test) => subjectOf(test) === subject);
  return subject === null ? all.filter((test) => subjectOf(test) !== "eif") : named;
}

/** What a file is about alone; null for what several formats share. */
function subjectOf(file: string): "eif" | "snp" | "tdx" | null {
  if (/eif|crc32/.test(file)) return "eif";
  return /\/(snp|tdx)/.exec(file)?.[1] === "snp" ? "snp" : /\/tdx/.test(file) ? "tdx" : null;
}

async function passes(root: string, tests: readonly string[]): Promise<boolean> {
  if (tests.length === 0) return true;
  const env = { SYMPHONY_SHARED: SHARED, ...process.env };
  const words = ["run", ...tests, "--bail=1", "--maxWorkers=1", "--reporter=dot"];
  const child = spawn(
    join(root, "node_modules/.bin/node"),
    [join(root, "node_modules/vitest/vitest.mjs"), ...words],
    { cwd: root, env, stdio: "ignore", timeout: TIMEOUT_MS, killSignal: "SIGKILL" },
  );
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code === 0));
  });
}
