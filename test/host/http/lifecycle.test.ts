// What admission binds a task to and how the task then moves, as its submitter sees both: a coordinator behind its
// listeners, and Vaults that answer what they are asked.
import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

import type { SymphonyClient } from "../../../host/client/index.ts";
import {
  CHALLENGE,
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  VAULT_DECISION,
  hex,
  sha256,
  taskClass,
  taskEnvelopeSchema,
  type ErrorCode,
  type Policy,
  type TaskState,
  type VaultDecision,
} from "../../../protocol/index.ts";
import {
  answerAll,
  askedOf,
  ownWord,
  reached,
  say,
  type Answering,
} from "../../helpers/answering-vaults.ts";
import { propose } from "../../helpers/govern.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { createNetwork, openedNow, type TestActor } from "../../helpers/network.ts";
import { clientIn, submitterFolder, writeSeed } from "../../helpers/spoken.ts";
import { MODEL, STEPS, TASKS } from "../../helpers/tasks.ts";

function patient(policy: Policy): Policy {
  return {
    ...policy,
    admission: { ...policy.admission, concurrent_tasks_max: 64, resolving_timeout_ms: 60_000 },
    epoch: { ...policy.epoch, time_ms_max: 3_600_000 },
  };
}

const network = await createNetwork({ genesis: openedNow, policy: patient });
let live: LiveCoordinator;
let folder: string;
let client: SymphonyClient;

beforeAll(async () => {
  live = await startCoordinator(network);
  await live.cosign();
  folder = submitterFolder(live);
  for (const number of [1, 2]) writeSeed(keyFile(number), `governance ${number}`);
  client = await clientIn(folder);
  for (const [bytes, kind] of [[MODEL, "model"] as const, [STEPS, "step_graph"] as const]) {
    const artifact = { digest: hex(sha256(bytes)), kind, description: "for a test" };
    await governed({ type: "artifact_registered", artifact });
    await client.coordinator.uploadArtifact(bytes);
  }
});

afterAll(async () => {
  await live.stop();
  for (const each of [folder, live.folder]) fs.rmSync(each, { recursive: true, force: true });
});

const keyFile = (number: number): string => path.join(folder, `key-${number}.seed`);

async function governed(decision: object): Promise<void> {
  await propose({ directory: folder, keyFiles: [keyFile(1), keyFile(2)] }, decision);
  await live.cosign();
}

function vaultsOf(ids: readonly string[]): TestActor[] {
  return network.vaults.filter(({ actorId }) => ids.includes(actorId));
}

/** Submits a task that Vaults answer as told. */
async function admitted(name: keyof typeof TASKS, answering?: Answering): Promise<string> {
  const task = TASKS[name];
  const { task_id: taskId } = await client.submit(task);
  await answerAll(live, await askedOf(live, taskId, vaultsOf(task.vault_ids)), answering);
  return taskId;
}

async function dispatched(name: keyof typeof TASKS): Promise<string> {
  const taskId = await admitted(name);
  await reached(live, taskId, "dispatched");
  return taskId;
}

const moveSchema = z.object({
  ...{ task_id: z.string(), from: z.string(), to: z.string(), actor_id: z.string() },
  ...{ reason: z.string().nullable(), envelope_digest: z.string().nullable() },
});

/** The moves of a task in the order of its log, as anybody who watches it sees them until it has come to `last`. */
async function movesOf(taskId: string, last: TaskState) {
  const moves: z.infer<typeof moveSchema>[] = [];
  const signal = AbortSignal.timeout(60_000);
  for await (const { type, body } of live.client.events(taskId, { signal })) {
    if (type !== "task_transition") continue;
    const move = moveSchema.parse(body);
    if (move.task_id !== taskId) continue;
    moves.push(move);
    if (move.to === last) break;
  }
  return moves;
}

test.for(taskClass.options)(
  "[TE-1][TE-3][TC-1] the envelope of %s says everything it is held to, and null where that has no place",
  async (name) => {
    const taskId = await dispatched(name);
    const envelope = await client.envelope(taskId);
    const task = TASKS[name];
    expect(taskEnvelopeSchema.parse(envelope)).toEqual(envelope);
    const status = await client.status(taskId);
    expect(status).toMatchObject({ task_class: name, rounds: name === "train" ? 4 : 1 });
    expect(envelope).toMatchObject({
      ...{ task_id: taskId, task_class: name, epoch_id: status.epoch_id },
      ...{ semantic_version: "semantics-1", policy_version: status.policy_version },
      caller_context: { actor_id: "analyst", role: "submitter" },
      ...{ derivation_rule_refs: [], task_timeout: 120_000, epsilon_micro: task.epsilon_micro },
    });
    expect(envelope.admission_timestamp).toBeGreaterThan(network.genesis.opened_ms - 1);
    for (const field of [
      envelope.authorization_context,
      envelope.consent_references,
      envelope.privacy_budget_reservation,
      envelope.inputs,
    ]) {
      expect(field.map(({ vault_id }) => vault_id)).toEqual(task.vault_ids);
    }
    expect({
      lock: envelope.budget_lock_ref !== null,
      coordination: envelope.coordination_envelope?.participating_vault_ids ?? null,
      iteration: envelope.iteration_policy?.maximum_rounds ?? null,
      composition: envelope.attribute_composition?.operator ?? null,
    }).toEqual({
      lock: name !== "parse",
      coordination: name === "parse" ? null : task.vault_ids,
      iteration: name === "train" ? 4 : null,
      composition: { parse: null, query: "AND", compute: null, train: "FILTER" }[name],
    });
  },
);

