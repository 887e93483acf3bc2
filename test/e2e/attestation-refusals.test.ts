import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";

import { AWS_NITRO_ROOT_G1, parseNitroDocument } from "../../attestation/index.ts";
import { base64 } from "../../protocol/bytes.ts";
import { SIM_ACTORS } from "../../sim/network/create.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import type { EnclaveLauncher } from "../../host/index.ts";
import { govern } from "../helpers/govern.ts";
import {
  changingLauncher,
  liveLauncher,
  lyingLauncher,
  type ChangingLauncher,
} from "../helpers/live-launcher.ts";
import {
  startLiveNetwork,
  type EndedTask,
  type InProcessNode,
  type LiveNetwork,
} from "../helpers/live-network.ts";
import { LIVE_VAULTS, livePlan, taskOf } from "../helpers/live-plan.ts";

const HOUR_MS = 3_600_000;
const DEBUG = { pcr0: "00".repeat(48), pcr1: "00".repeat(48), pcr2: "00".repeat(48) };
const OTHER = { pcr0: "a1".repeat(48), pcr1: "b2".repeat(48), pcr2: "c3".repeat(48) };

vi.setConfig({ testTimeout: 60_000 });

let live: LiveNetwork;
let vaultA: InProcessNode;
/** A task that was settled before anything was revoked. */
let settled: EndedTask;
let honest: EnclaveLauncher;
let sliceLauncher: ChangingLauncher;
let aggregatorLauncher: ChangingLauncher;
/** A genuine document of an earlier enclave of vault-a, accepted in its time. */
let earlier: Uint8Array | undefined;
let manifestOfEarlier = new Uint8Array(0);

/** vault-a and the aggregator run in this process, so that each test can give them another platform. */
beforeAll(async () => {
  live = await startLiveNetwork(livePlan({ network: "refusals" }));
  honest = liveLauncher(live);
  sliceLauncher = changingLauncher(honest);
  aggregatorLauncher = changingLauncher(honest);
  vaultA = await live.runInProcess("vault-a", sliceLauncher);
  await live.runInProcess(SIM_ACTORS.aggregator, aggregatorLauncher);
});

afterAll(() => live?.stop());

beforeEach(() => {
  sliceLauncher.current = honest;
  aggregatorLauncher.current = honest;
});

const parse = (network: LiveNetwork = live): Promise<EndedTask> =>
  network.run(taskOf(network.plan, "parse"));

/** The task ends as TT-4 says, with nothing released and nothing executed. */
async function expectRefused(ended: EndedTask, code: string, network = live): Promise<void> {
  expect(ended).toMatchObject({ state: "rejected", reason: code, delivered: false });
  expect(ended.lines.join()).not.toMatch(/finished|aggregated|settled|delivered/);
  await expect(network.client.delivery(ended.taskId)).rejects.toMatchObject({
    code: "DELIVERY_NOT_READY",
  });
  const { open } = await network.settledBudget("vault-a", "personal_use");
  expect(open).toEqual({ reserved: 0, executing: 0 });
}

test("[TT-4] an honest enclave's task is delivered", async () => {
  sliceLauncher.current = lyingLauncher(honest, {
    response: (response) => {
      if (response.result === "attested") earlier = response.document;
      if (response.result === "booted") manifestOfEarlier = Uint8Array.from(response.manifest);
      return response;
    },
  });
  settled = await parse();
  expect(settled).toMatchObject({ state: "completed", delivered: true });
  expect(earlier?.length).toBeGreaterThan(1_000);
});

interface Refusal {
  readonly title: string;
  readonly code: string;
  readonly launcher: () => EnclaveLauncher;
}

