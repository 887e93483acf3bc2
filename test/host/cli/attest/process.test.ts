import { spawn, spawnSync } from "node:child_process";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { runSymphony } from "../../../helpers/symphony-process.ts";
import { writeEif } from "../../../attestation/eif-file.ts";
import { createAttestFolder } from "./rig.ts";

const ROOT = path.join(import.meta.dirname, "../../../..");
const folder = createAttestFolder();
afterAll(() => folder.remove());

const { document, policy, root } = folder;
const options = ["--policy", policy, "--anchor", root, "--at", "signed"];

const symphony = (...words: string[]) => runSymphony(["attest", ...words], { cwd: folder.path });

test("verify, explain and policy-from-image run as processes", async () => {
  const verified = await symphony("verify", document, ...options);
  expect([verified.code, verified.stderr]).toEqual([0, ""]);
  expect(verified.stdout).toContain("accepted");
  const explained = await symphony("explain", document, "--anchor", root, "--json");
  expect([explained.code, JSON.parse(explained.stdout).simulated]).toEqual([0, true]);
  const image = folder.write("image.eif", writeEif());
  const { code, stdout } = await symphony("policy-from-image", image);
  expect([code, JSON.parse(stdout).platforms]).toEqual([0, ["aws-nitro"]]);
});

test("refusal is 1, wrong use 2, each with words on the right stream", async () => {
  const refused = await symphony("verify", document, ...options, "--nonce", "aa");
  expect([refused.code, refused.stderr]).toEqual([1, ""]);
  expect(refused.stdout).toContain("NOT accepted: TEE_NONCE_MISMATCH");
  const wrong = await symphony("verify", document, ...options, "--trust", policy, "--json");
  expect([wrong.code, wrong.stdout]).toEqual([2, ""]);
  expect(JSON.parse(wrong.stderr)).toMatchObject({ error: "usage" });
});

test("evidence may come through a pipe", () => {
  const script = 'cat "$1" | "$2" bin/symphony.js attest verify /dev/stdin "${@:3}"';
  const words = [document, process.execPath, ...options];
  const run = spawnSync("bash", ["-c", script, "bash", ...words], { cwd: ROOT, encoding: "utf8" });
  expect([run.status, run.stderr]).toEqual([0, ""]);
});

test("a reader that goes away changes no verdict and prints no stack", async () => {
  const words = ["attest", "explain", document, "--policy", policy, "--nonce", "aa"];
  const child = spawn(process.execPath, ["bin/symphony.js", ...words, "--anchor", root], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (bytes: Buffer) => (stderr += bytes.toString()));
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect([code, stderr]).toEqual([1, ""]);
});

test("help says how, for the group and for one of its commands", async () => {
  const all = await symphony("--help");
  expect([all.code, all.stdout.includes("policy-from-image")]).toEqual([0, true]);
  const one = await symphony("explain", "--help");
  expect([one.code, one.stdout.includes("symphony attest explain FILE")]).toEqual([0, true]);
});