test("[TC-4] compute declares its most work units and is one pass; without them it is no request", async () => {
  const { parameters } = TASKS.compute;
  const envelope = await client.envelope(await dispatched("compute"));
  expect(envelope).toMatchObject({ parameters: { work_units_max: 1_000_000 } });
  expect(envelope.iteration_policy).toBeNull();
  const { work_units_max: _, ...boundless } = parameters;
  const refused = { code: "SCHEMA_MALFORMED" };
  await expect(client.submit({ ...TASKS.compute, parameters: boundless })).rejects.toMatchObject(
    refused,
  );
  const looping = { ...parameters, rounds: 2 };
  await expect(client.submit({ ...TASKS.compute, parameters: looping })).rejects.toMatchObject(
    refused,
  );
});

test("[TE-2] the envelope is one and the same for its submitter, its Vaults and its log, whatever comes later", async () => {
  const taskId = await dispatched("query");
  const bytes = await live.client.envelope(taskId);
  const digest = hex(TASK_ENVELOPE.digest(TASK_ENVELOPE.decode(bytes)));
  for (const actor of [...network.vaults, network.aggregator]) {
    for (;;) {
      const { task_id, work } = await live.work(actor);
      if (task_id !== taskId || !("envelope" in work)) continue;
      expect(work.envelope).toEqual(bytes);
      break;
    }
  }
  const moves = await movesOf(taskId, "dispatched");
  expect(moves.map(({ envelope_digest }) => envelope_digest)).toEqual([null, digest]);
  await governed({ type: "epoch_boundary_requested", reason: "another epoch" });
  await live.stop();
  live = await startCoordinator(network, live.folder);
  await live.cosign();
  fs.rmSync(folder, { recursive: true });
  folder = submitterFolder(live);
  for (const number of [1, 2]) writeSeed(keyFile(number), `governance ${number}`);
  client = await clientIn(folder);
  expect(await live.client.envelope(taskId)).toEqual(bytes);
  expect(await movesOf(taskId, "dispatched")).toEqual(moves);
});

const changedTo =
  (change: (outcome: Extract<VaultDecision["outcome"], { decision: "reserved" }>) => object) =>
  (decision: VaultDecision, vault: TestActor): Uint8Array => {
    const { outcome } = decision;
    if (outcome.decision !== "reserved") throw new Error("expected a reservation");
    const changed = { ...decision, outcome: { ...outcome, ...change(outcome) } };
    return VAULT_DECISION.sign(changed, vault.signing);
  };

const declining =
  (code: "AUTH_GRANT_MISSING" | "POLICY_DECLINED"): Answering =>
  (decision, vault) =>
    VAULT_DECISION.sign({ ...decision, outcome: { decision: "declined", code } }, vault.signing);

const UNADMITTED: readonly {
  readonly without: string;
  readonly answering: Answering;
  readonly code: ErrorCode;
}[] = [
  {
    without: "authorization at its Vaults",
    answering: declining("AUTH_GRANT_MISSING"),
    code: "AUTH_GRANT_MISSING",
  },
  {
    without: "consent or budget at its Vaults",
    answering: declining("POLICY_DECLINED"),
    code: "COORDINATION_QUORUM_NOT_MET",
  },
  {
    without: "the policy version that it was taken under",
    answering: changedTo(() => ({ policy_version: "policy-9" })),
    code: "COORDINATION_QUORUM_NOT_MET",
  },
  {
    without: "all of the budget that it asks for",
    answering: changedTo(({ epsilon_micro }) => ({ epsilon_micro: epsilon_micro - 1 })),
    code: "COORDINATION_QUORUM_NOT_MET",
  },
  {
    without: "a share commitment for each round",
    answering: changedTo(({ share_commitments }) => ({
      share_commitments: [...share_commitments, ...share_commitments],
    })),
    code: "COORDINATION_QUORUM_NOT_MET",
  },
  {
    without: "the word of a Vault under its own key",
    answering: (decision) => VAULT_DECISION.sign(decision, network.aggregator.signing),
    code: "COORDINATION_QUORUM_NOT_MET",
  },
];

test.for(UNADMITTED)(
  "[AP-8] without $without there is no envelope and nothing is dispatched",
  async ({ answering, code }) => {
    const taskId = await admitted("query", answering);
    const moves = await movesOf(taskId, "rejected");
    expect(moves.map(({ to, reason }) => [to, reason])).toEqual([
      ["resolving", null],
      ["rejected", code],
    ]);
    await expect(client.envelope(taskId)).rejects.toMatchObject({
      ...{ code: "EXECUTION_TASK_UNKNOWN", status: 404 },
    });
  },
);

