import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../..");

let folder = "";
let root = "";
let bin = "";

const ENTRY = (name: string): string => `
  const [word = ""] = process.argv.slice(2);
  if (word === "wait") {
    process.on("SIGTERM", () => process.exit(7));
    process.on("SIGINT", () => process.exit(8));
    setTimeout(() => {}, 20_000);
  }
  console.log(JSON.stringify(["${name}", process.version, ...process.argv.slice(2)]));
  if (word === "fail") process.exitCode = 42;
  if (word === "die") process.kill(process.pid, "SIGKILL");
`;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-bin-"));
  root = path.join(folder, "project");
  bin = path.join(root, "bin/symphony.js");
  fs.mkdirSync(path.join(root, "bin"), { recursive: true });
  fs.copyFileSync(path.join(ROOT, "bin/symphony.js"), bin);
  fs.writeFileSync(path.join(root, "package.json"), JSON.stringify({ type: "module" }));
  for (const name of ["sim", "host", "image"]) {
    fs.mkdirSync(path.join(root, name));
    fs.writeFileSync(path.join(root, name, "main.ts"), ENTRY(name));
  }
  fs.mkdirSync(path.join(root, "node_modules/.bin"), { recursive: true });
  fs.symlinkSync(process.execPath, path.join(root, "node_modules/.bin/node"));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function symphony(file: string, ...args: string[]) {
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  const run = spawnSync(process.execPath, [file, ...args], { cwd: "/", encoding: "utf8", env });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

test.for([
  ["demo", "sim"],
  ["up", "sim"],
  ["sim", "sim"],
  ["image", "image"],
  ["verify", "host"],
  ["--help", "host"],
  ["constructor", "host"],
])("%s runs %s/main.ts with all its words", ([word = "", entry = ""]) => {
  const { code, out } = symphony(bin, word, "--json", "a b");
  expect(JSON.parse(out)).toEqual([entry, process.version, word, "--json", "a b"]);
  expect(code).toBe(0);
});

test("no word at all runs host/main.ts", () => {
  expect(JSON.parse(symphony(bin).out)).toEqual(["host", process.version]);
});

test("keeps compiled code beside the modules it comes from", () => {
  symphony(bin);
  expect(fs.readdirSync(path.join(root, "node_modules/.cache/symphony"))).not.toEqual([]);
});

test("works through a symbolic link from any folder", () => {
  const link = path.join(folder, "symphony");
  fs.symlinkSync(bin, link);
  expect(JSON.parse(symphony(link, "status").out)).toEqual(["host", process.version, "status"]);
});

test("gives the exit code on, and 128 + n for a signal", () => {
  expect(symphony(bin, "fail").code).toBe(42);
  expect(symphony(bin, "die").code).toBe(128 + 9);
});

test.for([
  ["SIGTERM", 7],
  ["SIGINT", 8],
] as const)("forwards %s", async ([signal, expected]) => {
  const child = spawn(process.execPath, [bin, "wait"], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.kill(signal);
  expect(await new Promise((resolve) => child.on("exit", resolve))).toBe(expected);
});

test("says what to do when the pinned Node is missing", () => {
  const bare = path.join(folder, "bare/bin/symphony.js");
  fs.mkdirSync(path.dirname(bare), { recursive: true });
  fs.writeFileSync(path.join(folder, "bare/package.json"), `{"type":"module"}`);
  fs.copyFileSync(bin, bare);
  const { code, err } = symphony(bare, "demo");
  expect(code).toBe(3);
  expect(err).toContain("run npm start first");
});

test("both scripts parse as plain JavaScript modules", () => {
  for (const file of ["bin/symphony.js", "scripts/setup.js"]) {
    const run = spawnSync(process.execPath, ["--check", path.join(ROOT, file)]);
    expect(run.status, file).toBe(0);
  }
});
