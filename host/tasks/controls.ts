import { LimitError, RefusedError, type TaskClass } from "#protocol";
import type { Kysely, Transaction } from "../store/index.ts";
import { requireFunds, type LockRequest } from "./budget-lock.ts";
import { countRunning, taskOfRequest, type TaskSchema } from "./queries.ts";
import { refilled, type RateLimit, type TokenWindow } from "./token-window.ts";

/** What the policy holds a submitter's new task to, beside other tasks (PV-1). */
export interface AdmissionControls {
  readonly actorId: string;
  /** Used for one request of the actor, ever. */
  readonly requestId: Uint8Array;
  readonly taskClass: TaskClass;
  readonly rate: RateLimit;
  /** Tasks that may run, this one with them: of all submitters, and of this one. */
  readonly runningMax: number;
  readonly actorRunningMax: number;
  /** Null for a class that is free. */
  readonly lock: LockRequest | null;
}

type Reader = Kysely<TaskSchema> | Transaction<TaskSchema>;

/**
 * The step `controls` of admission, in a fixed order: request identifier, rate, room in the network, room for the actor,
 * funds. What it refuses says nothing of other submitters but that the network is full.
 *
 * @returns The actor's rate window as it is now.
 * @throws {@link RefusedError} AUTH_REPLAYED; POLICY_DECLINED; {@link LimitError} POLICY_LIMIT_EXCEEDED
 */
export async function requireControls(
  db: Reader,
  controls: AdmissionControls,
  nowMs: number,
): Promise<TokenWindow> {
  if ((await taskOfRequest(db, controls)) !== undefined) {
    throw new RefusedError(
      { code: "AUTH_REPLAYED", field: "request_id" },
      "request_id: expected one that no other request of this actor had",
    );
  }
  const window = refilled(await readWindow(db, controls), controls.rate, nowMs);
  if (window.tokens < 1) {
    const { tasksMax, windowMs } = controls.rate;
    throw new LimitError(
      { code: "POLICY_LIMIT_EXCEEDED", limit: "rate", max: tasksMax, window_ms: windowMs },
      `task: expected at most ${tasksMax} of class ${controls.taskClass} in ${windowMs} ms`,
    );
  }
  await requireRoom(db, { limit: "running", actorId: null, max: controls.runningMax });
  const { actorId, actorRunningMax: max } = controls;
  await requireRoom(db, { limit: "actor_running", actorId, max });
  if (controls.lock !== null) await requireFunds(db, actorId, controls.lock);
  return window;
}

/** Takes one token of a window as {@link requireControls} found it in the same transaction. */
export async function takeToken(
  trx: Transaction<TaskSchema>,
  { actorId: actor_id, taskClass: task_class }: AdmissionControls,
  window: TokenWindow,
): Promise<void> {
  const left = { tokens: window.tokens - 1, remainder: window.remainder, at_ms: window.atMs };
  await trx
    .insertInto("admission_window")
    .values({ actor_id, task_class, ...left })
    .onConflict((conflict) => conflict.columns(["actor_id", "task_class"]).doUpdateSet(left))
    .execute();
}

async function readWindow(
  db: Reader,
  { actorId, taskClass }: AdmissionControls,
): Promise<TokenWindow | undefined> {
  const row = await db
    .selectFrom("admission_window")
    .select(["tokens", "remainder", "at_ms"])
    .where("actor_id", "=", actorId)
    .where("task_class", "=", taskClass)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return { tokens: row.tokens, remainder: row.remainder, atMs: row.at_ms };
}

async function requireRoom(
  db: Reader,
  args: { readonly limit: string; readonly actorId: string | null; readonly max: number },
): Promise<void> {
  const { limit, actorId, max } = args;
  if ((await countRunning(db, actorId)) < max) return;
  const whose = actorId === null ? "running" : "of the actor running";
  throw new LimitError(
    { code: "POLICY_LIMIT_EXCEEDED", limit, max },
    `tasks: expected fewer than ${max} ${whose}`,
  );
}
