import { mkdtempSync, writeFileSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { runVerify } from "../../../host/cli/verify.ts";
import { formatTrust, parseTrust } from "../../../host/evidence/index.ts";
import {
  EVIDENCE_BYTES_MAX,
  encodeEvidence,
  parseEvidence,
  type Evidence,
} from "../../../protocol/index.ts";
import { closeRun, runTask } from "../../helpers/evidence-rig.ts";
import { settleRun, type SettledRun } from "../../helpers/settlement-rig.ts";
import { spoken } from "../../helpers/spoken.ts";

const directory = mkdtempSync(join(tmpdir(), "symphony-verify-"));
const file = join(directory, "task.symphony");
const trustFile = join(directory, "trust.json");

let settled: SettledRun;

beforeAll(async () => {
  settled = await settleRun(await runTask());
  const { run } = settled;
  writeFileSync(file, settled.file);
  writeFileSync(
    trustFile,
    formatTrust({
      network: run.network.genesis.network,
      genesisDigest: run.network.genesisDigest,
      anchors: run.anchors,
    }),
  );
});

afterAll(() => closeRun(settled.run));

async function verify(...argv: string[]) {
  const { exit, out: stdout, err: stderr } = await spoken((io) => runVerify(argv, io));
  return { exit, stdout, stderr };
}

function written(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

test("prints a checklist and exits 0; simulated trust says SIMULATED first and last", async () => {
  const { exit, stdout, stderr } = await verify(file, "--trust", trustFile);
  expect([exit, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^SIMULATED/);
  expect(lines.at(-1)).toMatch(/^SIMULATED/);
  expect(lines.at(-2)).toMatch(/^verified: query t-[0-9a-f]{32} of network test$/);
  expect(lines.filter((line) => line.startsWith("✓ "))).toHaveLength(14);
});

test("a damaged file exits 1 and names what failed", async () => {
  const damaged = settled.file.slice();
  damaged[5000] = (damaged[5000] ?? 0) ^ 1;
  const path = written("damaged.symphony", damaged);
  const { exit, stdout } = await verify(path, "--trust", trustFile);
  expect(exit).toBe(1);
  expect(stdout).toMatch(/✗ (file|governance|seal): [A-Z_]+: /);
  expect(stdout).toMatch(/NOT verified: (file|governance|seal) failed with [A-Z_]+/);
});

test("[DT-2][TL-7] settlement and history are replayed from the evidence, and come to the same or are found out", async () => {
  const { evidence } = parseEvidence(settled.file);
  const { network, task } = settled.run;
  const sealed = (changes: Partial<Evidence>): Uint8Array => {
    return encodeEvidence({
      evidence: { ...evidence, ...changes },
      taskId: task.envelope.task_id,
      coordinatorKey: network.coordinator.signing,
    });
  };
  const judged = async (name: string, changes: Partial<Evidence>) => {
    const { stdout } = await verify(written(name, sealed(changes)), "--trust", trustFile, "--json");
    return JSON.parse(stdout);
  };
  expect(await judged("same.symphony", {})).toMatchObject({ ok: true });
  const { consumption, logs } = evidence;
  expect(await judged("less.symphony", { consumption: consumption.slice(1) })).toMatchObject({
    failure: { check: "settlement", code: "PROOF_COMMITMENT_MISMATCH" },
  });
  const skipping = logs.map((log) =>
    log.actor_id === "coordinator" ? { ...log, events: log.events.toSpliced(1, 1) } : log,
  );
  expect(await judged("skipping.symphony", { logs: skipping })).toMatchObject({
    failure: { check: "task history", code: "EXECUTION_ILLEGAL_TRANSITION" },
  });
});

test("--json is one object with every check", async () => {
  const { exit, stdout } = await verify(file, "--trust", trustFile, "--json");
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, simulated: true, failure: null });
});

test.for([
  { title: "no file", argv: ["--trust", trustFile] },
  { title: "no trust", argv: [file] },
  { title: "two files", argv: [file, file, "--trust", trustFile] },
  { title: "an unknown flag", argv: [file, "--trust", trustFile, "--fast"] },
  { title: "a file that is not there", argv: [join(directory, "none"), "--trust", trustFile] },
  { title: "trust that is not there", argv: [file, "--trust", join(directory, "none")] },
])("exits 2 for $title", async ({ argv }) => {
  const { exit, stdout, stderr } = await verify(...argv);
  expect([exit, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^symphony: usage: /);
});

test("--help says how and exits 0", async () => {
  const { exit, stdout } = await verify("--help");
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^symphony verify FILE --trust ROOTS/);
});

test("refuses a file over the limit before it reads it", async () => {
  const path = written("large.symphony", "");
  truncateSync(path, EVIDENCE_BYTES_MAX + 1);
  const { exit, stderr } = await verify(path, "--trust", trustFile);
  expect(exit).toBe(1);
  expect(stderr).toMatch(/SCHEMA_TOO_LARGE/);
});

test.for([
  { title: "no JSON", code: "SCHEMA_JSON_MALFORMED", change: () => "{" },
  {
    title: "hardware that the certificate is not",
    code: "TEE_PLATFORM_REFUSED",
    change: (text: string) => text.replace('"sim"', '"aws-nitro"'),
  },
  {
    title: "a simulator that does not say so",
    code: "TEE_PLATFORM_REFUSED",
    change: (text: string) => text.replace('"simulated": true', '"simulated": false'),
  },
  {
    title: "no anchors",
    code: "SCHEMA_CONFIG_MALFORMED",
    change: (text: string) => JSON.stringify({ ...JSON.parse(text), anchors: [] }),
  },
  {
    title: "a field too many",
    code: "SCHEMA_CONFIG_MALFORMED",
    change: (text: string) => JSON.stringify({ ...JSON.parse(text), trust_all: true }),
  },
  {
    title: "half a digest",
    code: "SCHEMA_CONFIG_MALFORMED",
    change: (text: string) => JSON.stringify({ ...JSON.parse(text), genesis_digest: "ab" }),
  },
])("refuses a trust file with $title", ({ code, change }) => {
  const { network } = settled.run;
  const text = formatTrust({
    network: network.genesis.network,
    genesisDigest: network.genesisDigest,
    anchors: settled.run.anchors,
  });
  expect(parseTrust(text).genesisDigest).toEqual(network.genesisDigest);
  expect(() => parseTrust(change(text))).toThrow(expect.objectContaining({ code }));
});
