import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import { buildLogisticStepGraph } from "../../../enclave/workloads/train/index.ts";
import { AdmissionPlane } from "../../../host/admission/index.ts";
import { openActorLog } from "../../../host/evidence/actor-log.ts";
import { ExecutionPlane } from "../../../host/execution/index.ts";
import {
  createGovernanceEvent,
  openEpochRegister,
  openGovernance,
} from "../../../host/governance/index.ts";
import { Queue, WorkIssuer } from "../../../host/queue/index.ts";
import { COORDINATOR_MIGRATIONS } from "../../../host/run/coordinator-migrations.ts";
import type { CoordinatorSchema } from "../../../host/run/coordinator-service.ts";
import { Pipeline } from "../../../host/run/pipeline.ts";
import { openSettlement } from "../../../host/settlement/index.ts";
import { openStore, type Store } from "../../../host/store/index.ts";
import { TaskBlobs, TaskRegister } from "../../../host/tasks/index.ts";
import {
  DELIVERY_SHARE,
  GOVERNANCE_SNAPSHOT,
  ROUND_MESSAGE,
  TASK_LIFECYCLE,
  WORK_ITEM,
  actorLogOrigin,
  applyGovernanceEvent,
  parseCose,
  parseEvent,
  sha256,
  utf8,
  type GovernanceState,
  type Policy,
  type TaskParameters,
  type WorkItem,
} from "../../../protocol/index.ts";
import { placedIn } from "../../helpers/coordinator-rig.ts";
import { closeRun, runTask, type TestRun } from "../../helpers/evidence-rig.ts";
import {
  challengeApproved,
  consumptionRecord,
  governanceChallenge,
} from "../../helpers/settlement-rig.ts";
import {
  NETWORK_TIME_MS,
  artifactRegistered,
  createNetwork,
  type TestActor,
} from "../../helpers/network.ts";
import { SCALED_AGE } from "../../helpers/sample-parameters.ts";

const STEP = buildLogisticStepGraph({ features: 1 });
const TRAIN: TaskParameters = {
  task_class: "train",
  model_digest: sha256(STEP),
  features: [SCALED_AGE],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: 2,
  groups: 8,
  local_steps: 1,
  batch_size: 8,
  learning_rate_micro: 1_000_000,
  clip_norm_micro: 1_000_000,
  fraction_bits: 12,
  convergence_threshold_micro: null,
};

let run: TestRun;
/** Governance later than the run; null while it is as it was. */
let governed: GovernanceState | null = null;
/** Each Vault's record of what the task cost it, made once: a Vault answers the same question with the same bytes. */
const records = new Map<string, Uint8Array>();
const folders: string[] = [];

beforeAll(async () => {
  const policy = (plain: Policy): Policy => ({
    ...plain,
    epoch: { ...plain.epoch, settlement_volume_max: 1 },
  });
  run = await runTask({
    network: await createNetwork({ policy, vaultCount: 2 }),
    parameters: TRAIN,
    rounds: 2,
    artifact: STEP,
    decisions: [artifactRegistered(STEP, "step_graph")],
  });
  for (const { actorId } of run.network.vaults) {
    records.set(actorId, await consumptionRecord(run, actorId));
  }
});

afterAll(async () => {
  await closeRun(run);
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true });
});

class Crash extends Error {}

/** A store that stops working right after its `atWrite`th write is on disk, as a killed process would. */
function mortal<Schema>(
  store: Store<Schema>,
  atWrite: number,
): { store: Store<Schema>; readonly dead: () => boolean } {
  let writes = 0;
  const dead = (): boolean => writes >= atWrite;
  return {
    dead,
    store: {
      db: store.db,
      write: async (work) => {
        if (dead()) throw new Crash("crash");
        const result = await store.write(work);
        writes += 1;
        if (dead()) throw new Crash("crash");
        return result;
      },
      purge: (tables) => store.purge(tables),
      close: () => store.close(),
    },
  };
}

