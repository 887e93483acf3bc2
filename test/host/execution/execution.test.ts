import { afterEach, beforeEach, expect, test } from "vitest";

import type { TaskRow } from "../../../host/tasks/index.ts";
import {
  EXECUTION_RESULT_BUNDLE,
  ROUND_MESSAGE,
  SEALED_OUTCOME,
  TASK_ENVELOPE,
  WORK_ITEM,
  sealedOutcomeDigest,
  sha256,
  utf8,
  type ErrorCode,
  type ExecutionResultBundle,
  type RoundMessage,
  type TaskEnvelope,
  type TaskParameters,
} from "../../../protocol/index.ts";
import {
  openCoordinatorRig,
  placedIn,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask, type TestTask } from "../../helpers/network-task.ts";
import { artifactRegistered, type TestActor } from "../../helpers/network.ts";
import { MODEL, PARAMETERS } from "../admission/requests.ts";

let rig: CoordinatorRig & { readonly folder: string };
const EXECUTION_MS = 60_000;

beforeEach(async () => {
  rig = await openCoordinatorRig({ decisions: [artifactRegistered(MODEL, "model")] });
  await rig.blobs.putArtifact(MODEL, rig.state);
});

afterEach(() => removeCoordinatorRig(rig));

/** A dispatched task with its frozen envelope. */
async function dispatched(parameters: TaskParameters): Promise<TestTask> {
  const names = ["vault-1", "vault-2", "vault-3"];
  const count = parameters.task_class === "parse" ? 1 : 3;
  const data = customerData(names.slice(0, count), 10);
  const task = await testTask(rig.network, { parameters, data });
  const { envelope } = task;
  await rig.register.create({
    taskId: envelope.task_id,
    parentTaskId: null,
    round: 0,
    taskClass: envelope.task_class,
    signedRequest: task.signedRequest,
    requestDigest: envelope.caller_context.request_digest,
    place: placedIn(1),
    deadlineMs: rig.clock.nowMs + 1_000,
    controls: null,
  });
  const by = { actorId: "coordinator" };
  await rig.register.transition(envelope.task_id, { to: "resolving", ...by });
  const deadlineMs = rig.clock.nowMs + envelope.task_timeout;
  await rig.register.transition(envelope.task_id, {
    to: "dispatched",
    ...by,
    envelope,
    deadlineMs,
  });
  return task;
}

async function advance({ envelope }: TestTask): Promise<TaskRow> {
  await rig.execution.advance(await rig.register.get(envelope.task_id));
  return rig.register.get(envelope.task_id);
}

/** Work issued for a task, as (kind, actor, round). */
async function issued(taskId: string): Promise<string[]> {
  const rows = await rig.store.db
    .selectFrom("work")
    .select("item")
    .where("task_id", "=", taskId)
    .orderBy("work_id")
    .execute();
  return rows.map(({ item }) => {
    const { work, actor_id } = WORK_ITEM.verify(item, rig.network.coordinator.signing.publicKey);
    return `${work.kind} ${actor_id} ${"round" in work ? work.round : ""}`;
  });
}

async function post(
  task: TestTask,
  sender: TestActor,
  message: { readonly round?: number; readonly body: RoundMessage["body"] },
): Promise<void> {
  const whole: RoundMessage = {
    envelope_digest: task.envelopeDigest,
    round: message.round ?? 0,
    attempt: 0,
    sender: sender.actorId,
    body: message.body,
  };
  const signed = ROUND_MESSAGE.sign(whole, sender.signing);
  await rig.queue.post(task.envelope.task_id, whole, signed);
}

function failure(code: ErrorCode): RoundMessage["body"] {
  return { kind: "failed", code, executing: true };
}

