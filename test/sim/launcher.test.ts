import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { afterAll, beforeAll, expect, test } from "vitest";

import { appraiseEvidence, verifyNitroDocument } from "../../attestation/index.ts";
import { FrameReader, hex } from "../../protocol/index.ts";
import { launchInsecureEnclave, type SimLaunchOptions } from "../../sim/launcher.ts";
import { measureSimImage } from "../../sim/measure.ts";
import { IMAGE_FOLDERS } from "../../image/index.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { probeBubblewrap, type Isolation } from "../../sim/sandbox.ts";

const CHECKOUT = join(import.meta.dirname, "../..");
/** CI installs bubblewrap; there, its absence is a failure. */
const bubblewrap =
  process.env["CI"] !== undefined ||
  (await probeBubblewrap().then(
    () => true,
    () => false,
  ));

/** An enclave that asks for one document, tries what it may not do, and reports. */
const STAND_IN = `
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { Socket, connect } from "node:net";
import { createNsmClient } from "./adapters/nsm.ts";
import { encodeFrame, utf8, hex } from "#protocol";

const refused = (what: () => unknown): boolean => { try { what(); return false; } catch { return true; } };
const channel = new Socket({ fd: 3, readable: true, writable: true });
const nsm = createNsmClient(new Socket({ fd: 4, readable: true, writable: true }));
const anchor = readFileSync(process.argv[process.argv.indexOf("--anchor") + 1] ?? "");
const document = await nsm.attest({ nonce: utf8("nonce"), userData: anchor.subarray(0, 32), publicKey: null });
const offline = await new Promise((resolve) => {
  const socket = connect(Number(1), "127.0.0.1");
  socket.on("error", () => resolve(true));
  socket.on("connect", () => resolve(false));
});
channel.end(encodeFrame(utf8(JSON.stringify({
  document: hex(document),
  random: (await nsm.random(300)).length,
  describe: await nsm.describe(),
  readRefused: refused(() => readFileSync("/etc/passwd")),
  writeRefused: refused(() => writeFileSync("/tmp/x", "x")),
  spawnRefused: refused(() => spawnSync("true")),
  environment: Object.keys(process.env).filter((name) => name !== "PWD"),
  others: refused(() => readdirSync("/home")),
  offline,
}))));
process.exitCode = 7;
channel.on("finish", () => process.exit(7));
`;

let directory = "";
let repositoryRoot = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "symphony-launcher-"));
  repositoryRoot = join(directory, "checkout");
  for (const folder of IMAGE_FOLDERS) mkdirSync(join(repositoryRoot, folder), { recursive: true });
  for (const folder of ["protocol", "attestation"]) {
    cpSync(join(CHECKOUT, folder), join(repositoryRoot, folder), { recursive: true });
  }
  for (const file of ["package.json", "package-lock.json", "enclave/adapters/nsm.ts"]) {
    cpSync(join(CHECKOUT, file), join(repositoryRoot, file));
  }
  symlinkSync(join(CHECKOUT, "node_modules"), join(repositoryRoot, "node_modules"));
  writeFileSync(join(repositoryRoot, "enclave/main.ts"), STAND_IN);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function options(isolation: Isolation, printed: string[]): SimLaunchOptions {
  const platform = createInsecureSimPlatform(join(directory, "platform"));
  const measurement = measureSimImage(repositoryRoot, platform.anchor);
  return {
    repositoryRoot,
    platform,
    measurement,
    isolation,
    onStderr: (line) => void printed.push(line),
  };
}

