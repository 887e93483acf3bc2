import { afterEach, beforeEach, expect, test } from "vitest";

import {
  TASK_ENVELOPE,
  TASK_REQUEST,
  UnavailableError,
  VAULT_DECISION,
  WORK_ITEM,
  type TaskRequest,
  type VaultDecision,
} from "../../../protocol/index.ts";
import { AdmissionPlane } from "../../../host/admission/index.ts";
import type { TaskRow } from "../../../host/tasks/index.ts";
import {
  openCoordinatorRig,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testDecision, testRequest } from "../../helpers/network-task.ts";
import { PARAMETERS } from "./requests.ts";

let rig: CoordinatorRig & { readonly folder: string };
let request: TaskRequest;
let signed: Uint8Array;

const RESOLVING_MS = 10_000;

beforeEach(async () => {
  rig = await openCoordinatorRig({
    policy: (policy) => ({
      ...policy,
      admission: { ...policy.admission, concurrent_tasks_max: 2 },
    }),
  });
  request = await testRequest(rig.network, PARAMETERS.query);
  signed = TASK_REQUEST.sign(request, rig.network.submitter.signing);
});

afterEach(() => removeCoordinatorRig(rig));

async function submitted(): Promise<string> {
  return (await rig.admission.submit(signed)).taskId;
}

/** Visits a task until it stays where it is, as the coordinator does. */
async function advance(taskId: string): Promise<TaskRow> {
  const before = await rig.register.get(taskId);
  await rig.admission.advance(before);
  const after = await rig.register.get(taskId);
  return before.state === "accepted" && after.state === "resolving" ? advance(taskId) : after;
}

/** Answers a Vault's admission work as that Vault would. */
async function answer(
  taskId: string,
  index: number,
  change: (decision: VaultDecision) => VaultDecision = (decision) => decision,
): Promise<void> {
  const vault = rig.network.vaults[index];
  const data = customerData(["vault-1", "vault-2", "vault-3"], 10)[index];
  if (vault === undefined || data === undefined) throw new Error("no such Vault");
  const decision = change(testDecision(request, vault, data));
  await rig.queue.complete({
    workId: `${taskId}:admit:${vault.actorId}`,
    actorId: vault.actorId,
    answer: VAULT_DECISION.sign(decision, vault.signing),
    code: null,
  });
}

const decline = (decision: VaultDecision): VaultDecision => ({
  ...decision,
  outcome: { decision: "declined", code: "POLICY_DECLINED" },
});

test("submits of the same bytes are one task, even at once", async () => {
  const both = await Promise.all([rig.admission.submit(signed), rig.admission.submit(signed)]);
  expect(both[0]).toEqual(both[1]);
  expect(await rig.admission.submit(signed)).toEqual(both[0]);
  expect(await rig.register.active()).toEqual([both[0].taskId]);
  const accepted = (await rig.events()).filter(({ type }) => type === "task_accepted");
  expect(accepted).toHaveLength(1);
});

test("what cannot be planned leaves no task", async () => {
  const bad = TASK_REQUEST.sign({ ...request, epsilon_micro: 0 }, rig.network.submitter.signing);
  await expect(rig.admission.submit(bad)).rejects.toMatchObject({
    code: "PRIVACY_BUDGET_EXCEEDED",
  });
  expect(await rig.events()).toEqual([]);
  expect(rig.assigned).toEqual([]);
});

test("takes no more tasks at once than the policy says, but still names one it knows", async () => {
  const taskId = await submitted();
  const another = async (label: number) =>
    rig.admission.submit(
      TASK_REQUEST.sign(
        { ...request, request_id: new Uint8Array(16).fill(label) },
        rig.network.submitter.signing,
      ),
    );
  await another(1);
  await expect(another(2)).rejects.toMatchObject({
    code: "POLICY_LIMIT_EXCEEDED",
    class: "limit",
    details: { limit: "running", max: 2 },
  });
  expect(await rig.admission.submit(signed)).toEqual({ taskId });
});

test("[EP-4] a task belongs to the epoch that was open when it was submitted", async () => {
  const taskId = await submitted();
  expect(rig.assigned).toEqual([taskId]);
  expect((await rig.register.get(taskId)).epoch_id).toBe(1);
});

test("asks each Vault of the request once, with the request as its submitter signed it", async () => {
  const taskId = await submitted();
  expect((await advance(taskId)).state).toBe("resolving");
  await advance(taskId);
  const asked = await rig.queue.workOf(taskId, "admit");
  expect(asked.map(({ actorId }) => actorId)).toEqual(["vault-1", "vault-2", "vault-3"]);
  const item = await rig.queue.claim({ actorId: "vault-2", instance: "a", waitMs: 0 });
  const { work } = WORK_ITEM.verify(
    item ?? new Uint8Array(0),
    rig.network.coordinator.signing.publicKey,
  );
  expect(work).toMatchObject({ kind: "admit", signed_request: signed });
});

