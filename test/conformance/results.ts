import { spawn } from "node:child_process";
import * as fs from "node:fs";
import path from "node:path";

import { z } from "zod";

import { idsInName } from "./catalogue.ts";

/** One test as vitest's JSON reporter saw it. */
export interface TestResult {
  /** Path relative to the tree the tests ran in. */
  readonly file: string;
  readonly name: string;
  readonly ids: readonly string[];
  readonly status: "passed" | "failed" | "skipped";
  readonly messages: readonly string[];
}

/** A whole vitest run. `brokenFiles` could not be loaded or failed outside a test. */
export interface RunReport {
  readonly tests: readonly TestResult[];
  readonly brokenFiles: readonly string[];
  /** How long each test file took. */
  readonly fileMs: ReadonlyMap<string, number>;
}

const VitestJson = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      startTime: z.number().default(0),
      endTime: z.number().default(0),
      assertionResults: z.array(
        z.object({
          fullName: z.string(),
          status: z.string(),
          failureMessages: z.array(z.string()).nullish(),
        }),
      ),
    }),
  ),
});

/**
 * Parses what vitest's JSON reporter wrote for a run in the folder `root`.
 *
 * @throws Error when the file is not such a report.
 */
export function parseReport(file: string, root: string): RunReport {
  const parsed = VitestJson.safeParse(JSON.parse(fs.readFileSync(file, "utf8")));
  if (!parsed.success) throw new Error(`${file}: expected a vitest JSON report`);
  const tests: TestResult[] = [];
  const brokenFiles: string[] = [];
  const fileMs = new Map<string, number>();
  for (const { name, status, startTime, endTime, assertionResults } of parsed.data.testResults) {
    const testFile = path.relative(root, name).split(path.sep).join("/");
    fileMs.set(testFile, endTime - startTime);
    const failed = assertionResults.some((result) => result.status === "failed");
    if (status === "failed" && !failed) brokenFiles.push(testFile);
    for (const result of assertionResults) {
      tests.push({
        file: testFile,
        name: result.fullName,
        ids: idsInName(result.fullName),
        status:
          result.status === "passed" || result.status === "failed" ? result.status : "skipped",
        messages: result.failureMessages ?? [],
      });
    }
  }
  return { tests, brokenFiles, fileMs };
}

/** What to run, where, and for how long. */
export interface VitestJob {
  readonly root: string;
  readonly shared: string;
  readonly files: readonly string[];
  /** Only tests whose name carries one of these ids; empty runs all. */
  readonly ids: readonly string[];
  readonly outputFile: string;
  readonly timeoutMs: number;
  readonly extra: readonly string[];
  /** Whether vitest's own progress goes to standard error. */
  readonly verbose: boolean;
}

/**
 * Runs vitest in `root` as a process group of its own and parses its report.
 *
 * @returns The report; `undefined` when the time was up (the group is then killed) or nothing was written.
 */
export async function runVitest(job: VitestJob): Promise<RunReport | undefined> {
  fs.rmSync(job.outputFile, { force: true });
  const args = [
    path.join(job.root, "node_modules/vitest/vitest.mjs"),
    "run",
    ...job.files,
    ...(job.ids.length > 0 ? ["-t", `\\[(${job.ids.join("|")})\\]`] : []),
    "--reporter=json",
    `--outputFile.json=${job.outputFile}`,
    ...(job.verbose ? ["--reporter=dot"] : []),
    ...job.extra,
  ];
  const child = spawn(process.execPath, args, {
    cwd: job.root,
    detached: true,
    env: { ...process.env, SYMPHONY_SHARED: job.shared },
    stdio: ["ignore", job.verbose ? 2 : "ignore", job.verbose ? 2 : "ignore"],
  });
  const stop = (): void => killGroup(child.pid);
  process.on("exit", stop);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, job.timeoutMs);
  await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearTimeout(timer);
  process.off("exit", stop);
  if (timedOut || !fs.existsSync(job.outputFile)) return undefined;
  return parseReport(job.outputFile, job.root);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group has ended already.
  }
}