test("[MV-3][AP-8] one Vault that reserves too little is left out, and holds nobody up", async () => {
  const stingy = changedTo(() => ({ epsilon_micro: 1 }));
  const taskId = await admitted("query", (decision, vault) =>
    vault.actorId === "vault-2" ? stingy(decision, vault) : ownWord(decision, vault),
  );
  await reached(live, taskId, "dispatched");
  const { inputs } = await client.envelope(taskId);
  expect(inputs.map(({ vault_id }) => vault_id)).toEqual(["vault-1", "vault-3"]);
});

test.for([
  { code: "EXECUTION_WORKLOAD_FAILED", to: "rejected" },
  { code: "TEE_ENCLAVE_DIED", to: "timed_out" },
] as const)(
  "[TL-3][TL-5][TL-7] a dispatched task that fails with $code is $to for good, and its moves replay",
  async ({ code, to }) => {
    const taskId = await dispatched("query");
    const { aggregator } = network;
    const body = { kind: "failed", code, executing: false } as const;
    await say(live, aggregator, { taskId, body });
    const moves = await movesOf(taskId, to);
    expect(moves.at(-1)).toMatchObject({ from: "dispatched", to, reason: code });
    expect(TASK_LIFECYCLE.replay(moves)).toBe(to);
    const ended = await client.status(taskId);
    expect(ended).toMatchObject({ state: to, reason: code });
    // Nothing moves it any more: neither those who took part, nor a challenge.
    for (const vault of network.vaults) {
      await expect(say(live, vault, { taskId, body })).rejects.toMatchObject({
        code: "COORDINATION_CONFLICT",
      });
    }
    const challenge = await challengeOf(taskId);
    await expect(client.coordinator.challenge(taskId, challenge)).rejects.toMatchObject({
      code: "GOVERNANCE_CHALLENGE_CLOSED",
    });
    expect(await client.status(taskId)).toEqual(ended);
    const again: unknown[] = [];
    for await (const { type, body } of client.watch(taskId)) {
      if (type === "task_transition") again.push(body);
    }
    expect(again).toEqual(moves);
  },
);

test("[TL-1][TL-5] what is told of a task is a state of the lifecycle, and no challenge interrupts execution", async () => {
  const taskId = await dispatched("query");
  const challenge = await challengeOf(taskId);
  await expect(client.coordinator.challenge(taskId, challenge)).rejects.toMatchObject({
    code: "GOVERNANCE_CHALLENGE_CLOSED",
  });
  expect((await client.status(taskId)).state).toBe("dispatched");
  const moves = await movesOf(taskId, "dispatched");
  expect(moves.map(({ from, to }) => [from, to])).toEqual([
    ["accepted", "resolving"],
    ["resolving", "dispatched"],
  ]);
});

async function challengeOf(taskId: string): Promise<Uint8Array> {
  const envelope = await client.envelope(taskId);
  return CHALLENGE.sign(
    {
      version: 1,
      genesis_digest: network.genesisDigest,
      task_id: taskId,
      envelope_digest: TASK_ENVELOPE.digest(envelope),
      round_bundle: new Uint8Array(32),
      target: { kind: "composite" },
      reason: "too early",
      challenger: "governance",
      bond_minor: network.genesis.policy.governance.challenge_bond_minor,
      opened_ms: Date.now(),
    },
    network.governanceKeys[0] ?? network.submitter.signing,
  );
}

test("[EP-3][EP-4][EP-5][GS-2] a task keeps the epoch it was taken in, and each of its rounds gets that of its dispatch", async () => {
  const { task_id: taskId, epoch_id: before } = await client.submit(TASKS.train);
  const asked = await askedOf(live, taskId);
  const { epoch_id: _, ...meant } = await client.dryRun(TASKS.query);
  await governed({ type: "epoch_boundary_requested", reason: "a boundary" });
  await expect
    .poll(async () => (await client.coordinator.governanceState()).epoch.epoch_id)
    .toBe(before + 1);
  await live.cosign();
  // What a request means and takes is no matter of the epoch, and what was asked in one is answered in the next.
  expect(await client.dryRun(TASKS.query)).toEqual({ ...meant, epoch_id: before + 1 });
  await answerAll(live, asked);
  await reached(live, `${taskId}.r0`, "dispatched");
  expect(await client.status(taskId)).toMatchObject({ epoch_id: before, state: "dispatched" });
  expect(await client.status(`${taskId}.r0`)).toMatchObject({
    ...{ epoch_id: before + 1, state: "dispatched", task_class: "train" },
  });
  const { epochs } = await client.coordinator.epochs(before);
  expect(epochs.map(({ epoch_id, status }) => [epoch_id, status])).toEqual([
    [before, "closed"],
    [before + 1, "open"],
  ]);
  expect((await client.submit(TASKS.query)).epoch_id).toBe(before + 1);
  await expect(client.status(`${taskId}.r1`)).rejects.toMatchObject({
    code: "EXECUTION_TASK_UNKNOWN",
  });
});

test("nothing unexpected happened meanwhile", () => {
  expect(live.reports.filter(({ event }) => event === "unexpected_error")).toEqual([]);
});
