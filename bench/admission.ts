import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { z } from "zod";

import { openVault, type Vault } from "../host/sovereignty/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  TASK_REQUEST,
  WORK_ITEM,
  genesisState,
  verifyGovernanceSnapshot,
  type Policy,
} from "../protocol/index.ts";
import { budgetOf, rateLimitsOf } from "../sim/network/policy.ts";
import { startCoordinator, type LiveCoordinator } from "../test/helpers/live-coordinator.ts";
import { testRequest } from "../test/helpers/network-task.ts";
import {
  createNetwork,
  openedNow,
  testSeed,
  type TestActor,
  type TestNetwork,
} from "../test/helpers/network.ts";
import { confirmVault } from "../test/helpers/witnesses.ts";
import { OPEN_CUSTODY, QUERY, stocked } from "../test/host/sovereignty/vault-world.ts";
import { bestSeconds, quantile, type BenchOptions, type Figure } from "./figures.ts";
import { fdatasyncTimes } from "./ledger-work.ts";

/** Requests that a submitter has under way at once. */
const AT_ONCE = 32;
/** Requests that a Vault's node works on at once. */
const NODE_LOOPS = 4;
const COST_MICRO = 200_000;
const FDATASYNCS = 100;
const VERIFIES = 1_000;
const WAIT_MS = 200;

function wide(policy: Policy): Policy {
  return {
    ...policy,
    privacy: { ...policy.privacy, budgets: [budgetOf("marketing", 1_000_000_000)] },
    admission: {
      ...policy.admission,
      resolving_timeout_ms: 600_000,
      concurrent_tasks_max: 1_000_000,
      actor_concurrent_tasks_max: 1_000_000,
      rate_limits: rateLimitsOf({ actor_tasks_max: 1_000_000, window_ms: 1_000 }),
    },
    epoch: { ...policy.epoch, time_ms_max: 3_600_000 },
  };
}

/**
 * Admission from the signed request to the dispatched task: one coordinator behind real HTTP and three Vaults, all in this
 * process, each with its own embedded store; next to what one core verifies and what the disk makes durable.
 */
export async function admissionFigures({ short }: BenchOptions): Promise<readonly Figure[]> {
  const tasks = short ? 40 : 400;
  const parent = process.env["SYMPHONY_BENCH_DIR"] ?? os.tmpdir();
  const folder = fs.mkdtempSync(path.join(parent, "symphony-admission-"));
  const network = await createNetwork({ policy: wide, genesis: openedNow });
  const live = await startCoordinator(network, folder);
  await live.cosign();
  const vaults = await Promise.all(
    network.vaults.map((actor) => openStocked(network, actor, path.join(folder, actor.actorId))),
  );
  const stop = new AbortController();
  const nodes = vaults.flatMap(({ vault, actor }) =>
    Array.from({ length: NODE_LOOPS }, () => serve(live, { vault, actor, signal: stop.signal })),
  );
  try {
    await admitted(live, { tasks: AT_ONCE, label: "warm" });
    const measured = await admitted(live, { tasks, label: "measured" });
    stop.abort();
    await Promise.all(nodes);
    return [...figuresOf(measured), ...(await limits(network, folder))];
  } finally {
    stop.abort();
    await Promise.all(nodes);
    await live.stop();
    for (const { vault } of vaults) await vault.close();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

interface Measured {
  readonly seconds: number;
  /** From the request to the dispatched task, seconds each. */
  readonly latencies: readonly number[];
}

function figuresOf({ seconds, latencies }: Measured): Figure[] {
  return [
    { name: "admission, three Vaults", value: latencies.length / seconds, unit: "tasks/s" },
    ...[0.5, 0.99].map((at) => ({
      name: `request to dispatched, ${AT_ONCE} at once, p${at * 100}`,
      value: quantile(latencies, at) * 1000,
      unit: "ms",
    })),
  ];
}

async function limits(network: TestNetwork, folder: string): Promise<Figure[]> {
  const { submitter } = network;
  const signed = TASK_REQUEST.sign(await testRequest(network, QUERY), submitter.signing);
  const seconds = await bestSeconds(() => {
    for (let each = 0; each < VERIFIES; each += 1) {
      TASK_REQUEST.verify(signed, submitter.signing.publicKey);
    }
  });
  const disk = quantile(fdatasyncTimes(folder, FDATASYNCS), 0.5);
  return [
    { name: "requests parsed and verified, one core", value: VERIFIES / seconds, unit: "/s" },
    { name: "fdatasync of this disk, 4 KiB appended, p50", value: disk * 1000, unit: "ms" },
  ];
}

async function openStocked(network: TestNetwork, actor: TestActor, directory: string) {
  const vault = await openVault({
    directory,
    vaultId: actor.actorId,
    network: network.genesis.network,
    signingKey: actor.signing,
    boxKey: actor.box,
    custody: OPEN_CUSTODY,
    nowMs: Date.now,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
  });
  await confirmVault(vault, network);
  const governance = genesisState(network.genesisBytes);
  const clock = { nowMs: Date.now() };
  const reopen = (): Promise<Vault> => Promise.resolve(vault);
  await stocked({ network, governance, actor, clock, directory, vault, reopen }, 256);
  return { vault, actor };
}

/** Answers what a Vault is asked, as its node does; what follows admission is left. */
async function serve(
  live: LiveCoordinator,
  node: { readonly vault: Vault; readonly actor: TestActor; readonly signal: AbortSignal },
): Promise<void> {
  const { vault, actor, signal } = node;
  const { coordinator, genesisDigest } = live.network;
  while (!signal.aborted) {
    const item = await live.node(actor).nextWork(WAIT_MS);
    if (item === undefined) continue;
    const { work, work_id: workId } = WORK_ITEM.verify(item, coordinator.signing.publicKey);
    if (work.kind !== "admit") continue;
    const snapshot = GOVERNANCE_SNAPSHOT.decode(work.governance);
    const governance = verifyGovernanceSnapshot(snapshot, genesisDigest);
    const answer = await vault.decide(work.signed_request, governance);
    await live.node(actor).complete(workId, { answer, code: null });
  }
}

/** Submits `tasks` requests, {@link AT_ONCE} under way, and follows each until it is dispatched. */
async function admitted(
  live: LiveCoordinator,
  { tasks, label }: { readonly tasks: number; readonly label: string },
): Promise<Measured> {
  const latencies: number[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < tasks; index = next++) {
      const request = await testRequest(live.network, QUERY, {
        ...{ request_id: testSeed(`${label} ${index}`).slice(0, 16), created_ms: Date.now() },
        epsilon_micro: COST_MICRO,
      });
      const signed = TASK_REQUEST.sign(request, live.network.submitter.signing);
      const started = performance.now();
      const { task_id: taskId } = await live.client.submit(signed);
      await dispatched(live, taskId);
      latencies.push((performance.now() - started) / 1000);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { seconds: (performance.now() - started) / 1000, latencies };
}

async function dispatched(live: LiveCoordinator, taskId: string): Promise<void> {
  const stop = new AbortController();
  for await (const { body } of live.client.events(taskId, { signal: stop.signal })) {
    if (transition.safeParse(body).success) break;
  }
  stop.abort();
}

const transition = z.object({ to: z.literal("dispatched") });