/** A coordinator's process over `folder`: planes and pipeline, without its listeners. */
async function open(folder: string, clock: { nowMs: number }, atWrite = Number.MAX_SAFE_INTEGER) {
  const disk = await openStore<CoordinatorSchema>({
    at: { kind: "sqlite", file: path.join(folder, "coordinator.db") },
    migrations: COORDINATOR_MIGRATIONS,
  });
  const { store, dead } = mortal(disk, atWrite);
  const { actorId, signing: key } = run.network.coordinator;
  const nowMs = (): number => clock.nowMs;
  const origin = actorLogOrigin(run.network.genesis.network, actorId);
  const log = await openActorLog({ store, actorId, key, origin, nowMs });
  const { genesisBytes } = run.network;
  const boundaries = await openGovernance({
    ...{ store: disk, genesisBytes, signingKey: key, nowMs },
    requireDisputed: () => Promise.resolve(),
  });
  const epochs = await openEpochRegister({ store: disk, governance: boundaries });
  const governance = () => governed ?? run.governance;
  const settlement = openSettlement({
    ...{ store, log, epochs, governance, signingKey: key, nowMs },
    appendDecision: (...args) => boundaries.append(...args),
  });
  const register = new TaskRegister(store, log, nowMs);
  const queue = new Queue(store, nowMs);
  await new Queue(disk, nowMs).offerAgain();
  const issuer = new WorkIssuer({ queue, key, nowMs });
  const blobs = new TaskBlobs(store);
  const snapshot = GOVERNANCE_SNAPSHOT.decode(run.snapshotBytes);
  const errors: unknown[] = [];
  const common = {
    ...{ coordinatorId: actorId, register, queue, issuer, nowMs },
    governanceState: governance,
    governanceSnapshot: () => snapshot,
    governanceAt: governance,
    assignEpoch: () => Promise.resolve(0),
  };
  const pipeline = new Pipeline({
    ...common,
    settlement,
    resolveEpoch: (memberId) => epochs.resolve(memberId),
    admission: new AdmissionPlane(common),
    execution: new ExecutionPlane({ ...common, artifact: (digest) => blobs.artifact(digest) }),
    anchors: run.anchors,
    report: (_taskId, error) => errors.push(error),
  });
  return { ...{ disk, dead, log, register, queue, blobs, settlement, pipeline, errors } };
}

type Coordinator = Awaited<ReturnType<typeof open>>;

/** Creates the task as admission would have left it, having asked every Vault. */
async function begin(coordinator: Coordinator, { nowMs }: { nowMs: number }): Promise<string> {
  const { envelope, signedRequest } = run.task;
  const { register, queue, blobs } = coordinator;
  const taskId = envelope.task_id;
  await blobs.putArtifact(STEP, run.governance);
  await register.create({
    ...{ taskId, parentTaskId: null, round: 0, taskClass: "train", signedRequest },
    ...{ requestDigest: envelope.caller_context.request_digest, place: placedIn(0) },
    ...{ deadlineMs: nowMs + 60_000, controls: null },
  });
  for (const [index, { actorId }] of run.network.vaults.entries()) {
    const work = { kind: "admit", signed_request: signedRequest, governance: utf8("g") } as const;
    const item: WorkItem = {
      ...{ work_id: `${taskId}:admit:${actorId}`, actor_id: actorId, task_id: taskId, work },
      ...{ issued_ms: nowMs, deadline_ms: nowMs + 1 },
    };
    await queue.enqueue(item, WORK_ITEM.sign(item, run.network.coordinator.signing));
    const answer = run.task.signedDecisions[index] ?? null;
    await queue.complete({ workId: item.work_id, actorId, answer, code: null });
  }
  const by = { actorId: "coordinator" };
  await register.transition(taskId, { to: "resolving", ...by });
  const deadlineMs = nowMs + envelope.task_timeout;
  await register.transition(taskId, { to: "dispatched", ...by, envelope, deadlineMs });
  return taskId;
}

/** Does what the actors of the network have been asked for; `silent` ones do nothing. */
async function play({ queue }: Coordinator, silent: readonly string[] = []): Promise<void> {
  const { network } = run;
  for (const actor of [...network.vaults, network.aggregator]) {
    if (silent.includes(actor.actorId)) continue;
    for (;;) {
      const claimed = { actorId: actor.actorId, instance: "one", waitMs: 0 };
      const item = await queue.claim(claimed);
      if (item === undefined) break;
      const { work_id: workId, work } = WORK_ITEM.decode(parseCose(item).payload);
      const answer = await perform(queue, actor, work);
      await queue.complete({ workId, actorId: actor.actorId, answer, code: null });
    }
  }
}

async function perform(
  queue: Queue,
  actor: TestActor,
  work: WorkItem["work"],
): Promise<Uint8Array | null> {
  switch (work.kind) {
    case "slice":
    case "aggregate":
      for (const signed of run.messages) {
        const message = ROUND_MESSAGE.decode(parseCose(signed).payload);
        if (message.sender !== actor.actorId || message.round !== work.round) continue;
        await queue.post(run.task.envelope.task_id, message, signed);
      }
      return null;
    case "settle":
      return records.get(actor.actorId) ?? null;
    case "release":
      return DELIVERY_SHARE.sign(
        {
          ...{ version: 1, envelope_digest: run.task.envelopeDigest, vault_id: actor.actorId },
          output_commitment: run.finished.at(-1)?.bundle.output_commitment ?? new Uint8Array(32),
          ...{ settlement_root: sha256(utf8("root")), sealed_share: utf8("share") },
        },
        actor.signing,
      );
    default:
      return null;
  }
}

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-pipeline-"));
  folders.push(folder);
  return folder;
}

