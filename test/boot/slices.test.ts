import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { appraiseSession } from "../../attestation/index.ts";
import { buildLogisticStepGraph } from "../../enclave/workloads/train/index.ts";
import { createSocketLauncher } from "../../host/adapters/enclave-socket.ts";
import { createKms, recipientKeyPolicy, type Kms } from "../../host/adapters/kms.ts";
import type { EnclaveLauncher } from "../../host/index.ts";
import {
  batchWrapInfo,
  commitRecord,
  encodeCbor,
  encodeFrame,
  encryptOnce,
  genesisState,
  peerNonce,
  sha256,
  type Policy,
  type TrainParameters,
} from "../../protocol/index.ts";
import { generateDemoReceipts } from "../../sim/data/receipts.ts";
import { startInsecureKms, type InsecureKms } from "../../sim/kms/server.ts";
import { createInsecureLauncher } from "../../sim/launcher.ts";
import { bootHosted } from "../helpers/enclave-rig.ts";
import {
  openResult,
  runRound,
  runSoleTask,
  type FinishedTestRound,
  type RunRequest,
} from "../helpers/enclave-round.ts";
import { launchedEnd } from "../helpers/launched-enclave.ts";
import {
  RECEIPT_COLUMNS,
  customerData,
  receiptRecords,
  testBatch,
  vaultData,
} from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../helpers/network.ts";
import { ADULTS, AGE_MODEL, AGE_SCORES, SCALED_AGE } from "../helpers/sample-parameters.ts";
import type { Machine } from "./machine.ts";
import { boot, bootImage, bootPlatform, canBoot } from "./rig.ts";

const MINUTES = 60_000;
const ROOT = join(import.meta.dirname, "../..");
const VAULTS = ["vault-1", "vault-2"];
const STEP = buildLogisticStepGraph({ features: 1 });
const TRAIN: TrainParameters = {
  task_class: "train",
  model_digest: sha256(STEP),
  features: [SCALED_AGE],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: 1,
  groups: 64,
  local_steps: 4,
  batch_size: 16,
  learning_rate_micro: 1_000_000,
  clip_norm_micro: 1_000_000,
  fraction_bits: 12,
  convergence_threshold_micro: null,
};

/** QEMU's translation makes an enclave ten to thirty times slower than a processor does. */
function patient(policy: Policy): Policy {
  const { parse, query, compute, train } = policy.classes;
  const execution_ms_max = 10 * MINUTES;
  const classes = {
    parse: { ...parse, execution_ms_max },
    query: { ...query, execution_ms_max },
    compute: { ...compute, execution_ms_max },
    train: { ...train, execution_ms_max },
  };
  return { ...policy, classes };
}

type Finished = Pick<FinishedTestRound, "bundle" | "outcome">;

/** A key service that releases to the image's enclaves alone, and its key. */
interface KeyService {
  readonly server: InsecureKms;
  readonly kms: Kms;
  readonly keyId: string;
}

