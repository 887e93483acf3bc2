import {
  RefusedError,
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  UnavailableError,
  assertTaskTransition,
  type CborValue,
  type ChallengeState,
  type ErrorCode,
  type TaskEnvelope,
  type TaskState,
  identifier,
} from "#protocol";
import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import type { Store, Transaction } from "../store/index.ts";
import type { GovernanceSchema } from "../governance/index.ts";
import { endLock } from "./budget-lock.ts";
import { requireControls, type AdmissionControls } from "./controls.ts";
import { ACTIVE_STATES, type StoredTask, type TaskSchema } from "./queries.ts";
import { takeTask, type NewTask } from "./take-task.ts";

/** What the register needs in its store: its own table and the log it writes in the same transaction. */
type RegisterSchema = TaskSchema & ActorLogSchema & GovernanceSchema;

/** A task as the register keeps it. */
export type TaskRow = Omit<StoredTask, "state"> & { readonly state: TaskState };

/** A move along the task lifecycle. */
export interface Transition {
  readonly to: TaskState;
  readonly actorId: string;
  /** Role the actor acts in; the coordinator's unless given. */
  readonly role?: string;
  /** How the challenge ended, when one did. */
  readonly resolution?: ChallengeState;
  readonly reason?: ErrorCode;
  readonly deadlineMs?: number;
  /** Governance events the result was verified under. */
  readonly governanceSize?: number;
  /** What settlement awarded for the task, minor units: taken from its lock when it completes. */
  readonly rewardedMinor?: number;
  /** Freezes the envelope; allowed once, on the way to `dispatched`. */
  readonly envelope?: TaskEnvelope;
}

/**
 * Every task the coordinator knows and where it stands in the one task lifecycle.
 *
 * A transition and its event are one transaction; a transition not in the table throws (TL-5, TL-6).
 */
export class TaskRegister {
  readonly #store: Store<RegisterSchema>;
  readonly #log: ActorLog;
  readonly #nowMs: () => number;