/** Every how many-th write a process dies at: each scenario takes a second. */
const STRIDE = process.env["SYMPHONY_EVERY_WRITE"] === "1" ? 1 : 8;
const TICKS_MAX = 40;

/** Lets time pass until the task is delivered, has ended, or the process is dead. */
async function live(
  coordinator: Coordinator,
  clock: { nowMs: number },
  silent?: readonly string[],
): Promise<void> {
  const taskId = run.task.envelope.task_id;
  for (let tick = 0; tick < TICKS_MAX && !coordinator.dead(); tick += 1) {
    clock.nowMs += 1_000;
    try {
      await coordinator.pipeline.tick();
      await play(coordinator, silent);
      // As it is when an answer or a message has come.
      await coordinator.pipeline.visit(taskId);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    }
    const row = await coordinator.register.get(taskId);
    if (row.delivered === 1 || row.state === "rejected" || row.state === "timed_out") return;
  }
}

async function workIds({ disk }: Coordinator): Promise<string[]> {
  const rows = await disk.db.selectFrom("work").select("work_id").orderBy("work_id").execute();
  return rows.map(({ work_id: id }) => id);
}

/** The whole task in one process, and how many writes it took. */
async function undisturbed() {
  const clock = { nowMs: NETWORK_TIME_MS };
  const coordinator = await open(newFolder(), clock);
  const taskId = await begin(coordinator, clock);
  let writes = 0;
  const { disk } = coordinator;
  const counting = disk.write.bind(disk);
  disk.write = (work) => {
    writes += 1;
    return counting(work);
  };
  await live(coordinator, clock);
  const row = await coordinator.register.get(taskId);
  const transitions = await historyOf(coordinator);
  const work = await workIds(coordinator);
  await disk.close();
  return { row, transitions, work, writes, errors: coordinator.errors };
}

const moveSchema = z.object({ task_id: z.string(), to: z.string() });

/** Transitions of the task and its rounds, by task, as its log has them. */
async function historyOf({ log }: Coordinator): Promise<Record<string, string[]>> {
  const history: Record<string, string[]> = {};
  for (const { event } of await log.entriesForTask(run.task.envelope.task_id)) {
    const { type, body } = parseEvent(event);
    if (type !== "task_transition") continue;
    const { task_id: taskId, to } = moveSchema.parse(body);
    (history[taskId] ??= []).push(to);
  }
  return history;
}

const FORWARD = ["resolving", "dispatched", "verifying", "awaiting_settlement", "completed"];

test("[XP-1][CT-6] a composite task goes through every stage, and settles with its rounds", async () => {
  const { row, transitions, errors } = await undisturbed();
  const taskId = run.task.envelope.task_id;
  expect(errors).toEqual([]);
  expect(row).toMatchObject({ state: "completed", delivered: 1 });
  expect(transitions).toEqual({
    [taskId]: FORWARD,
    [`${taskId}.r0`]: FORWARD,
    [`${taskId}.r1`]: FORWARD,
  });
});

test("[PL-7] a coordinator killed after any of its writes finishes the same history when it is back", async () => {
  const whole = await undisturbed();
  expect(whole.writes).toBeGreaterThan(30);
  for (let atWrite = 3; atWrite <= whole.writes; atWrite += STRIDE) {
    const folder = newFolder();
    const clock = { nowMs: NETWORK_TIME_MS };
    const first = await open(folder, clock);
    await begin(first, clock);
    await first.disk.close();
    const doomed = await open(folder, clock, atWrite);
    await live(doomed, clock);
    await doomed.disk.close();
    const second = await open(folder, clock);
    await live(second, clock);
    const row = await second.register.get(run.task.envelope.task_id);
    expect({ atWrite, state: row.state, delivered: row.delivered }).toEqual({
      ...{ atWrite, state: "completed", delivered: 1 },
    });
    expect(await historyOf(second)).toEqual(whole.transitions);
    expect(await workIds(second)).toEqual(whole.work);
    await second.disk.close();
  }
});

test("[PB-4] a task that ended is told to every Vault that was asked, even by the process after", async () => {
  const clock = { nowMs: NETWORK_TIME_MS };
  const folder = newFolder();
  const first = await open(folder, clock);
  const taskId = await begin(first, clock);
  await first.register.transition(taskId, {
    to: "timed_out",
    actorId: "coordinator",
    reason: "EXECUTION_TIMED_OUT",
  });
  await first.disk.close();
  const second = await open(folder, clock);
  await second.pipeline.tick();
  const told = await second.queue.workOf(taskId, "abort");
  expect(told.map(({ actorId }) => actorId)).toEqual(["vault-1", "vault-2"]);
  await second.disk.close();
});