describe.skipIf(!canBoot)("slices in the booted image", { timeout: 15 * MINUTES }, () => {
  let folder = "";
  let machine: Machine;
  let network: TestNetwork;
  let keys: KeyService;
  let simulated: EnclaveLauncher;

  beforeAll(async () => {
    const image = await bootImage("simulator");
    const platform = bootPlatform();
    const { pcr0, pcr1, pcr2 } = image.measurement;
    const measurement = { pcr0, pcr1, pcr2 };
    machine = await boot(image, "signing");
    folder = mkdtempSync(join(tmpdir(), "symphony-slices-"));
    network = await createNetwork({ measurement, policy: patient });
    keys = await startKeys();
    simulated = createInsecureLauncher({
      ...{ repositoryRoot: ROOT, platform, measurement, isolation: "none" },
      onStderr: () => undefined,
    });

    async function startKeys(): Promise<KeyService> {
      const anchors = [platform.anchor];
      const directory = join(folder, "keys");
      const server = await startInsecureKms({ directory, anchors, port: 0, nowMs: Date.now });
      const credentials = { accessKeyId: "tester", secretAccessKey: "any" };
      const kms = createKms({ region: "sim-local-1", endpoint: server.endpoint, credentials });
      const policy = recipientKeyPolicy("arn:aws:iam::000000000000:root", [measurement]);
      return { server, kms, keyId: await kms.createKey(policy) };
    }
  }, 10 * MINUTES);

  afterAll(async () => {
    await machine.stop();
    keys.kms.close();
    await keys.server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Has the key service release the batches' keys to the enclave whose evidence the request has. */
  async function withReleasedKeys(task: TestTask, request: RunRequest, vaultId: string) {
    const index = task.envelope.inputs.findIndex(({ vault_id }) => vault_id === vaultId);
    const batches = task.data[index]?.batches ?? [];
    const batch_keys = await Promise.all(
      batches.map(async ({ batchId, secret, dataKey }) => {
        const wrapped = encryptOnce(secret, batchWrapInfo(batchId), dataKey);
        const ciphertext = await keys.kms.encrypt(keys.keyId, wrapped);
        const cms = await keys.kms.decryptForRecipient(keys.keyId, ciphertext, request.evidence);
        return { batch_id: batchId, cms };
      }),
    );
    return { ...request, batch_keys };
  }

  /** Enclaves for all of a task's roles, which start side by side, and what they need that others do not. */
  function optionsFor(task: TestTask, launcher: EnclaveLauncher) {
    const aggregator = launchedEnd(launcher.launch("aggregate"));
    const slices = new Map(
      task.request.vault_ids.map((id) => [id, launchedEnd(launcher.launch("slice"))]),
    );
    return {
      ...sole(task),
      startAggregator: () => aggregator,
      startSlice: (vaultId: string) => slices.get(vaultId) ?? aggregator,
    };
  }

  function sole(task: TestTask) {
    return {
      order: () => ({ expires_ms: Date.now() + 60 * MINUTES }),
      run: (request: RunRequest, vaultId: string) => withReleasedKeys(task, request, vaultId),
    };
  }

  /** Runs `work` with enclaves of the machine and of the simulator, and says how long each took. */
  async function both<T>(name: string, work: (launcher: EnclaveLauncher) => Promise<T>) {
    const startedMs = performance.now();
    const inside = await work(createSocketLauncher(machine.enclaveSocket));
    const bootedMs = performance.now();
    const outside = await work(simulated);
    const seconds = [bootedMs - startedMs, performance.now() - bootedMs].map((ms) =>
      (ms / 1000).toFixed(1),
    );
    console.log(`boot: ${name} took ${seconds[0]} s in the machine, ${seconds[1]} s outside`);
    return { inside, outside };
  }

  const commitments = ({ bundle }: Finished) => ({
    input: bundle.input_state,
    output: bundle.output_commitment,
    slices: bundle.slices.map(({ vault_id, output_commitment }) => ({
      vault_id,
      output_commitment,
    })),
  });

  /** One result, in and outside the machine. */
  async function expectSame(task: TestTask, inside: Finished, outside: Finished) {
    expect(commitments(inside)).toEqual(commitments(outside));
    const opened = await openResult(task, inside);
    expect(opened.padded).toEqual((await openResult(task, outside)).padded);
    return opened.result;
  }

  test("[XP-7][RT-4] a receipt is parsed to what the simulator makes of it", async () => {
    const [receipt] = generateDemoReceipts(1);
    const records = receiptRecords("vault-1", receipt === undefined ? [] : [receipt.image]);
    const [record] = records;
    if (record === undefined) throw new Error("no receipt");
    const task = await testTask(network, {
      parameters: { task_class: "parse", record_commitment: commitRecord(record) },
      data: [vaultData("vault-1", [testBatch("booted", records, RECEIPT_COLUMNS)])],
    });
    const { inside, outside } = await both("parse", (launcher) =>
      runSoleTask(task, { ...sole(task), end: launchedEnd(launcher.launch("slice")) }),
    );
    expect((await expectSame(task, inside, outside)).result.kind).toBe("receipt");
  });

  test("[XP-7][AG-1][RT-4] a query of two Vaults, whose evidence the verifier accepts", async () => {
    const task = await testTask(network, {
      parameters: ADULTS,
      data: customerData(VAULTS, 120),
    });
    const { inside, outside } = await both("query", (launcher) =>
      runRound(task, optionsFor(task, launcher)),
    );
    expect((await expectSame(task, inside, outside)).result.kind).toBe("audience");
    const { aggregator, slices } = inside.started;
    for (const { enclave, evidenceForAggregator } of slices) {
      const report = appraiseSession({
        evidence: evidenceForAggregator,
        manifest: enclave.manifest,
        role: "slice",
        nonce: peerNonce(aggregator.manifest.challenge, enclave.manifestDigest),
        governance: genesisState(network.genesisBytes),
        anchors: [bootPlatform().anchor],
        at: { mode: "live", nowMs: Date.now() },
      });
      expect(report.enclave_identity).toBe(machine.moduleId);
    }
  });

  test("[XP-7][AG-1] a model scores records to the same counts", async () => {
    const task = await testTask(network, {
      parameters: AGE_SCORES,
      data: customerData(["vault-1"], 200),
    });
    const governance = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]);
    const { inside, outside } = await both("compute", (launcher) => {
      const end = launchedEnd(launcher.launch("slice"));
      return runSoleTask(task, { ...sole(task), end, governance, artifact: AGE_MODEL });
    });
    expect((await expectSame(task, inside, outside)).result.kind).toBe("histogram");
  });

  test("[XP-7] two Vaults train to the same weights", async () => {
    const task = await testTask(network, {
      parameters: TRAIN,
      data: customerData(VAULTS, 200),
      request: { epsilon_micro: 40_000_000 },
    });
    const governance = governanceSnapshot(network, [artifactRegistered(STEP, "step_graph")]);
    const { inside, outside } = await both("train", (launcher) =>
      runRound(task, { ...optionsFor(task, launcher), governance, artifact: STEP }),
    );
    expect((await expectSame(task, inside, outside)).result.kind).toBe("model");
  });

  /** A connection, at whose other end an enclave is being started. */
  async function dial(): Promise<Socket> {
    const socket = connect(machine.enclaveSocket);
    socket.on("error", () => socket.destroy());
    await once(socket, "connect");
    return socket;
  }

  const bootFrame = (): Uint8Array =>
    encodeFrame(encodeCbor({ method: "boot", role: "slice", genesis: network.genesisBytes }));

  /** An enclave that answered. One that finds the gate's places taken, and its queue full, is turned away at once. */
  async function bootedWhenFree(): ReturnType<typeof bootHosted> {
    for (let left = 60; ; left -= 1) {
      const end = launchedEnd(createSocketLauncher(machine.enclaveSocket).launch("slice"));
      try {
        return await bootHosted(end, "slice", network.genesisBytes);
      } catch (error) {
        if (left === 0) throw error;
        await setTimeout(1_000);
      }
    }
  }

  test("[XP-3] a host that hangs up, lies and crowds takes nothing from the next one", async () => {
    const startedMs = performance.now();
    const cut = await dial();
    const frame = bootFrame();
    cut.write(frame.subarray(0, frame.length / 2), () => cut.destroy());
    const [impatient, garbled] = [await dial(), await dial()];
    impatient.write(bootFrame());
    garbled.write(new Uint8Array(100_000).fill(0xff));
    await Promise.all([once(impatient, "data"), once(garbled.resume(), "close")]);
    impatient.destroy();
    for (const socket of await Promise.all(Array.from({ length: 100 }, dial))) socket.destroy();
    const crowdedMs = performance.now();
    expect((await bootedWhenFree()).manifest.runtime).toBe(process.version);
    const seconds = [crowdedMs - startedMs, performance.now() - crowdedMs].map((ms) =>
      (ms / 1000).toFixed(1),
    );
    console.log(
      `boot: ${seconds[0]} s of such hosts, and an answer to the next in ${seconds[1]} s`,
    );
  });
});
