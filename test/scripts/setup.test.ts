import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../..");
const STAMP = "node_modules/.symphony-setup";

let folder = "";

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-setup-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What stands in for npm: writes its arguments to `npm.log`, then does `body`. */
function fakeNpm(body: string): string {
  return `#!/bin/sh\necho "$@" >> npm.log\n${body}\n`;
}

const WORKING = "rm -rf node_modules; mkdir node_modules";

interface Project {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A project with a manifest of its own, set-up copied in, and an npm that does `body`. */
function project(body: string | undefined, manifest: object = {}): Project {
  const root = fs.mkdtempSync(path.join(folder, "project-"));
  fs.mkdirSync(path.join(root, "scripts"));
  fs.mkdirSync(path.join(root, "path"));
  fs.copyFileSync(path.join(ROOT, "scripts/setup.js"), path.join(root, "scripts/setup.js"));
  const content = { name: "tiny", version: "1.0.0", type: "module", ...manifest };
  fs.writeFileSync(path.join(root, "package.json"), JSON.stringify(content));
  fs.writeFileSync(path.join(root, "package-lock.json"), "{}");
  if (body !== undefined) {
    fs.writeFileSync(path.join(root, "path/npm"), fakeNpm(body), { mode: 0o755 });
  }
  const tools = body === undefined ? "" : ":/usr/bin:/bin";
  return { root, env: { PATH: `${path.join(root, "path")}${tools}` } };
}

function setup({ root, env }: Project, ...args: string[]) {
  const script = path.join(root, "scripts/setup.js");
  const run = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
  return { code: run.status, signal: run.signal, out: run.stdout, err: run.stderr };
}

function start({ root, env }: Project) {
  const script = path.join(root, "scripts/setup.js");
  const child = spawn(process.execPath, [script], { cwd: root, env, stdio: "ignore" });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return { child, ended };
}

function installs({ root }: Project): number {
  const log = path.join(root, "npm.log");
  return fs.existsSync(log) ? fs.readFileSync(log, "utf8").trim().split("\n").length : 0;
}

async function appears(file: string): Promise<void> {
  for (let tries = 0; tries < 500 && !fs.existsSync(file); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("installs once, then says and does nothing", () => {
  const tiny = project(WORKING);
  expect(setup(tiny)).toMatchObject({ code: 0, out: "" });
  expect(fs.readFileSync(path.join(tiny.root, "npm.log"), "utf8")).toMatch(/^ci --include=dev /);
  expect(fs.existsSync(path.join(tiny.root, STAMP))).toBe(true);
  expect(setup(tiny)).toEqual({ code: 0, signal: null, out: "", err: "" });
  expect(installs(tiny)).toBe(1);
  expect(fs.readdirSync(tiny.root).filter((name) => name.startsWith(".setup"))).toEqual([]);
});

test.for([
  ["the lockfile changes", "package-lock.json", `{"lockfileVersion":3}`],
  ["a dependency changes", "package.json", `{"type":"module","dependencies":{"a":"1.0.0"}}`],
  ["npm's settings change", ".npmrc", "save-exact=true\n"],
])("installs again when %s", ([, file = "", text = ""]) => {
  const tiny = project(WORKING);
  setup(tiny);
  fs.writeFileSync(path.join(tiny.root, file), text);
  expect(setup(tiny).code).toBe(0);
  expect(installs(tiny)).toBe(2);
});

test("installs nothing when only a script of the manifest changes", () => {
  const tiny = project(WORKING);
  setup(tiny);
  const manifest = { type: "module", scripts: { hello: "echo" } };
  fs.writeFileSync(path.join(tiny.root, "package.json"), JSON.stringify(manifest));
  expect(setup(tiny).code).toBe(0);
  expect(installs(tiny)).toBe(1);
});

test.for([
  [
    "offline",
    "echo 'npm error code ENOTFOUND' >&2; exit 1",
    /expected to reach the package registry/,
  ],
  ["a full disk", "echo 'npm error ENOSPC' >&2; exit 1", /free disk/],
  ["another failure", "exit 7", /expected exit code 0, got 7/],
])("fails with 3 and writes no stamp: %s", ([, body, message]) => {
  const tiny = project(`${WORKING}; ${String(body)}`);
  const { code, err } = setup(tiny);
  expect(code).toBe(3);
  expect(err).toMatch(message ?? "");
  expect(fs.existsSync(path.join(tiny.root, STAMP))).toBe(false);
});

test("a failed installation takes an older stamp away", () => {
  const tiny = project(WORKING);
  setup(tiny);
  fs.writeFileSync(path.join(tiny.root, "path/npm"), fakeNpm("exit 1"));
  fs.writeFileSync(path.join(tiny.root, "package-lock.json"), "[]");
  expect(setup(tiny).code).toBe(3);
  fs.writeFileSync(path.join(tiny.root, "package-lock.json"), "{}");
  expect(setup(tiny).code).toBe(3);
});

test("says so when npm is missing", () => {
  expect(setup(project(undefined))).toMatchObject({
    code: 3,
    err: expect.stringContaining("npm: expected it on PATH, got none"),
  });
});

test("refuses to go on when the pinned Node was not installed", () => {
  const tiny = project(WORKING, { devDependencies: { node: "24.21.0" } });
  expect(setup(tiny)).toMatchObject({
    code: 3,
    err: expect.stringContaining("node_modules/.bin/node: expected v24.21.0, got none"),
  });
});

test("refuses an old Node", () => {
  const tiny = project(WORKING);
  const script = path.join(tiny.root, "scripts/setup.js");
  const disguise = `Object.defineProperty(process.versions, "node", { value: "18.20.0" });
    await import(${JSON.stringify(script)});`;
  const args = ["--input-type=module", "-e", disguise];
  const run = spawnSync(process.execPath, args, { env: tiny.env, encoding: "utf8" });
  expect(run.status).toBe(3);
  expect(run.stderr).toContain("node: expected version 20 or newer");
  expect(installs(tiny)).toBe(0);
});

test("refuses arguments with 2", () => {
  expect(setup(project(WORKING), "--force").code).toBe(2);
});

test("two at once install once", async () => {
  const tiny = project(`${WORKING}; sleep 0.5`);
  const runs = [start(tiny), start(tiny), start(tiny)];
  const codes = await Promise.all(runs.map(async ({ ended }) => (await ended).code));
  expect(codes).toEqual([0, 0, 0]);
  expect(installs(tiny)).toBe(1);
});

test.for([
  ["a process that has ended", "4194304 1"],
  ["a live process number with another start", `${process.pid} 1`],
  ["no process", "nonsense"],
])("takes over the lock of %s", ([, owner = ""]) => {
  const tiny = project(WORKING);
  fs.writeFileSync(path.join(tiny.root, ".setup.lock"), owner);
  expect(setup(tiny).code).toBe(0);
  expect(fs.existsSync(path.join(tiny.root, ".setup.lock"))).toBe(false);
});

test("passes a signal on to npm, ends by it, and leaves neither stamp nor lock", async () => {
  const tiny = project(
    `trap 'echo > stopped; exit 1' TERM; ${WORKING}; echo > begun; sleep 20 & wait`,
  );
  const { child, ended } = start(tiny);
  await appears(path.join(tiny.root, "begun"));
  child.kill("SIGTERM");
  expect(await ended).toEqual({ code: null, signal: "SIGTERM" });
  expect(fs.existsSync(path.join(tiny.root, "stopped"))).toBe(true);
  expect(fs.existsSync(path.join(tiny.root, STAMP))).toBe(false);
  expect(fs.existsSync(path.join(tiny.root, ".setup.lock"))).toBe(false);
});
