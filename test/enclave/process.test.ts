import { spawn } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  FrameReader,
  commitRecord,
  decodeCbor,
  encodeCbor,
  encodeFrame,
  enclaveResponseSchema,
  fromHex,
  utf8,
  type EnclaveResponse,
} from "../../protocol/index.ts";
import { generateDemoReceipts } from "../../sim/data/receipts.ts";
import { InsecureSimNsm } from "../../sim/nsm.ts";
import { launchInsecureEnclave } from "../../sim/launcher.ts";
import { measureSimImage } from "../../sim/measure.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../sim/platform.ts";
import { probeBubblewrap } from "../../sim/sandbox.ts";
import type { EnclaveEnd } from "../helpers/enclave-rig.ts";
import { openResult, runRound, runSoleTask } from "../helpers/enclave-round.ts";
import {
  RECEIPT_COLUMNS,
  customerData,
  receiptRecords,
  testBatch,
  vaultData,
} from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type Measurement,
} from "../helpers/network.ts";
import { AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

const repositoryRoot = join(import.meta.dirname, "../..");
const bubblewrap = await probeBubblewrap().then(
  () => true,
  () => false,
);

interface EnclaveProcess extends EnclaveEnd {
  readonly exited: Promise<{ readonly code: number | null }>;
  readonly printed: string[];
  readonly pid: number | null;
  readonly channel: Duplex;
  /** Everything that came out of the enclave. */
  readonly received: Uint8Array[];
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
  return overChannel(handle.channel, { exited: handle.exited, printed, pid: handle.pid });
}

function overChannel(
  channel: Duplex,
  child: Pick<EnclaveProcess, "exited" | "printed" | "pid">,
): EnclaveProcess {
  const reader = new FrameReader();
  const waiting: ((response: EnclaveResponse) => void)[] = [];
  const received: Uint8Array[] = [];
  channel.on("error", () => channel.destroy());
  channel.on("data", (chunk: Uint8Array) => {
    received.push(chunk);
    for (const frame of reader.push(chunk)) {
      waiting.shift()?.(enclaveResponseSchema.parse(decodeCbor(frame)));
    }
  });
  return {
    ...child,
    channel,
    received,
    call: (request) =>
      new Promise((resolve, reject) => {
        waiting.push(resolve);
        child.exited.then(() => reject(new Error(`ended: ${child.printed.join("")}`)), reject);
        channel.write(encodeFrame(encodeCbor(request)));
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

test.skipIf(!bubblewrap)(
  "[XP-3][DS-5][TT-3] sandboxed processes compute together, and no planted word comes out of any",
  async () => {
    const network = await createNetwork({ measurement });
    const data = customerData(["vault-1", "vault-2"], 200);
    const shared = await testTask(network, { parameters: AGE_SCORES, data });
    const ends: EnclaveProcess[] = [];
    const start = (): EnclaveEnd => lazily(launch("bubblewrap"), ends);
    const round = await runRound(shared, {
      governance: governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]),
      artifact: AGE_MODEL,
      startAggregator: start,
      startSlice: start,
    });
    const { result } = await openResult(shared, round);
    expect(result.result.kind).toBe("histogram");
    const exits = await Promise.all(ends.map((end) => end.exited));
    expect(exits.map((exit) => exit.code)).toEqual([0, 0, 0]);
    const words = data.flatMap(({ batches, consentKey }) => [
      consentKey,
      ...batches.flatMap((batch) => [
        batch.dataKey,
        batch.secret,
        ...batch.records.flatMap((record) => [
          record.subject_id,
          record.salt,
          utf8(String(record.attributes["customer.email"])),
        ]),
      ]),
    ]);
    const out = Buffer.concat(ends.flatMap((end) => end.received)).toString("latin1");
    const printed = ends.flatMap((end) => end.printed).join("");
    expect(out.length).toBeGreaterThan(10_000);
    expect(printed).toBe("");
    for (const word of words) {
      const bytes = Buffer.from(word);
      const forms = (["latin1", "hex", "base64"] as const).map((form) => bytes.toString(form));
      expect(forms.some((form) => out.includes(form))).toBe(false);
    }
  },
);

test("[TT-3] closes what its starter leaked, and ends with SIGTERM or its channel", async () => {
  const secret = join(directory, "leaked");
  writeFileSync(secret, "not for an enclave");
  const leaked = openSync(secret, "r");
  const start = () => startPlain(leaked);
  const [stopped, abandoned] = [start(), start()];
  closeSync(leaked);
  const boot = { method: "boot", role: "slice", genesis: task.network.genesisBytes } as const;
  for (const { end } of [stopped, abandoned]) {
    expect((await end.call(boot)).result).toBe("booted");
    const links = readdirSync(`/proc/${end.pid}/fd`).map((fd) =>
      linkOf(`/proc/${end.pid}/fd/${fd}`),
    );
    expect(links).not.toContain(secret);
  }
  process.kill(stopped.end.pid ?? 0, "SIGTERM");
  abandoned.end.channel.destroy();
  expect((await stopped.end.exited).code).toBe(1);
  expect((await abandoned.end.exited).code).toBe(1);
});

test("[XP-3] takes no other argument and no second request before its answer", async () => {
  const odd = startPlain(null, ["--debug"]);
  expect((await odd.end.exited).code).toBe(1);
  const { end } = startPlain(null);
  const boot = { method: "boot", role: "slice", genesis: task.network.genesisBytes } as const;
  const frame = encodeFrame(encodeCbor(boot));
  end.channel.write(Buffer.concat([frame, frame]));
  expect((await end.exited).code).toBe(1);
});

/** An enclave without a sandbox whose descriptor 5 is `leaked`, if there is one. */
function startPlain(leaked: number | null, more: readonly string[] = []): { end: EnclaveProcess } {
  const node = join(repositoryRoot, "node_modules/.bin/node");
  const args = [join(repositoryRoot, "enclave/main.ts"), "--anchor", platform.anchorPath, ...more];
  const child = spawn(node, args, {
    stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", leaked ?? "ignore"],
    env: {},
  });
  const [, , , channel, nsmStream] = child.stdio;
  if (!(channel instanceof Duplex) || !(nsmStream instanceof Duplex)) throw new Error("no streams");
  const nsm = new InsecureSimNsm({
    platform,
    pcrs: new Map([[0, fromHex(measurement.pcr0)]]),
    moduleId: platform.moduleId(new Uint8Array(8)),
    nowMs: () => NETWORK_TIME_MS,
    random: (bytes) => new Uint8Array(bytes).fill(7),
  });
  const reader = new FrameReader();
  nsmStream.on("error", () => nsmStream.destroy());
  nsmStream.on("data", (chunk: Uint8Array) => {
    for (const request of reader.push(chunk)) nsmStream.write(encodeFrame(nsm.handle(request)));
  });
  const exited = new Promise<{ readonly code: number | null }>((resolve) => {
    child.once("exit", (code) => resolve({ code }));
  });
  return { end: overChannel(channel, { exited, printed: [], pid: child.pid ?? null }) };
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** A process that is still starting, as something that can be called already. */
function lazily(starting: Promise<EnclaveProcess>, ends: EnclaveProcess[]): EnclaveEnd {
  const kept = starting.then((end) => {
    ends.push(end);
    return end;
  });
  return { call: async (request) => (await kept).call(request) };
}