test.skipIf(!bubblewrap)(
  "[RT-3] runs an enclave in a sandbox, with a channel and an NSM and nothing else",
  async () => {
    const printed: string[] = [];
    const launch = options("bubblewrap", printed);
    const enclave = await launchInsecureEnclave({ ...launch, role: "slice" });
    const frames: Uint8Array[] = [];
    const reader = new FrameReader();
    enclave.channel.on("data", (chunk: Uint8Array) => frames.push(...reader.push(chunk)));
    expect(await enclave.exited, printed.join("")).toEqual({ code: 7, signal: null });
    const report = JSON.parse(Buffer.from(frames[0] ?? []).toString("utf8"));
    expect(report).toMatchObject({
      random: 300,
      readRefused: true,
      writeRefused: true,
      spawnRefused: true,
      others: true,
      offline: true,
      environment: ["ORT_DISABLE_TELEMETRY"],
      describe: { digest: "SHA384" },
    });
    const nowMs = Date.now();
    const document = new Uint8Array(Buffer.from(report.document, "hex"));
    const { anchor } = launch.platform;
    const evidence = verifyNitroDocument(document, [anchor], { mode: "live", nowMs });
    const accepted = appraiseEvidence(evidence, {
      platforms: ["sim"],
      measurements: [{ ...launch.measurement, validFromMs: 0, validUntilMs: nowMs + 1 }],
      revokedMeasurements: [],
      revokedIdentities: [],
      nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "unsigned image" } },
      snp: null,
      tdx: null,
      nonce: { equals: Buffer.from("nonce") },
      userData: { equals: anchor.certificate.subarray(0, 32) },
      publicKey: { unchecked: "the stand-in has no key" },
      maxAgeMs: { atMost: 60_000 },
      judgedAtMs: nowMs,
    });
    const { moduleId } = report.describe;
    expect(accepted).toMatchObject({ platform: "sim", enclave_identity: moduleId });
  },
);

test.skipIf(!bubblewrap)("kills an enclave and says how it ended", async () => {
  writeFileSync(join(repositoryRoot, "enclave/idle.ts"), "setInterval(() => {}, 1000);\n");
  const enclave = await launchInsecureEnclave({
    ...options("bubblewrap", []),
    entry: "enclave/idle.ts",
    role: "aggregate",
  });
  enclave.kill();
  enclave.kill();
  expect(await enclave.exited).toEqual({ code: null, signal: "SIGKILL" });
  expect(await text(enclave.channel)).toBe("");
});

test("runs without a sandbox only when asked to, under the permission model still", async () => {
  const printed: string[] = [];
  writeFileSync(
    join(repositoryRoot, "enclave/bare.ts"),
    `import { readFileSync } from "node:fs";
     try { readFileSync("/etc/hostname"); } catch (error) { console.error(String(error)); }
     console.error(JSON.stringify(process.env));\n`,
  );
  const enclave = await launchInsecureEnclave({
    ...options("none", printed),
    entry: "enclave/bare.ts",
    role: "slice",
  });
  expect(await enclave.exited).toEqual({ code: 0, signal: null });
  expect(printed.join("")).toContain("Access to this API has been restricted");
  expect(printed.join("")).toContain('{"ORT_DISABLE_TELEMETRY":"1"}');
});

test("[RT-3] refuses to start when bubblewrap does not work", async () => {
  const path = process.env["PATH"];
  process.env["PATH"] = directory;
  try {
    const launched = launchInsecureEnclave({ ...options("bubblewrap", []), role: "slice" });
    await expect(launched).rejects.toMatchObject({ code: "TEE_ISOLATION_UNAVAILABLE" });
  } finally {
    process.env["PATH"] = path;
  }
});

test("[RT-3] measures a change in any folder, the lockfile or the anchor", () => {
  const platform = createInsecureSimPlatform(join(directory, "platform"));
  const other = createInsecureSimPlatform(join(directory, "other"));
  const before = measureSimImage(repositoryRoot, platform.anchor);
  expect(measureSimImage(repositoryRoot, platform.anchor)).toEqual(before);
  const seen = new Set([before.pcr0, before.pcr1, before.pcr2]);
  expect(seen.size).toBe(3);
  expect([...seen]).not.toContain(hex(new Uint8Array(48)));
  expect(measureSimImage(repositoryRoot, other.anchor).pcr0).not.toBe(before.pcr0);
  for (const folder of IMAGE_FOLDERS) {
    const path = join(repositoryRoot, folder, "extra.ts");
    writeFileSync(path, "export {};\n");
    const after = measureSimImage(repositoryRoot, platform.anchor);
    expect(after.pcr1).toBe(before.pcr1);
    expect(after.pcr0).not.toBe(before.pcr0);
    expect(after.pcr2).not.toBe(before.pcr2);
    rmSync(path);
  }
});
