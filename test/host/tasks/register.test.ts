import { afterEach, beforeEach, expect, test } from "vitest";

import { taskIdOf } from "../../../host/requests/index.ts";
import type { NewTask, TaskRegister } from "../../../host/tasks/index.ts";
import {
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  sha256,
  utf8,
  type TaskEnvelope,
  type TaskState,
} from "../../../protocol/index.ts";
import {
  easyControls,
  openCoordinatorRig,
  placedIn,
  removeCoordinatorRig,
  type CoordinatorRig,
} from "../../helpers/coordinator-rig.ts";
import { QUERY } from "../../helpers/evidence-rig.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask } from "../../helpers/network-task.ts";
import { describePlaces } from "../../helpers/store-places.ts";

describePlaces((places) => {
  let rig: CoordinatorRig & { readonly folder: string };
  let envelope: TaskEnvelope;

  beforeEach(async () => {
    rig = await openCoordinatorRig({ at: places.newPlace() });
    const data = customerData(["vault-1", "vault-2", "vault-3"], 10);
    ({ envelope } = await testTask(rig.network, { parameters: QUERY, data }));
  });

  afterEach(() => removeCoordinatorRig(rig));

  function newTask(taskId: string, changes: Partial<NewTask> = {}): NewTask {
    return {
      taskId,
      parentTaskId: null,
      round: 0,
      taskClass: "query",
      signedRequest: utf8("signed"),
      requestDigest: sha256(utf8(taskId)),
      place: placedIn(4),
      deadlineMs: rig.clock.nowMs + 1_000,
      controls: null,
      ...changes,
    };
  }

  const ACTOR = "coordinator";

  /** The shortest way from the start to a state. */
  const PATHS: Readonly<Record<TaskState, readonly TaskState[]>> = {
    accepted: [],
    resolving: ["resolving"],
    dispatched: ["resolving", "dispatched"],
    verifying: ["resolving", "dispatched", "verifying"],
    awaiting_settlement: ["resolving", "dispatched", "verifying", "awaiting_settlement"],
    completed: ["resolving", "dispatched", "verifying", "awaiting_settlement", "completed"],
    challenged: ["resolving", "dispatched", "verifying", "challenged"],
    rejected: ["rejected"],
    timed_out: ["timed_out"],
  };

  async function bring(register: TaskRegister, taskId: string, to: TaskState): Promise<void> {
    await register.create(newTask(taskId));
    for (const state of PATHS[to]) {
      const role = state === "challenged" ? "verifier" : "master";
      await register.transition(taskId, { to: state, actorId: ACTOR, role });
    }
  }

  test("[TL-6] each transition is one signed event with its time and its actor", async () => {
    await rig.register.create(newTask("t-1"));
    const moves = ["resolving", "dispatched", "verifying"] as const;
    for (const [index, to] of moves.entries()) {
      rig.clock.nowMs += 10 + index;
      await rig.register.transition("t-1", { to, actorId: `actor-${index}` });
    }
    rig.clock.nowMs += 100;
    await rig.register.transition("t-1", {
      to: "rejected",
      actorId: ACTOR,
      reason: "VERIFY_RESULT_REJECTED",
    });
    const start = rig.clock.nowMs - 133;
    const told = (await rig.events()).map(({ type, time_ms, actor_id, body }) => ({
      type,
      time_ms: time_ms - start,
      actor_id,
      body,
    }));
    const step = (time_ms: number, from: string, to: string, actor_id: string) => ({
      type: "task_transition",
      time_ms,
      actor_id: ACTOR,
      body: expect.objectContaining({ task_id: "t-1", from, to, actor_id }),
    });
    expect(told).toEqual([
      expect.objectContaining({ type: "task_accepted", time_ms: 0 }),
      step(10, "accepted", "resolving", "actor-0"),
      step(21, "resolving", "dispatched", "actor-1"),
      step(33, "dispatched", "verifying", "actor-2"),
      step(133, "verifying", "rejected", ACTOR),
    ]);
    expect(told.at(-1)?.body).toMatchObject({ reason: "VERIFY_RESULT_REJECTED" });
  });

  test("[TL-2] a task goes forward through every state of the path, and its row says where it is", async () => {
    await bring(rig.register, "t-1", "completed");
    const moved = (await rig.events()).flatMap(({ body }) =>
      typeof body === "object" && body !== null && "to" in body ? [body.to] : [],
    );
    expect(moved).toEqual(PATHS.completed);
    expect((await rig.register.get("t-1")).state).toBe("completed");
  });

  test("[TL-5][XP-1] refuses every unlisted transition and changes neither row nor log", async () => {
    const allowed = new Set(TASK_LIFECYCLE.transitions.map(({ from, to }) => `${from}>${to}`));
    let refused = 0;
    for (const from of TASK_LIFECYCLE.states) {
      await bring(rig.register, `t-${from}`, from);
      const size = rig.log.size;
      for (const to of TASK_LIFECYCLE.states) {
        if (allowed.has(`${from}>${to}`)) continue;
        refused += 1;
        const move = rig.register.transition(`t-${from}`, {
          to,
          actorId: ACTOR,
          role: "governance",
        });
        await expect(move).rejects.toMatchObject({
          code: "EXECUTION_ILLEGAL_TRANSITION",
          details: { from, to },
        });
      }
      expect(rig.log.size).toBe(size);
      expect((await rig.register.get(`t-${from}`)).state).toBe(from);
    }
    expect(refused).toBe(81 - TASK_LIFECYCLE.transitions.length);
  });

  test("[TE-2] the envelope is frozen once: a second one changes nothing", async () => {
    await rig.register.create(newTask("t-1"));
    await rig.register.transition("t-1", { to: "resolving", actorId: ACTOR });
    const frozen = await rig.register.transition("t-1", {
      to: "dispatched",
      actorId: ACTOR,
      envelope,
    });
    expect(frozen.envelope).toEqual(TASK_ENVELOPE.encode(envelope));
    const other = { ...envelope, epsilon_micro: 1 };
    await rig.register.transition("t-1", { to: "verifying", actorId: ACTOR, envelope: other });
    const row = await rig.register.get("t-1");
    expect(row.envelope).toEqual(TASK_ENVELOPE.encode(envelope));
    expect(row.envelope_digest).toEqual(TASK_ENVELOPE.digest(envelope));
    const last = (await rig.events()).at(-1);
    expect(last?.body).toMatchObject({ envelope_digest: TASK_ENVELOPE.digest(envelope) });
  });

  test("[TC-1] class, epoch and policy version stay as they were taken", async () => {
    await bring(rig.register, "t-1", "completed");
    const again = await rig.register.create(
      newTask("t-1", { taskClass: "train", place: placedIn(9) }),
    );
    expect(again).toBe(false);
    expect(await rig.register.get("t-1")).toMatchObject({
      task_class: "query",
      epoch_id: 4,
      policy_version: "policy-1",
    });
  });

  test("the same task twice is one task and one event", async () => {
    expect(await rig.register.create(newTask("t-1"))).toBe(true);
    expect(await rig.register.create(newTask("t-1"))).toBe(false);
    expect(await rig.events()).toHaveLength(1);
  });

  test("an unknown task is refused by name", async () => {
    const unknown = { code: "EXECUTION_TASK_UNKNOWN" };
    await expect(rig.register.get("t-9")).rejects.toMatchObject(unknown);
    const move = rig.register.transition("t-9", { to: "resolving", actorId: ACTOR });
    await expect(move).rejects.toMatchObject(unknown);
    await expect(rig.register.markDelivered("t-9")).rejects.toMatchObject(unknown);
    expect(await rig.register.has("t-9")).toBe(false);
  });

  test("[TL-8] only who may challenge does, and only a resolution ends it", async () => {
    await bring(rig.register, "t-1", "verifying");
    const submitter = { to: "challenged", actorId: "analyst", role: "submitter" } as const;
    await expect(rig.register.transition("t-1", submitter)).rejects.toMatchObject({
      code: "AUTH_ROLE_REFUSED",
    });
    const verifier = { to: "challenged", actorId: "verifier", role: "verifier" } as const;
    await rig.register.transition("t-1", verifier);
    const back = { to: "awaiting_settlement", actorId: ACTOR } as const;
    await expect(rig.register.transition("t-1", back)).rejects.toMatchObject({
      code: "EXECUTION_ILLEGAL_TRANSITION",
    });
    const resolved = { ...back, role: "governance", resolution: "not_confirmed" } as const;
    expect((await rig.register.transition("t-1", resolved)).state).toBe("awaiting_settlement");
  });

  test("[RD-3] delivery is an event, happens once and moves no state", async () => {
    await bring(rig.register, "t-1", "completed");
    const size = rig.log.size;
    await rig.register.markDelivered("t-1");
    await rig.register.markDelivered("t-1");
    const events = (await rig.events()).slice(size);
    expect(events.map(({ type, body }) => [type, body])).toEqual([
      ["task_delivered", { task_id: "t-1" }],
    ]);
    expect(await rig.register.get("t-1")).toMatchObject({ state: "completed", delivered: 1 });
  });

  test("[RD-3] a refused delivery is told once, ends the waiting and leaves the task completed", async () => {
    await bring(rig.register, "t-1", "completed");
    const size = rig.log.size;
    await rig.register.markUndeliverable("t-1", "DELIVERY_REFUSED");
    await rig.register.markUndeliverable("t-1", "SETTLEMENT_INVALID");
    const told = (await rig.events()).slice(size).map(({ type, body }) => [type, body]);
    expect(told).toEqual([["task_undeliverable", { task_id: "t-1", reason: "DELIVERY_REFUSED" }]]);
    const row = await rig.register.get("t-1");
    expect(row).toMatchObject({ state: "completed", delivered: 0, reason: "DELIVERY_REFUSED" });
    expect(await rig.register.active()).toEqual([]);
  });

  test("[AP-5] of tasks that come at once no more are taken than may run", async () => {
    const limited = (name: string): NewTask =>
      newTask(name, { controls: easyControls(name, { runningMax: 3 }) });
    const names = Array.from({ length: 8 }, (_, index) => `t-${index}`);
    const taken = await Promise.allSettled(names.map((name) => rig.register.create(limited(name))));
    expect(taken.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect(await rig.register.active()).toHaveLength(3);
    await rig.register.create(newTask("t-0.r0", { parentTaskId: "t-0" }));
    await rig.register.transition("t-0", { to: "rejected", actorId: ACTOR });
    expect(await rig.register.create(limited("t-late"))).toBe(true);
    await expect(rig.register.create(limited("t-later"))).rejects.toMatchObject({
      code: "POLICY_LIMIT_EXCEEDED",
      details: { limit: "running", max: 3 },
    });
  });

  test("active lists what still has something to do, parents only, oldest first", async () => {
    for (const state of ["accepted", "verifying", "rejected", "timed_out", "completed"] as const) {
      await bring(rig.register, `t-${state}`, state);
      rig.clock.nowMs += 1;
    }
    await bring(rig.register, "t-delivered", "completed");
    await rig.register.markDelivered("t-delivered");
    await rig.register.create(newTask("t-accepted.r0", { parentTaskId: "t-accepted" }));
    expect(await rig.register.active()).toEqual(["t-accepted", "t-verifying", "t-completed"]);
  });

  test("[CT-1] sub-tasks keep their parent and round, and have a lifecycle of their own", async () => {
    await bring(rig.register, "t-1", "dispatched");
    for (const round of [1, 0]) {
      const task = newTask(`t-1.r${round}`, {
        parentTaskId: "t-1",
        round,
        place: placedIn(5 + round),
      });
      await rig.register.create({ ...task, envelope });
    }
    await rig.register.transition("t-1.r0", { to: "resolving", actorId: ACTOR });
    const rows = await rig.register.subTasks("t-1");
    expect(rows.map(({ round, state, epoch_id }) => [round, state, epoch_id])).toEqual([
      [0, "resolving", 5],
      [1, "accepted", 6],
    ]);
    expect((await rig.register.get("t-1")).state).toBe("dispatched");
    const told = (await rig.log.entriesForTask("t-1")).length;
    expect(told).toBe(6);
  });

  test("a task is named by the digest of its request", () => {
    expect(taskIdOf(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(
      "t-000102030405060708090a0b0c0d0e0f",
    );
  });

  test("[PL-7] what the register told is there after the store was closed and opened", async () => {
    await bring(rig.register, "t-1", "verifying");
    const before = { row: await rig.register.get("t-1"), events: await rig.events() };
    await rig.store.close();
    const reopened = await openCoordinatorRig({ at: rig.at, folder: rig.folder });
    try {
      expect(await reopened.register.get("t-1")).toEqual(before.row);
      expect(await reopened.events()).toEqual(before.events);
      expect(await reopened.register.active()).toEqual(["t-1"]);
    } finally {
      await reopened.close();
    }
  });
});
