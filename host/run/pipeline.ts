import { SymphonyError } from "#protocol";
import type { TaskRow } from "../tasks/index.ts";
import { SETTLE_MS_MAX, type PipelineContext } from "./pipeline/context.ts";
import { delivery, release } from "./pipeline/deliver.ts";
import { collectConsumption, complete, followChallenge, leaveEpoch } from "./pipeline/settle.ts";
import { verify } from "./pipeline/verify.ts";

/** Most steps one visit takes a task; a bound, not a limit that tasks meet. */
const STEPS_MAX = 16;

/**
 * Moves tasks through the three planes. Everything it decides follows from the store, so it can be stopped anywhere
 * and started again: each visit takes a task as far as it can go now.
 */
export class Pipeline {
  readonly #context: PipelineContext;
  readonly #busy = new Map<string, { again: boolean }>();
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
        await this.#advance(taskId);
      }
    } catch (error) {
      // What is unavailable now, such as cosignatures over a log that has just grown, is tried again.
      const again = error instanceof SymphonyError && error.class === "unavailable";
      if (!again) this.#context.report(taskId, error);
    } finally {
      this.#busy.delete(taskId);
    }
  }

  /** Visits every task that is not finished, ends challenges and settles the epoch when it is time. */
  async tick(): Promise<void> {
    const { settlement } = this.#context;
    await settlement.resolveChallenges();
    const finalized = await settlement.finalizeDue();
    for (const taskId of finalized?.taskIds ?? []) await complete(this.#context, taskId);
    for (const taskId of await this.#unfinished()) await this.visit(taskId);
  }

  /** Tasks with something left to do; at first also those that ended, whose end the process before may not have told. */
  async #unfinished(): Promise<readonly string[]> {
    const { register } = this.#context;
    const active = await register.active();
    if (this.#resumed) return active;
    this.#resumed = true;
    return [...(await register.ended()), ...active];
  }

  async #advance(taskId: string): Promise<void> {
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const row = await this.#context.register.get(taskId);
      await this.#step(row);
      const after = await this.#context.register.get(taskId);
      if (after.state === row.state) return;
      this.#context.queue.signals.notify(`task:${taskId}`);
    }
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

const ABORT_MS_MAX = 30 * SETTLE_MS_MAX;
