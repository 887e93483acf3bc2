import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

import { expect, test } from "vitest";
import { z } from "zod";

const ROOT = path.resolve(import.meta.dirname, "../..");
const Manifest = z.object({ version: z.string() });

function manifestOf(name: string): string {
  return path.join(ROOT, "node_modules", name, "package.json");
}

test("the tests run on the pinned Node", () => {
  const pinned = z
    .object({ devDependencies: z.object({ node: z.string() }) })
    .parse(JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8")));
  expect(pinned.devDependencies.node).toBe("24.21.0");
  expect(process.version).toBe(`v${pinned.devDependencies.node}`);
});

test("node_modules/.bin/node is the pinned Node", () => {
  const binary = path.join(ROOT, "node_modules/.bin/node");
  const run = spawnSync(binary, ["--version"], { encoding: "utf8" });
  expect(run.stdout.trim()).toBe("v24.21.0");
});

test("onnxruntime-node is 1.27.0, a version without telemetry", () => {
  const parse = (file: string) => Manifest.parse(JSON.parse(fs.readFileSync(file, "utf8")));
  expect(parse(manifestOf("onnxruntime-node")).version).toBe("1.27.0");
  const common = createRequire(manifestOf("onnxruntime-node")).resolve("onnxruntime-common");
  const folder = common.slice(0, common.lastIndexOf("onnxruntime-common") + 18);
  expect(parse(path.join(folder, "package.json")).version).toBe("1.27.0");
});

test("loading onnxruntime leaves no telemetry files", () => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-home-"));
  const temporary = path.join(home, "tmp");
  fs.mkdirSync(temporary);
  const script = `
    const ort = await import("onnxruntime-node");
    await ort.InferenceSession.create(new Uint8Array(4)).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    console.log(process.pid);
  `;
  const { PATH } = process.env;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: ROOT,
    env: { PATH, HOME: home, TMPDIR: temporary, XDG_CACHE_HOME: path.join(home, ".cache") },
    encoding: "utf8",
  });
  const left = fs.readdirSync(home, { recursive: true });
  fs.rmSync(home, { recursive: true, force: true });
  expect(run.status, run.stderr).toBe(0);
  expect(left).toEqual(["tmp"]);
  expect(fs.existsSync(`/tmp/mat-debug-${run.stdout.trim()}.log`)).toBe(false);
});