/** What an aggregator posts when a round is done, with shares of `vaultIds`. */
function roundResult(
  envelope: TaskEnvelope,
  round: number,
  vaultIds: readonly string[],
): Extract<RoundMessage["body"], { kind: "round_result" }> {
  const ciphertext = utf8(`ciphertext ${round}`);
  const slices = vaultIds.map((vault_id) => ({
    vault_id,
    manifest: sha256(utf8("m")),
    order_digest: sha256(utf8("o")),
    output_commitment: sha256(utf8("c")),
    sealed_output_digest: sha256(utf8("s")),
    epsilon_micro: 1,
  }));
  const bundle: ExecutionResultBundle = {
    version: 1,
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    task_class: envelope.task_class,
    round,
    final: false,
    attempt: 0,
    platform: "sim",
    enclave_manifest: sha256(utf8("m")),
    aggregation_method: "federated_average",
    slices,
    partial_coverage: vaultIds.length < envelope.inputs.length,
    input_state: null,
    model_change_micro: null,
    output_commitment: sha256(utf8(`out ${round}`)),
    sealed_digest: sealedOutcomeDigest(ciphertext),
    key_commitment: sha256(utf8("k")),
    share_digests: vaultIds.map((vault_id) => ({ vault_id, digest: sha256(utf8(vault_id)) })),
    share_threshold: 2,
    epsilon_micro: 1,
  };
  const shares = vaultIds.map((vault_id) => ({ vault_id, sealed: utf8(`${vault_id} ${round}`) }));
  return {
    kind: "round_result",
    bundle: EXECUTION_RESULT_BUNDLE.sign(bundle, rig.network.aggregator.signing),
    outcome: SEALED_OUTCOME.encode({ ciphertext, shares }),
  };
}

const EVERYONE = ["vault-1", "vault-2", "vault-3"];

async function finishRound(task: TestTask, round: number, vaultIds = EVERYONE): Promise<void> {
  const body = roundResult(task.envelope, round, vaultIds);
  await post(task, rig.network.aggregator, { round, body });
}

test("[XP-2] fans a round out to the aggregator and every participating Vault, once", async () => {
  const task = await dispatched(PARAMETERS.query);
  await advance(task);
  await advance(task);
  expect(await issued(task.envelope.task_id)).toEqual([
    "aggregate aggregator 0",
    "slice vault-1 0",
    "slice vault-2 0",
    "slice vault-3 0",
  ]);
});

test("a task of one Vault needs no aggregator", async () => {
  const task = await dispatched(PARAMETERS.parse);
  await advance(task);
  expect(await issued(task.envelope.task_id)).toEqual(["slice vault-1 0"]);
});

test("[CT-1][EP-4] each round is a sub-task of its own, in the epoch open at its dispatch", async () => {
  const task = await dispatched(PARAMETERS.train);
  const { task_id: taskId } = task.envelope;
  await advance(task);
  const subTasks = async () =>
    (await rig.register.subTasks(taskId)).map(({ task_id, state, epoch_id, parent_task_id }) => ({
      task_id,
      state,
      epoch_id,
      parent_task_id,
    }));
  const first = { task_id: `${taskId}.r0`, epoch_id: 1, parent_task_id: taskId };
  expect(await subTasks()).toEqual([{ ...first, state: "dispatched" }]);
  await finishRound(task, 0);
  await advance(task);
  expect(await subTasks()).toEqual([
    { ...first, state: "verifying" },
    { task_id: `${taskId}.r1`, epoch_id: 2, parent_task_id: taskId, state: "dispatched" },
  ]);
  expect(rig.assigned).toEqual([`${taskId}.r0`, `${taskId}.r1`]);
});

test("[CT-2][XP-5] the parent stays dispatched until its last round is in", async () => {
  const task = await dispatched(PARAMETERS.train);
  for (const round of [0, 1, 2]) {
    await advance(task);
    await finishRound(task, round);
    expect((await advance(task)).state).toBe("dispatched");
  }
  await finishRound(task, 3);
  expect((await advance(task)).state).toBe("verifying");
  const rounds = await rig.register.subTasks(task.envelope.task_id);
  expect(rounds.map(({ state }) => state)).toEqual(Array(4).fill("verifying"));
});

