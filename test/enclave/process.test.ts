import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  FrameReader,
  commitRecord,
  decodeCbor,
  encodeCbor,
  encodeFrame,
  enclaveResponseSchema,
  type EnclaveResponse,
} from "../../protocol/index.ts";
import { generateDemoReceipts } from "../../sim/data/receipts.ts";
import { launchInsecureEnclave } from "../../sim/launcher.ts";
import { measureSimImage } from "../../sim/measure.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../sim/platform.ts";
import { probeBubblewrap } from "../../sim/sandbox.ts";
import type { EnclaveEnd } from "../helpers/enclave-rig.ts";
import { openResult, runSoleTask } from "../helpers/enclave-round.ts";
import { RECEIPT_COLUMNS, receiptRecords, testBatch, vaultData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import { NETWORK_TIME_MS, createNetwork, type Measurement } from "../helpers/network.ts";

const repositoryRoot = join(import.meta.dirname, "../..");
const bubblewrap = await probeBubblewrap().then(
  () => true,
  () => false,
);

interface EnclaveProcess extends EnclaveEnd {
  readonly exited: Promise<{ readonly code: number | null }>;
  readonly printed: string[];
}

let directory = "";
let platform: InsecureSimPlatform;
let measurement: Measurement;
let task: TestTask;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "symphony-process-"));
  platform = createInsecureSimPlatform(directory);
  measurement = measureSimImage(repositoryRoot, platform.anchor);
  const [receipt] = generateDemoReceipts(1);
  const records = receiptRecords("vault-1", receipt === undefined ? [] : [receipt.image]);
  const [record] = records;
  if (record === undefined) throw new Error("no receipt");
  task = await testTask(await createNetwork({ measurement }), {
    parameters: { task_class: "parse", record_commitment: commitRecord(record) },
    data: [vaultData("vault-1", [testBatch("process", records, RECEIPT_COLUMNS)])],
  });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function launch(isolation: "bubblewrap" | "none"): Promise<EnclaveProcess> {
  const printed: string[] = [];
  const handle = await launchInsecureEnclave({
    role: "slice",
    repositoryRoot,
    platform,
    measurement,
    isolation,
    onStderr: (text) => printed.push(text),
    nowMs: () => NETWORK_TIME_MS + 60_000,
  });
  const reader = new FrameReader();
  const waiting: ((response: EnclaveResponse) => void)[] = [];
  handle.channel.on("data", (chunk: Uint8Array) => {
    for (const frame of reader.push(chunk)) {
      waiting.shift()?.(enclaveResponseSchema.parse(decodeCbor(frame)));
    }
  });
  return {
    exited: handle.exited,
    printed,
    call: (request) =>
      new Promise((resolve, reject) => {
        waiting.push(resolve);
        handle.exited.then(() => reject(new Error(`ended: ${printed.join("")}`)), reject);
        handle.channel.write(encodeFrame(encodeCbor(request)));
      }),
  };
}

test.skipIf(!bubblewrap)(
  "[XP-3][TT-3] a sandboxed process parses a receipt, then exits 0 and prints nothing",
  async () => {
    const end = await launch("bubblewrap");
    const done = await runSoleTask(task, { end });
    expect(done.bundle.platform).toBe("sim");
    expect((await openResult(task, done)).result.result.kind).toBe("receipt");
    expect((await end.exited).code).toBe(0);
    expect(end.printed.join("")).toBe("");
  },
);

test("[XP-3] a process without a sandbox gives the same, and a refusal exits 1", async () => {
  const end = await launch("none");
  const done = await runSoleTask(task, { end });
  expect((await openResult(task, done)).result.simulated).toBe(true);
  expect((await end.exited).code).toBe(0);
  const refused = await launch("none");
  const response = await refused.call({ method: "attest", nonce: new Uint8Array(32) });
  expect(response).toEqual({ result: "failed", code: "COORDINATION_ROLE_REFUSED" });
  expect((await refused.exited).code).toBe(1);
  expect(refused.printed.join("")).toBe("");
});
