import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { afterAll, expect, test } from "vitest";

import { UsageError, reportError } from "../../cli/index.ts";
import { ConflictError, LimitError, RefusedError, UnavailableError } from "../../protocol/index.ts";

const folder = mkdtempSync(join(tmpdir(), "symphony-report-"));
const file = join(folder, "file");
writeFileSync(file, "");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function told(error: unknown, isJson = false): { readonly exit: number; readonly said: string } {
  let said = "";
  const exit = reportError(error, { stderr: (text) => void (said += text) }, isJson);
  return { exit, said };
}

/** What `run` throws. */
async function thrownBy(run: () => unknown): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
}

const codeOnly = (code: string): Error => Object.assign(new Error(`${code}: a word`), { code });

test.for<readonly [string, Error, number]>([
  ["a wrong call", new UsageError("a: expected b"), 2],
  ["a refusal", new RefusedError({ code: "POLICY_DECLINED" }, "a: expected b"), 1],
  ["a conflict", new ConflictError({ code: "COORDINATION_CONFLICT" }, "a: expected b"), 1],
  ["a limit", new LimitError({ code: "SCHEMA_TOO_LARGE" }, "a: expected b"), 1],
  ["a server away", new UnavailableError({ code: "COORDINATION_UNAVAILABLE" }, "a: expected b"), 3],
  ["a full disk, which has no path", codeOnly("ENOSPC"), 3],
  ["a quota that is used up", codeOnly("EDQUOT"), 3],
  ["a system's error that says nothing of paths", codeOnly("ECONNRESET"), 70],
  ["anything else", new TypeError("a bug"), 70],
])("%s gives its exit code", ([, error, exit]) => {
  expect(told(error).exit).toBe(exit);
});

test("only a bug shows where it was, and with --json an error is one object", () => {
  const refused = new RefusedError({ code: "POLICY_DECLINED" }, "a: expected b");
  expect(told(refused).said).toBe("symphony: POLICY_DECLINED: a: expected b\n");
  expect(JSON.parse(told(refused, true).said)).toEqual({
    error: "POLICY_DECLINED",
    message: "a: expected b",
  });
  expect(told(new TypeError("a bug")).said).toContain(import.meta.filename);
});

test.for<readonly [string, () => unknown, string]>([
  ["a file that is not there", () => readFile(join(folder, "none")), "ENOENT"],
  ["a file for a folder", () => readdir(file), "ENOTDIR"],
  ["a folder to write to", () => writeFile(folder, ""), "EISDIR"],
  ["a file where none may be", () => writeFile(file, "", { flag: "wx" }), "no file there yet"],
  ["a place below a file", () => writeFile(join(file, "below"), ""), "ENOTDIR"],
])("%s is a wrong call that names the path", async ([, run, code]) => {
  const { exit, said } = told(await thrownBy(run));
  expect(exit).toBe(2);
  expect(said).toContain(folder);
  expect(said).toContain(code);
});

test("a folder that is read as a file is a wrong call", async () => {
  expect(told(await thrownBy(() => readFile(folder))).exit).toBe(2);
});

test("an option that no command has is a wrong call", async () => {
  const { exit, said } = told(await thrownBy(() => parseArgs({ args: ["--bogus"], options: {} })));
  expect([exit, said.includes("--bogus")]).toEqual([2, true]);
});