test("[XP-14] no more rounds are run than the iteration policy names", async () => {
  const task = await dispatched(PARAMETERS.train);
  for (const round of [0, 1, 2, 3]) {
    await advance(task);
    await finishRound(task, round);
  }
  await finishRound(task, 4);
  expect((await advance(task)).state).toBe("verifying");
  expect(await rig.register.subTasks(task.envelope.task_id)).toHaveLength(4);
  const rounds = (await issued(task.envelope.task_id)).map((work) => work.split(" ").at(-1));
  expect(new Set(rounds)).toEqual(new Set(["0", "1", "2", "3"]));
});

test("a result for a round that was not asked for ends the task", async () => {
  const task = await dispatched(PARAMETERS.train);
  await advance(task);
  await finishRound(task, 1);
  await finishRound(task, 0);
  const row = await advance(task);
  expect(row).toMatchObject({ state: "rejected", reason: "EXECUTION_TASK_UNKNOWN" });
});

test("[CT-5] state passes to the next round by bundle and sealed shares, to the Vaults that have one", async () => {
  const task = await dispatched(PARAMETERS.train);
  await advance(task);
  await finishRound(task, 0, ["vault-1", "vault-3"]);
  await advance(task);
  expect((await issued(task.envelope.task_id)).slice(4)).toEqual([
    "aggregate aggregator 1",
    "slice vault-1 1",
    "slice vault-3 1",
  ]);
  const rows = await rig.store.db
    .selectFrom("work")
    .select("item")
    .where("work_id", "=", `${task.envelope.task_id}:r1:slice:vault-3`)
    .executeTakeFirstOrThrow();
  const { work } = WORK_ITEM.verify(rows.item, rig.network.coordinator.signing.publicKey);
  const { bundle } = roundResult(task.envelope, 0, ["vault-1", "vault-3"]);
  expect(work).toMatchObject({
    kind: "slice",
    round: 1,
    artifact: MODEL,
    previous: { bundle, sealed_share: utf8("vault-3 0") },
  });
});

test.for([
  { code: "TEE_ENCLAVE_DIED", state: "timed_out" },
  { code: "EXECUTION_TIMED_OUT", state: "timed_out" },
  { code: "TEE_MEASUREMENT_MISMATCH", state: "rejected" },
  { code: "COORDINATION_QUORUM_NOT_MET", state: "rejected" },
  { code: "EXECUTION_WORKLOAD_FAILED", state: "rejected" },
] as const)(
  "[TT-4] a round that failed with $code leaves its task $state",
  async ({ code, state }) => {
    const task = await dispatched(PARAMETERS.train);
    await advance(task);
    await post(task, rig.network.aggregator, { body: failure(code) });
    expect(await advance(task)).toMatchObject({ state, reason: code });
    const [round] = await rig.register.subTasks(task.envelope.task_id);
    expect(round).toMatchObject({ state, reason: code });
  },
);

test("[CT-5] a slice that failed is the aggregator's to judge: the task goes on", async () => {
  const task = await dispatched(PARAMETERS.query);
  await advance(task);
  const [vault] = rig.network.vaults;
  if (vault === undefined) throw new Error("no Vault");
  await post(task, vault, { body: failure("TEE_ENCLAVE_DIED") });
  expect((await advance(task)).state).toBe("dispatched");
});

test("only the aggregator decides a round: a Vault's word for it is passed over", async () => {
  const task = await dispatched(PARAMETERS.query);
  const [vault] = rig.network.vaults;
  if (vault === undefined) throw new Error("no Vault");
  await advance(task);
  await post(task, vault, { body: roundResult(task.envelope, 0, EVERYONE) });
  expect((await advance(task)).state).toBe("dispatched");
});

test("a message that its sender did not sign is passed over", async () => {
  const task = await dispatched(PARAMETERS.query);
  await advance(task);
  const [vault] = rig.network.vaults;
  if (vault === undefined) throw new Error("no Vault");
  const forged = { ...rig.network.aggregator, signing: vault.signing };
  await post(task, forged, { body: failure("TEE_MEASUREMENT_MISMATCH") });
  expect((await advance(task)).state).toBe("dispatched");
});

