import { RefusedError } from "#protocol";
import type { Kysely, Transaction } from "../store/index.ts";
import type { TaskSchema } from "./queries.ts";

/** Money that a task sets aside, minor units, and what its submitter has deposited in all. */
export interface LockRequest {
  readonly amountMinor: number;
  readonly fundsMinor: number;
}

type Reader = Kysely<TaskSchema> | Transaction<TaskSchema>;

/** How a lock is named in the envelope; each task has its own. */
export function lockReference(taskId: string, amountMinor: number): string {
  return `lock-${taskId}-${amountMinor}`;
}

/**
 * Holds a lock against what is left of its submitter's funds: no unit is locked for two tasks, nor one that was spent.
 *
 * @throws {@link RefusedError} POLICY_DECLINED
 */
export async function requireFunds(
  db: Reader,
  actorId: string,
  { amountMinor, fundsMinor }: LockRequest,
): Promise<void> {
  const account = await accountOf(db, actorId);
  if (amountMinor <= fundsMinor - account.locked_minor - account.spent_minor) return;
  throw new RefusedError(
    { code: "POLICY_DECLINED", field: "budget_lock_minor", reason: "funds" },
    "budget_lock_minor: expected at most what the actor has neither locked nor spent",
  );
}

/** Sets money aside for a task. The caller has held it against the funds in the same transaction. */
export async function placeLock(
  trx: Transaction<TaskSchema>,
  lock: {
    readonly taskId: string;
    readonly actorId: string;
    readonly amountMinor: number;
    readonly nowMs: number;
  },
): Promise<void> {
  const { taskId, actorId, amountMinor, nowMs } = lock;
  await trx
    .insertInto("budget_lock")
    .values({
      lock_ref: lockReference(taskId, amountMinor),
      task_id: taskId,
      actor_id: actorId,
      amount_minor: amountMinor,
      state: "locked",
      charged_minor: 0,
      locked_ms: nowMs,
      ended_ms: null,
    })
    .execute();
  await changeAccount(trx, actorId, { lockedMinor: amountMinor, spentMinor: 0 });
}

/**
 * Ends the lock of a task that has ended: what its rewards came to is spent, at most what was locked, and the rest is
 * free again. A task without a lock, or whose lock has ended, changes nothing.
 */
export async function endLock(
  trx: Transaction<TaskSchema>,
  taskId: string,
  { chargedMinor, nowMs }: { readonly chargedMinor: number; readonly nowMs: number },
): Promise<void> {
  const lock = await trx
    .selectFrom("budget_lock")
    .select(["actor_id", "amount_minor"])
    .where("task_id", "=", taskId)
    .where("state", "=", "locked")
    .executeTakeFirst();
  if (lock === undefined) return;
  const charged = Math.min(lock.amount_minor, chargedMinor);
  await trx
    .updateTable("budget_lock")
    .set({
      state: charged > 0 ? "settled" : "released",
      charged_minor: charged,
      ended_ms: nowMs,
    })
    .where("task_id", "=", taskId)
    .execute();
  await changeAccount(trx, lock.actor_id, { lockedMinor: -lock.amount_minor, spentMinor: charged });
}

/** What a submitter has locked and spent, minor units. */
export async function accountOf(
  db: Reader,
  actorId: string,
): Promise<{ readonly locked_minor: number; readonly spent_minor: number }> {
  const row = await db
    .selectFrom("submitter_account")
    .select(["locked_minor", "spent_minor"])
    .where("actor_id", "=", actorId)
    .executeTakeFirst();
  return row ?? { locked_minor: 0, spent_minor: 0 };
}

async function changeAccount(
  trx: Transaction<TaskSchema>,
  actor_id: string,
  change: { readonly lockedMinor: number; readonly spentMinor: number },
): Promise<void> {
  const before = await accountOf(trx, actor_id);
  const sums = {
    locked_minor: before.locked_minor + change.lockedMinor,
    spent_minor: before.spent_minor + change.spentMinor,
  };
  await trx
    .insertInto("submitter_account")
    .values({ actor_id, ...sums })
    .onConflict((conflict) => conflict.column("actor_id").doUpdateSet(sums))
    .execute();
}
