import { TASK_ENVELOPE, TASK_LIFECYCLE, type TaskClass, type TaskEnvelope } from "#protocol";
import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import type { GovernanceSchema } from "../governance/index.ts";
import type { Transaction } from "../store/index.ts";
import { lockReference, placeLock } from "./budget-lock.ts";
import { requireControls, takeToken, type AdmissionControls } from "./controls.ts";
import type { TaskSchema } from "./queries.ts";

/** The transaction a task is taken in. */
export type TaskTransaction = Transaction<TaskSchema & ActorLogSchema & GovernanceSchema>;

/** Where a task belongs. */
export interface TaskPlace {
  readonly epochId: number;
  readonly policyVersion: string;
}

/** What is known of a task when it is first taken. */
export interface NewTask {
  readonly taskId: string;
  readonly parentTaskId: string | null;
  readonly round: number;
  readonly taskClass: TaskClass;
  readonly signedRequest: Uint8Array;
  readonly requestDigest: Uint8Array;
  /** Says where it belongs, in the write that takes it: a task that is not taken belongs nowhere (EP-4). */
  readonly place: (trx: TaskTransaction) => Promise<TaskPlace>;
  readonly deadlineMs: number;
  /** Null for a sub-task, which runs within its parent. */
  readonly controls: AdmissionControls | null;
  /** The frozen envelope, for a sub-task, which shares its parent's. */
  readonly envelope?: TaskEnvelope;
}

/**
 * Takes a task that is not known yet: judged by the controls in the write that takes it, so that of many at once no more
 * are taken than the policy allows.
 *
 * @returns whether it is new.
 * @throws as `requireControls`
 */
export async function takeTask(
  trx: TaskTransaction,
  task: NewTask,
  { log, nowMs }: { readonly log: ActorLog; readonly nowMs: number },
): Promise<boolean> {
  const { taskId, controls, envelope } = task;
  const known = await trx
    .selectFrom("task")
    .select("task_id")
    .where("task_id", "=", taskId)
    .executeTakeFirst();
  if (known !== undefined) return false;
  if (controls !== null) await takeControls(trx, controls, { taskId, nowMs });
  const { epochId, policyVersion } = await task.place(trx);
  await trx
    .insertInto("task")
    .values({
      task_id: taskId,
      parent_task_id: task.parentTaskId,
      round: task.round,
      task_class: task.taskClass,
      state: TASK_LIFECYCLE.initial,
      signed_request: task.signedRequest,
      request_digest: task.requestDigest,
      envelope: envelope === undefined ? null : TASK_ENVELOPE.encode(envelope),
      envelope_digest: envelope === undefined ? null : TASK_ENVELOPE.digest(envelope),
      epoch_id: epochId,
      policy_version: policyVersion,
      reason: null,
      created_ms: nowMs,
      deadline_ms: task.deadlineMs,
      delivered: 0,
      governance_size: null,
      actor_id: controls?.actorId ?? null,
      request_id: controls?.requestId ?? null,
    })
    .execute();
  const lock = controls?.lock ?? null;
  await log.append(trx, {
    type: "task_accepted",
    taskId: task.parentTaskId ?? taskId,
    body: {
      task_id: taskId,
      round: task.round,
      request_digest: task.requestDigest,
      epoch_id: epochId,
      budget_lock_ref: lock === null ? null : lockReference(taskId, lock.amountMinor),
    },
  });
  return true;
}

async function takeControls(
  trx: TaskTransaction,
  controls: AdmissionControls,
  { taskId, nowMs }: { readonly taskId: string; readonly nowMs: number },
): Promise<void> {
  const window = await requireControls(trx, controls, nowMs);
  await takeToken(trx, controls, window);
  const { actorId, lock } = controls;
  if (lock === null) return;
  await placeLock(trx, { taskId, actorId, amountMinor: lock.amountMinor, nowMs });
}