test.for<Refusal>([
  {
    title: "an enclave with another measurement",
    code: "TEE_MEASUREMENT_MISMATCH",
    launcher: () => liveLauncher(live, { measurement: OTHER }),
  },
  {
    title: "a debug enclave, whose PCRs are zero",
    code: "TEE_DEBUG_REFUSED",
    launcher: () => liveLauncher(live, { measurement: DEBUG }),
  },
  {
    title: "a document over a nonce of before",
    code: "TEE_NONCE_MISMATCH",
    launcher: () =>
      lyingLauncher(honest, {
        request: (request) =>
          request.method === "attest" ? { ...request, nonce: new Uint8Array(32) } : request,
      }),
  },
  {
    title: "a replayed document of an earlier enclave",
    code: "TEE_NONCE_MISMATCH",
    launcher: () =>
      lyingLauncher(honest, {
        response: (response) =>
          response.result === "attested" && earlier !== undefined
            ? { ...response, document: earlier }
            : response,
      }),
  },
  {
    title: "a document of an hour ago",
    code: "TEE_DOCUMENT_STALE",
    launcher: () => liveLauncher(live, { nowMs: () => Date.now() - HOUR_MS }),
  },
  {
    title: "another enclave's manifest with this one's document",
    code: "TEE_USER_DATA_MISMATCH",
    launcher: () =>
      lyingLauncher(honest, {
        response: (response) =>
          response.result === "booted" ? { ...response, manifest: manifestOfEarlier } : response,
      }),
  },
  {
    title: "a document under another simulator's root",
    code: "TEE_CHAIN_UNTRUSTED",
    launcher: () =>
      liveLauncher(live, {
        platform: createInsecureSimPlatform(join(live.directory, "attacker")),
      }),
  },
])("[TT-4] $title is refused with $code and its task rejected", async ({ code, launcher }) => {
  sliceLauncher.current = launcher();
  await expectRefused(await parse(), code);
});

test("[TT-4] [PB-4] an aggregator with another measurement gets nothing, and every reservation is released", async () => {
  aggregatorLauncher.current = liveLauncher(live, { measurement: OTHER });
  const ended = await live.run(taskOf(live.plan, "query"));
  expect(ended).toMatchObject({ state: "rejected", delivered: false });
  expect(ended.lines.join()).not.toMatch(/executing|finished|aggregated/);
  for (const vaultId of LIVE_VAULTS) {
    expect(await live.settledBudget(vaultId, "marketing"), vaultId).toEqual({
      consumedMicro: 0,
      reservedMicro: 0,
      open: { reserved: 0, executing: 0 },
    });
  }
  const log = await readFile(join(live.directory, "logs", "vault-b.log"), "utf8");
  expect(log).toContain('"kind":"slice","code":"TEE_MEASUREMENT_MISMATCH"');
});

test("[TT-5] an enclave revoked while it runs is killed, and the others finish without it", async () => {
  let moduleId = "";
  let governed: Promise<void> | undefined;
  sliceLauncher.current = lyingLauncher(honest, {
    response: (response) => {
      if (response.result === "attested") moduleId = parseNitroDocument(response.document).moduleId;
      return response;
    },
    // The enclave waits for its work, and nobody hears of it.
    request: (request) => {
      if (request.method !== "run") return request;
      governed = govern(live, { type: "platform_revoked", module_id: moduleId });
      return null;
    },
  });
  const ended = await live.run(taskOf(live.plan, "query"));
  await governed;
  expect(ended).toMatchObject({ state: "completed", delivered: true });
  const failures = vaultA.events.filter(
    ({ event, kind }) => event === "work_failed" && kind === "slice",
  );
  expect(failures.at(-1)).toMatchObject({ code: "TEE_PLATFORM_REVOKED" });
});

test("[TT-5] a revoked platform takes no new task, and what was settled stays settled", async () => {
  const [instance = ""] = parseNitroDocument(earlier ?? new Uint8Array(0)).moduleId.split("-enc");
  await govern(live, { type: "platform_revoked", module_id: instance });
  await expectRefused(await parse(), "TEE_PLATFORM_REVOKED");
  const view = await live.client.status(settled.taskId);
  expect(view).toMatchObject({ state: "completed", delivered: true });
  expect(await live.open(settled.taskId)).toMatchObject({ task_class: "parse" });
});

test("[TT-4] a Vault that trusts hardware only refuses the simulator", async () => {
  const trust: unknown = JSON.parse(await readFile(join(live.directory, "trust.json"), "utf8"));
  const anchors = [{ platform: "aws-nitro", certificate: base64(AWS_NITRO_ROOT_G1.certificate) }];
  const production = { ...Object(trust), anchors, simulated: false };
  await writeFile(join(live.directory, "production.json"), JSON.stringify(production));
  await live.configure("vault-a", { trust_file: "../production.json" });
  await live.runInProcess("vault-a", sliceLauncher);
  await expectRefused(await parse(), "TEE_CHAIN_UNTRUSTED");
});

test("[TT-4] a policy for hardware refuses a simulator that a Vault trusts", async () => {
  const production = await startLiveNetwork(
    livePlan({
      network: "production",
      policy: (policy) => ({
        ...policy,
        attestation: { ...policy.attestation, platforms: ["aws-nitro"] },
      }),
    }),
  );
  try {
    await expectRefused(await parse(production), "TEE_PLATFORM_REFUSED", production);
  } finally {
    await production.stop();
  }
});