test("[RD-3] a task is final before and without its delivery", async () => {
  const clock = { nowMs: NETWORK_TIME_MS };
  const coordinator = await open(newFolder(), clock);
  const taskId = await begin(coordinator, clock);
  const { vaults } = run.network;
  const quiet = vaults.slice(1).map(({ actorId }) => actorId);
  for (let tick = 0; tick < 12; tick += 1) {
    clock.nowMs += 1_000;
    await coordinator.pipeline.tick();
    const state = (await coordinator.register.get(taskId)).state;
    await play(coordinator, state === "completed" ? quiet : []);
    await coordinator.pipeline.visit(taskId);
  }
  expect(await coordinator.register.get(taskId)).toMatchObject({
    state: "completed",
    delivered: 0,
  });
  expect(await coordinator.settlement.proofFor(taskId)).toBeInstanceOf(Uint8Array);
  await expect(coordinator.pipeline.delivery(taskId)).rejects.toMatchObject({
    code: "DELIVERY_NOT_READY",
  });
  await coordinator.disk.close();
});

test("a task whose Vaults never tell what it cost is given up, and its rounds end", async () => {
  const clock = { nowMs: NETWORK_TIME_MS };
  const coordinator = await open(newFolder(), clock);
  const taskId = await begin(coordinator, clock);
  const silent = run.network.vaults.map(({ actorId }) => actorId);
  for (let tick = 0; tick < 10; tick += 1) {
    clock.nowMs += 20_000;
    await coordinator.pipeline.tick();
    const { state } = await coordinator.register.get(taskId);
    await play(coordinator, state === "awaiting_settlement" ? silent : []);
    await coordinator.pipeline.visit(taskId);
  }
  expect(await coordinator.register.get(taskId)).toMatchObject({
    state: "rejected",
    reason: "EXECUTION_TIMED_OUT",
  });
  for (const { state } of await coordinator.register.subTasks(taskId)) {
    expect(TASK_LIFECYCLE.isTerminal(state)).toBe(true);
  }
  await coordinator.disk.close();
});

test("a tick visits the tasks that are due, whatever number waits", async () => {
  const clock = { nowMs: NETWORK_TIME_MS };
  const coordinator = await open(newFolder(), clock);
  const { register, pipeline } = coordinator;
  const { signedRequest, envelope } = run.task;
  for (let task = 1; task <= 12; task += 1) {
    await register.create({
      ...{ taskId: `t-${task}`, parentTaskId: null, round: 0, taskClass: "train", signedRequest },
      ...{ requestDigest: envelope.caller_context.request_digest, place: placedIn(0) },
      ...{ deadlineMs: clock.nowMs + task * 1_000, controls: null },
    });
  }
  const visited = new Set<string>();
  const get = register.get.bind(register);
  register.get = (taskId) => {
    visited.add(taskId);
    return get(taskId);
  };
  const seen = async (): Promise<number> => {
    visited.clear();
    await pipeline.tick();
    return visited.size;
  };
  expect(await seen()).toBe(12);
  expect(await seen()).toBe(0);
  clock.nowMs += 3_500;
  expect(await seen()).toBe(3);
  expect((await get("t-3")).state).not.toBe((await get("t-4")).state);
  expect(await seen()).toBe(0);
  clock.nowMs += 60_000;
  expect(await seen()).toBe(9);
  await coordinator.disk.close();
});

test("[TL-4][SP-2] a task that governance overturns after the deadline of its challenge is rejected, not completed", async () => {
  const clock = { nowMs: NETWORK_TIME_MS };
  const coordinator = await open(newFolder(), clock);
  const { settlement, pipeline, register } = coordinator;
  const taskId = await begin(coordinator, clock);
  while (!(await settlement.knows(taskId))) {
    clock.nowMs += 500;
    await pipeline.tick();
    await play(coordinator);
  }
  await settlement.openChallenge(governanceChallenge(run));
  await pipeline.visit(taskId);
  expect((await register.get(taskId)).state).toBe("challenged");
  clock.nowMs += 60_000;
  await settlement.resolveChallenges();
  await pipeline.visit(taskId);
  expect((await register.get(taskId)).state).toBe("awaiting_settlement");
  const keys = run.network.governanceKeys.slice(0, 2);
  const decision = challengeApproved(taskId);
  const at = { state: run.governance, decision, keys, timeMs: clock.nowMs };
  governed = applyGovernanceEvent(run.governance, createGovernanceEvent(at));
  await pipeline.tick();
  governed = null;
  expect(await settlement.isFinal(taskId)).toBe(true);
  expect(await register.get(taskId)).toMatchObject({
    ...{ state: "rejected", reason: "VERIFY_RESULT_REJECTED" },
  });
  for (const { state } of await register.subTasks(taskId)) expect(state).toBe("rejected");
  expect(coordinator.errors).toEqual([]);
  await coordinator.disk.close();
});