test("a result whose ciphertext is not the one its bundle names ends the task", async () => {
  const task = await dispatched(PARAMETERS.query);
  await advance(task);
  const body = roundResult(task.envelope, 0, EVERYONE);
  const outcome = SEALED_OUTCOME.encode({
    ...SEALED_OUTCOME.decode(body.outcome),
    ciphertext: utf8("another"),
  });
  await post(task, rig.network.aggregator, { body: { ...body, outcome } });
  expect(await advance(task)).toMatchObject({
    state: "rejected",
    reason: "EXECUTION_WORKLOAD_FAILED",
  });
});

test("[TL-3][TT-4] a round that stays silent times out with its task, at the execution bound", async () => {
  const task = await dispatched(PARAMETERS.train);
  await advance(task);
  rig.clock.nowMs += EXECUTION_MS - 1;
  expect((await advance(task)).state).toBe("dispatched");
  rig.clock.nowMs += 1;
  expect(await advance(task)).toMatchObject({ state: "timed_out", reason: "EXECUTION_TIMED_OUT" });
  const [round] = await rig.register.subTasks(task.envelope.task_id);
  expect(round?.state).toBe("timed_out");
});

test("an atomic task times out at its own time", async () => {
  const task = await dispatched(PARAMETERS.query);
  await advance(task);
  rig.clock.nowMs += task.envelope.task_timeout;
  expect((await advance(task)).state).toBe("timed_out");
});

test("[PL-7] a coordinator that stopped half way through a dispatch issues the rest, and nothing twice", async () => {
  const task = await dispatched(PARAMETERS.train);
  const { task_id: taskId } = task.envelope;
  await advance(task);
  await rig.store.write((trx) =>
    trx.deleteFrom("work").where("work_id", "like", "%slice:vault-3").execute(),
  );
  await advance(task);
  expect(await issued(taskId)).toEqual([
    "aggregate aggregator 0",
    "slice vault-1 0",
    "slice vault-2 0",
    "slice vault-3 0",
  ]);
  expect(await rig.register.subTasks(taskId)).toHaveLength(1);
});

test("[PL-9] a task goes on in another process from the store alone", async () => {
  const task = await dispatched(PARAMETERS.train);
  await advance(task);
  await finishRound(task, 0);
  await rig.store.close();
  const other = await openCoordinatorRig({
    folder: rig.folder,
    decisions: [artifactRegistered(MODEL, "model")],
  });
  rig = other;
  await advance(task);
  const states = (await other.register.subTasks(task.envelope.task_id)).map(({ state }) => state);
  expect(states).toEqual(["verifying", "dispatched"]);
});

test("a round that cannot be dispatched ends its task, with the code that says why", async () => {
  await rig.store.write((trx) => trx.deleteFrom("artifact").execute());
  const task = await dispatched(PARAMETERS.train);
  expect(await advance(task)).toMatchObject({
    state: "rejected",
    reason: "EXECUTION_WORKLOAD_UNREGISTERED",
  });
  const [round] = await rig.register.subTasks(task.envelope.task_id);
  expect(round).toMatchObject({ state: "rejected", reason: "EXECUTION_WORKLOAD_UNREGISTERED" });
});

test("[CT-6] when a later round fails, the rounds before it end with the task", async () => {
  const task = await dispatched(PARAMETERS.train);
  await advance(task);
  await finishRound(task, 0);
  await advance(task);
  const body = failure("COORDINATION_QUORUM_NOT_MET");
  await post(task, rig.network.aggregator, { round: 1, body });
  expect((await advance(task)).state).toBe("rejected");
  const rounds = await rig.register.subTasks(task.envelope.task_id);
  expect(rounds.map(({ state, reason }) => [state, reason])).toEqual([
    ["rejected", "COORDINATION_QUORUM_NOT_MET"],
    ["rejected", "COORDINATION_QUORUM_NOT_MET"],
  ]);
});
