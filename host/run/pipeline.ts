import { SymphonyError, TASK_LIFECYCLE, type TaskEnvelope } from "#protocol";
import { Deadlines } from "../queue/index.ts";
import { requireEnvelope } from "../execution/index.ts";
import type { TaskRow } from "../tasks/index.ts";
import { SETTLE_MS_MAX, type PipelineContext } from "./pipeline/context.ts";
import { delivery, release } from "./pipeline/deliver.ts";
import { collectConsumption, complete, followChallenge, leaveEpoch } from "./pipeline/settle.ts";
import { verify } from "./pipeline/verify.ts";

/** Most steps one visit takes a task; a bound, not a limit that tasks meet. */
const STEPS_MAX = 16;
/** A task is visited that often whatever happens: not all that it may wait for has a time, or tells. */
const VISIT_MS_MAX = 60_000;

/**
 * Moves tasks through the three planes. Everything it decides follows from the store, so it can be stopped anywhere
 * and started again: each visit takes a task as far as it can go now. It is visited when something comes for it, and
 * when the next of its times is up.
 */
export class Pipeline {
  readonly #context: PipelineContext;
  readonly #busy = new Map<string, { again: boolean }>();
  /** When each task with something left to do is to be visited. */
  readonly #due = new Map<string, number>();
  readonly #deadlines = new Deadlines(
    (taskId) => this.#due.get(taskId),
    () => this.#due.keys(),
  );
  #resumed = false;

  constructor(context: PipelineContext) {
    this.#context = context;
  }

  /** Visits one task; visits of one task never overlap, and one asked for meanwhile happens after. */
  async visit(taskId: string): Promise<void> {
    const busy = this.#busy.get(taskId);
    if (busy !== undefined) {
      busy.again = true;
      return;
    }
    const mark = { again: true };
    this.#busy.set(taskId, mark);
    try {
      while (mark.again) {
        mark.again = false;
        this.#visitAt(taskId, await this.#advance(taskId));
      }
    } catch (error) {
      this.#visitAt(taskId, this.#afterError(taskId, error));
    } finally {
      this.#busy.delete(taskId);
    }
  }

  /** Ends challenges, settles the epoch when it is time, and visits every task that is due. */
  async tick(): Promise<void> {
    const { settlement, nowMs } = this.#context;
    if (!this.#resumed) await this.#resume();
    const resolved = await settlement.resolveChallenges();
    const finalized = await settlement.finalizeDue();
    for (const taskId of finalized?.taskIds ?? []) await complete(this.#context, taskId);
    const now = nowMs();
    const changed = [...resolved.map(({ taskId }) => taskId), ...(finalized?.taskIds ?? [])];
    for (const taskId of changed) this.#visitAt(taskId, now);
    for (const taskId of this.#takeDue(now)) await this.visit(taskId);
  }

  /** Notes tasks with something left to do, and those that ended, whose end the process before may not have told. */
  async #resume(): Promise<void> {
    const { register, nowMs } = this.#context;
    const tasks = [...(await register.ended()), ...(await register.active())];
    for (const taskId of tasks) this.#visitAt(taskId, nowMs());
    this.#resumed = true;
  }

  /** Each is due no more until its visit says when it is again. */
  #takeDue(now: number): string[] {
    const due: string[] = [];
    for (let first = this.#deadlines.firstDue(now); first !== undefined;) {
      this.#due.delete(first);
      due.push(first);
      first = this.#deadlines.firstDue(now);
    }
    return due;
  }

  #visitAt(taskId: string, dueMs: number | null): void {
    if (dueMs === null) {
      this.#due.delete(taskId);
      return;
    }
    this.#due.set(taskId, dueMs);
    this.#deadlines.add(taskId, this.#due.size);
  }

  #afterError(taskId: string, error: unknown): number | null {
    const now = this.#context.nowMs();
    // What is unavailable now, such as cosignatures over a log that has just grown, is tried again.
    if (error instanceof SymphonyError && error.class === "unavailable") return now;
    this.#context.report(taskId, error);
    const isUnknown = error instanceof SymphonyError && error.code === "EXECUTION_TASK_UNKNOWN";
    return isUnknown ? null : now + VISIT_MS_MAX;
  }

  /** @returns When the task is to be visited again; null for one with nothing left to do */
  async #advance(taskId: string): Promise<number | null> {
    const { register, queue, nowMs } = this.#context;
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const row = await register.get(taskId);
      await this.#step(row);
      const after = await register.get(taskId);
      if (after.state === row.state) return this.#nextVisit(after);
      queue.signals.notify(`task:${taskId}`);
    }
    return nowMs();
  }

  /** The next time that something about a task is up. */
  async #nextVisit(row: TaskRow): Promise<number | null> {
    const isOver =
      row.state === "completed"
        ? row.delivered === 1 || row.reason !== null
        : TASK_LIFECYCLE.isTerminal(row.state);
    if (isOver) return null;
    const now = this.#context.nowMs();
    const rounds = await this.#context.register.subTasks(row.task_id);
    const times = [
      row.deadline_ms,
      ...rounds
        .filter(({ state }) => !TASK_LIFECYCLE.isTerminal(state))
        .map(({ deadline_ms }) => deadline_ms),
      ...(row.envelope === null ? [] : [endOf(requireEnvelope(row))]),
    ];
    return Math.min(now + VISIT_MS_MAX, ...times.filter((atMs) => atMs > now));
  }

  async #step(row: TaskRow): Promise<void> {
    switch (row.state) {
      case "accepted":
      case "resolving":
        return this.#context.admission.advance(row);
      case "dispatched":
        return this.#context.execution.advance(row);
      case "verifying":
        return verify(this.#context, row);
      case "awaiting_settlement":
        return collectConsumption(this.#context, row);
      case "completed":
        return release(this.#context, row);
      case "rejected":
      case "timed_out":
        return this.#abort(row);
      case "challenged":
        return followChallenge(this.#context, row);
    }
  }

  /** Tells every Vault that was asked: release what never executed, commit the estimate of what did (PB-4). */
  async #abort(row: TaskRow): Promise<void> {
    const { queue, issuer } = this.#context;
    await leaveEpoch(this.#context, row.task_id);
    for (const { actorId } of await queue.workOf(row.task_id, "admit")) {
      await issuer.issue({
        workId: `${row.task_id}:abort:${actorId}`,
        actorId,
        taskId: row.task_id,
        timeoutMs: ABORT_MS_MAX,
        work: {
          kind: "abort",
          envelope_digest: row.envelope_digest ?? new Uint8Array(32),
          request_digest: row.request_digest,
        },
      });
    }
  }

  /** What the submitter opens the result with. @throws UnavailableError DELIVERY_NOT_READY */
  async delivery(taskId: string): Promise<Uint8Array> {
    return delivery(this.#context, taskId);
  }
}

/** When a task has to have settled, Unix milliseconds. */
function endOf({ admission_timestamp, task_timeout }: TaskEnvelope): number {
  return admission_timestamp + task_timeout;
}

const ABORT_MS_MAX = 30 * SETTLE_MS_MAX;