test("[TL-2] waits for every Vault, then freezes the envelope and dispatches", async () => {
  const taskId = await submitted();
  await advance(taskId);
  await answer(taskId, 0);
  await answer(taskId, 1);
  expect((await advance(taskId)).state).toBe("resolving");
  await answer(taskId, 2);
  rig.clock.nowMs += 7;
  const row = await advance(taskId);
  expect(row.state).toBe("dispatched");
  const envelope = TASK_ENVELOPE.decode(row.envelope ?? new Uint8Array(0));
  expect(envelope).toMatchObject({ task_id: taskId, admission_timestamp: rig.clock.nowMs });
  expect(row.deadline_ms).toBe(rig.clock.nowMs + request.task_timeout_ms);
});

test("[MV-4] a silent Vault is left out at the deadline; too few end the task", async () => {
  const taskId = await submitted();
  await advance(taskId);
  await answer(taskId, 0);
  await answer(taskId, 1, decline);
  rig.clock.nowMs += RESOLVING_MS - 1;
  expect((await advance(taskId)).state).toBe("resolving");
  rig.clock.nowMs += 1;
  expect(await advance(taskId)).toMatchObject({
    state: "rejected",
    reason: "COORDINATION_QUORUM_NOT_MET",
    envelope: null,
  });
});

test("[MV-3] a Vault that declines lessens coverage and blocks nobody", async () => {
  const taskId = await submitted();
  await advance(taskId);
  await answer(taskId, 0);
  await answer(taskId, 1, decline);
  await answer(taskId, 2);
  const row = await advance(taskId);
  expect(row.state).toBe("dispatched");
  const { inputs } = TASK_ENVELOPE.decode(row.envelope ?? new Uint8Array(0));
  expect(inputs.map(({ vault_id }) => vault_id)).toEqual(["vault-1", "vault-3"]);
});

test("[MV-3] a Vault whose answer is not its own signed word blocks nobody either", async () => {
  const taskId = await submitted();
  await advance(taskId);
  await answer(taskId, 0);
  await answer(taskId, 2);
  await rig.queue.complete({
    workId: `${taskId}:admit:vault-2`,
    actorId: "vault-2",
    answer: Uint8Array.of(1, 2, 3),
    code: null,
  });
  const row = await advance(taskId);
  expect(row.state).toBe("dispatched");
  const { inputs } = TASK_ENVELOPE.decode(row.envelope ?? new Uint8Array(0));
  expect(inputs.map(({ vault_id }) => vault_id)).toEqual(["vault-1", "vault-3"]);
});

test("a task whose turn never came times out where it stands", async () => {
  const taskId = await submitted();
  rig.clock.nowMs += RESOLVING_MS;
  expect(await advance(taskId)).toMatchObject({
    state: "timed_out",
    reason: "EXECUTION_TIMED_OUT",
  });
  expect(await rig.queue.workOf(taskId, "admit")).toEqual([]);
});

test("[PL-7] a coordinator that stopped while asking asks the rest when it is back", async () => {
  const taskId = await submitted();
  await rig.register.transition(taskId, { to: "resolving", actorId: "coordinator" });
  expect(await rig.queue.workOf(taskId, "admit")).toEqual([]);
  await advance(taskId);
  expect(await rig.queue.workOf(taskId, "admit")).toHaveLength(3);
});

test("resolving has an end even when the request no longer holds", async () => {
  const taskId = await submitted();
  await advance(taskId);
  const { actors } = rig.state;
  const { submitter } = rig.network;
  const entry = actors.get(submitter.actorId);
  if (entry === undefined) throw new Error("no submitter");
  const state = {
    ...rig.state,
    actors: new Map(actors).set(submitter.actorId, { ...entry, status: "suspended" as const }),
  };
  const admission = new AdmissionPlane({
    ...{ coordinatorId: "coordinator", register: rig.register, queue: rig.queue },
    ...{ issuer: rig.issuer, nowMs: rig.nowMs, governanceState: () => state },
    governanceSnapshot: () => unavailable(),
    assignEpoch: () => Promise.resolve(1),
  });
  await admission.advance(await rig.register.get(taskId));
  expect(await rig.register.get(taskId)).toMatchObject({
    state: "rejected",
    reason: "AUTH_UNKNOWN_ACTOR",
  });
});

test("a coordinator without a cosigned governance log asks later, and gives up at the deadline", async () => {
  const taskId = await submitted();
  await rig.register.transition(taskId, { to: "resolving", actorId: "coordinator" });
  const admission = new AdmissionPlane({
    ...{ coordinatorId: "coordinator", register: rig.register, queue: rig.queue },
    ...{ issuer: rig.issuer, nowMs: rig.nowMs, governanceState: () => rig.state },
    governanceSnapshot: () => unavailable(),
    assignEpoch: () => Promise.resolve(1),
  });
  const visit = async () => admission.advance(await rig.register.get(taskId));
  await expect(visit()).rejects.toMatchObject({ code: "COORDINATION_UNAVAILABLE" });
  rig.clock.nowMs += RESOLVING_MS;
  await visit();
  expect(await rig.register.get(taskId)).toMatchObject({
    state: "rejected",
    reason: "COORDINATION_UNAVAILABLE",
  });
});

function unavailable(): never {
  throw new UnavailableError({ code: "COORDINATION_UNAVAILABLE" }, "snapshot: expected one");
}