  constructor(store: Store<RegisterSchema>, log: ActorLog, nowMs: () => number) {
    this.#store = store;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /**
   * Takes a task once, with its epoch, its place within the controls and its lock: all of it or nothing, in one write.
   *
   * @returns whether it is new.
   * @throws as `takeTask`
   */
  async create(task: NewTask): Promise<boolean> {
    return this.#store.write((trx) =>
      takeTask(trx, task, { log: this.#log, nowMs: this.#nowMs() }),
    );
  }

  /** What a task would meet if it were taken now; changes nothing. @throws as `requireControls` */
  async requireControls(controls: AdmissionControls): Promise<void> {
    await requireControls(this.#store.db, controls, this.#nowMs());
  }

  /**
   * Moves a task.
   *
   * @throws ConflictError EXECUTION_ILLEGAL_TRANSITION
   * @throws {@link RefusedError} EXECUTION_TASK_UNKNOWN
   */
  async transition(taskId: string, move: Transition): Promise<TaskRow> {
    return this.#store.write(async (trx) => {
      const row = await this.#require(trx, taskId);
      assertTaskTransition({
        from: row.state,
        to: move.to,
        role: move.role ?? "master",
        resolution: move.resolution ?? null,
      });
      const { envelope } = move;
      const frozen =
        envelope === undefined
          ? {}
          : {
              envelope: TASK_ENVELOPE.encode(envelope),
              envelope_digest: TASK_ENVELOPE.digest(envelope),
            };
      const change = {
        state: move.to,
        reason: move.reason ?? null,
        deadline_ms: move.deadlineMs ?? row.deadline_ms,
        governance_size: move.governanceSize ?? row.governance_size,
        ...(row.envelope === null ? frozen : {}),
      };
      await trx.updateTable("task").set(change).where("task_id", "=", taskId).execute();
      if (TASK_LIFECYCLE.isTerminal(move.to)) {
        const chargedMinor = move.to === "completed" ? (move.rewardedMinor ?? 0) : 0;
        await endLock(trx, taskId, { chargedMinor, nowMs: this.#nowMs() });
      }
      await this.#log.append(trx, {
        type: "task_transition",
        taskId: row.parent_task_id ?? taskId,
        body: {
          task_id: taskId,
          from: row.state,
          to: move.to,
          actor_id: move.actorId,
          reason: move.reason ?? null,
          envelope_digest: change.envelope_digest ?? row.envelope_digest,
        },
      });
      return { ...row, ...change };
    });
  }

  /** Records that the submitter can open the result now. No transition: delivery is no part of finality (RD-3). */
  async markDelivered(taskId: string): Promise<void> {
    await this.#store.write(async (trx) => {
      const row = await this.#require(trx, taskId);
      if (row.delivered === 1) return;
      await trx.updateTable("task").set({ delivered: 1 }).where("task_id", "=", taskId).execute();
      await this.#log.append(trx, { type: "task_delivered", taskId, body: { task_id: taskId } });
    });
  }

  /** Records that no more shares will come. The task stays completed: delivery is no part of finality (RD-3). */
  async markUndeliverable(taskId: string, reason: ErrorCode): Promise<void> {
    await this.#store.write(async (trx) => {
      const row = await this.#require(trx, taskId);
      if (row.delivered === 1 || row.reason !== null) return;
      await trx.updateTable("task").set({ reason }).where("task_id", "=", taskId).execute();
      const body = { task_id: taskId, reason };
      await this.#log.append(trx, { type: "task_undeliverable", taskId, body });
    });
  }

  /** Records something about a task that is no transition. */
  async note(taskId: string, type: string, body: { [key: string]: CborValue }): Promise<void> {
    await this.#store.write((trx) => this.#log.append(trx, { type, taskId, body }));
  }

  /** @throws {@link RefusedError} EXECUTION_TASK_UNKNOWN */
  async get(taskId: string): Promise<TaskRow> {
    return this.#require(this.#store.db, taskId);
  }

  async has(taskId: string): Promise<boolean> {
    const row = await this.#store.db
      .selectFrom("task")
      .select("task_id")
      .where("task_id", "=", taskId)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Tasks that still have something to do: not terminal, or completed and still to be delivered. */
  async active(): Promise<string[]> {
    const rows = await this.#store.db
      .selectFrom("task")
      .select("task_id")
      .where("parent_task_id", "is", null)
      .where((where) =>
        where.or([
          where("state", "in", [...ACTIVE_STATES]),
          where.and([
            where("state", "=", "completed"),
            where("delivered", "=", 0),
            where("reason", "is", null),
          ]),
        ]),
      )
      .orderBy("created_ms")
      .orderBy("task_id")
      .execute();
    return rows.map((row) => row.task_id);
  }

  /** Tasks that ended without a result, parents and atomic ones only, oldest first. */
  async ended(): Promise<string[]> {
    const rows = await this.#store.db
      .selectFrom("task")
      .select("task_id")
      .where("parent_task_id", "is", null)
      .where("state", "in", ["rejected", "timed_out"])
      .orderBy("created_ms")
      .orderBy("task_id")
      .execute();
    return rows.map((row) => row.task_id);
  }

  /** Tasks by state, parents and atomic ones only. */
  async counts(): Promise<{ readonly state: string; readonly count: number }[]> {
    return this.#store.db
      .selectFrom("task")
      .select((select) => ["state", select.fn.countAll<number>().as("count")])
      .where("parent_task_id", "is", null)
      .groupBy("state")
      .orderBy("state")
      .execute();
  }

  /** Sub-tasks of a composite task, in round order. */
  async subTasks(parentTaskId: string): Promise<TaskRow[]> {
    const rows = await this.#store.db
      .selectFrom("task")
      .selectAll()
      .where("parent_task_id", "=", parentTaskId)
      .orderBy("round")
      .execute();
    return rows.map((row) => ({ ...row, state: stateOf(row.state) }));
  }

  async #require(
    db: Store<RegisterSchema>["db"] | Transaction<RegisterSchema>,
    taskId: string,
  ): Promise<TaskRow> {
    // Text that can be no identifier is not asked for: a database may refuse it in its own words.
    const row = identifier.safeParse(taskId).success
      ? await db.selectFrom("task").selectAll().where("task_id", "=", taskId).executeTakeFirst()
      : undefined;
    if (row === undefined) {
      throw new RefusedError(
        { code: "EXECUTION_TASK_UNKNOWN" },
        "task: expected the identifier of a known task",
      );
    }
    return { ...row, state: stateOf(row.state) };
  }
}

/** The identifier of one round's sub-task. */
export function subTaskId(taskId: string, round: number): string {
  return `${taskId}.r${round}`;
}

function stateOf(text: string): TaskState {
  if (TASK_LIFECYCLE.isState(text)) return text;
  throw new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE" },
    "task: expected a state of the task lifecycle in the store",
  );
}
