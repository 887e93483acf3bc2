import type { TrustAnchor } from "#attestation";
import {
  DELIVERY,
  GOVERNANCE_SNAPSHOT,
  SymphonyError,
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  UnavailableError,
  governanceOnceOf,
  roundsOf,
  type ChallengeResolution,
  type ErrorCode,
  type GovernanceSnapshot,
  type GovernanceState,
  type TaskEnvelope,
  type TaskState,
} from "#protocol";
import type { AdmissionPlane } from "../admission/index.ts";
import { requireEnvelope, type ExecutionPlane, type RoundResult } from "../execution/index.ts";
import type { FinishedWork, Queue, WorkIssuer } from "../queue/index.ts";
import {
  collectRounds,
  reduceMessage,
  verifyConsumption,
  verifyExecution,
  type Settlement,
  type VerifiedExecution,
} from "../settlement/index.ts";
import type { TaskRegister, TaskRow } from "../tasks/index.ts";

/** The planes and what they share, as the coordinator's wiring hands them over. */
export interface PipelineContext {
  readonly coordinatorId: string;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly issuer: WorkIssuer;
  readonly admission: AdmissionPlane;
  readonly execution: ExecutionPlane;
  readonly settlement: Settlement;
  readonly governanceState: () => GovernanceState;
  readonly governanceSnapshot: () => GovernanceSnapshot;
  /** The state after the first `size` events of the governance log. */
  readonly governanceAt: (size: number) => GovernanceState;
  /** Records that a task or sub-task ended, so that no epoch waits for it. */
  readonly resolveEpoch: (taskId: string) => Promise<void>;
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  /** Told of an error that is no lack of something for a while: a bug. The task stays where it is. */
  readonly report: (taskId: string, error: unknown) => void;
}

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
    for (const taskId of finalized?.taskIds ?? []) await this.#complete(taskId);
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

  async #complete(taskId: string): Promise<void> {
    const { register, coordinatorId } = this.#context;
    for (const subTask of await register.subTasks(taskId)) {
      if (subTask.state !== "awaiting_settlement") continue;
      await register.transition(subTask.task_id, { to: "completed", actorId: coordinatorId });
    }
    const row = await register.get(taskId);
    if (row.state !== "awaiting_settlement") return;
    await register.transition(taskId, { to: "completed", actorId: coordinatorId });
    await this.#leaveEpoch(taskId);
  }

  /** What has ended is deferred to no later epoch. */
  async #leaveEpoch(taskId: string): Promise<void> {
    const { register, resolveEpoch } = this.#context;
    const subTasks = await register.subTasks(taskId);
    for (const { task_id } of subTasks) await resolveEpoch(task_id);
    await resolveEpoch(taskId);
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
        return this.#verify(row);
      case "awaiting_settlement":
        return this.#collectConsumption(row);
      case "completed":
        return this.#release(row);
      case "rejected":
      case "timed_out":
        return this.#abort(row);
      case "challenged":
        return this.#followChallenge(row);
    }
  }

  /** Everything an outsider could verify of the task's rounds, from the board alone, under one governance state. */
  async #verifiedExecution(
    envelope: TaskEnvelope,
    governance: GovernanceState,
  ): Promise<VerifiedExecution> {
    const messages = [];
    for (let round = 0; round < roundsOf(envelope); round += 1) {
      for (const { message } of await this.#context.execution.messages(envelope.task_id, round)) {
        const reduced = reduceMessage(message);
        if (reduced !== null) messages.push(reduced);
      }
    }
    return verifyExecution({
      envelope,
      governance,
      anchors: this.#context.anchors,
      rounds: collectRounds(messages, envelope),
    });
  }

  async #verify(row: TaskRow): Promise<void> {
    const { register, coordinatorId } = this.#context;
    const envelope = requireEnvelope(row);
    const governanceSize = this.#context.governanceSnapshot().events.length;
    let code: ErrorCode | null = null;
    try {
      await this.#verifiedExecution(envelope, this.#context.governanceAt(governanceSize));
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      code = error.code;
    }
    for (const subTask of await register.subTasks(row.task_id)) {
      if (subTask.state !== "verifying") continue;
      await register.transition(
        subTask.task_id,
        code === null
          ? { to: "awaiting_settlement", actorId: coordinatorId }
          : { to: "rejected", actorId: coordinatorId, reason: code },
      );
    }
    await register.transition(
      row.task_id,
      code === null
        ? {
            to: "awaiting_settlement",
            actorId: coordinatorId,
            governanceSize,
            deadlineMs: this.#context.nowMs() + this.#vaultTimeoutMs(envelope),
          }
        : { to: "rejected", actorId: coordinatorId, reason: code },
    );
  }

  #vaultTimeoutMs(envelope: TaskEnvelope): number {
    const { policy } = governanceOnceOf(this.#context.governanceState(), envelope);
    return policy.multi_vault.per_vault_timeout_ms;
  }

  async #results(envelope: TaskEnvelope): Promise<RoundResult[]> {
    const results: RoundResult[] = [];
    for (let round = 0; round < roundsOf(envelope); round += 1) {
      const result = await this.#context.execution.result(envelope, round);
      if (result !== undefined) results.push(result);
    }
    return results;
  }

  /** Asks the Vaults to commit what was consumed, then hands the task to settlement. */
  async #collectConsumption(row: TaskRow): Promise<void> {
    const { queue, settlement, nowMs } = this.#context;
    const envelope = requireEnvelope(row);
    if (await settlement.knows(row.task_id)) return this.#followSettlement(row);
    const asked = await queue.workOf(row.task_id, "settle");
    if (asked.length < envelope.authorization_context.length) {
      await this.#askSettle(row, envelope);
      return;
    }
    const waiting = asked.some(({ done }) => !done);
    if (waiting && nowMs() < row.deadline_ms) return;
    if (await this.#settle(row, envelope, asked)) return;
    if (nowMs() >= envelope.admission_timestamp + envelope.task_timeout) await this.#giveUp(row);
  }

  /** Where settlement has a candidate, the task follows it: what was decided there may not have been told here. */
  async #followSettlement(row: TaskRow): Promise<void> {
    const { register, settlement } = this.#context;
    const challenge = await settlement.challengeOf(row.task_id);
    if (challenge !== null && challenge.resolution === null) {
      const by = { actorId: challenge.challenger, role: "verifier" } as const;
      await register.transition(row.task_id, { to: "challenged", ...by });
      return;
    }
    if (await settlement.isFinal(row.task_id)) await this.#complete(row.task_id);
  }

  /** A task challenged without a challenge is one that was given up. */
  async #followChallenge(row: TaskRow): Promise<void> {
    const challenge = await this.#context.settlement.challengeOf(row.task_id);
    if (challenge === null) return this.#endChallenged(row, "approved", "EXECUTION_TIMED_OUT");
    if (challenge.resolution === null) return;
    await this.#endChallenged(row, challenge.resolution, "VERIFY_RESULT_REJECTED");
  }

  /** Hands the task to settlement with every consumption record that holds. @returns whether there were enough */
  async #settle(
    row: TaskRow,
    envelope: TaskEnvelope,
    asked: readonly FinishedWork[],
  ): Promise<boolean> {
    const governance = this.#context.governanceAt(row.governance_size ?? 0);
    const execution = await this.#verifiedExecution(envelope, governance);
    const records = answersOf(asked).filter((record) => {
      try {
        verifyConsumption(execution, [record], governance);
        return true;
      } catch (error) {
        if (error instanceof SymphonyError) return false;
        throw error;
      }
    });
    if (records.length < (envelope.coordination_envelope?.minimum_vault_quorum ?? 1)) return false;
    await this.#context.settlement.candidate(execution, records);
    return true;
  }

  /** A task that cannot settle in its time is challenged, and the challenge approved (design, section 3). */
  async #giveUp(row: TaskRow): Promise<void> {
    await this.#endChallenged(row, "approved", "EXECUTION_TIMED_OUT");
  }

  async #endChallenged(
    row: TaskRow,
    resolution: ChallengeResolution,
    reason: ErrorCode,
  ): Promise<void> {
    const { register, coordinatorId } = this.#context;
    const by = { actorId: coordinatorId, role: "governance" } as const;
    if (resolution !== "approved") {
      await register.transition(row.task_id, { ...by, resolution, to: "awaiting_settlement" });
      return;
    }
    const rounds = (await register.subTasks(row.task_id)).filter(({ state }) => !isEnd(state));
    for (const { task_id: taskId, state } of [...rounds, row]) {
      if (state !== "challenged") await register.transition(taskId, { ...by, to: "challenged" });
      await register.transition(taskId, { ...by, resolution, to: "rejected", reason });
    }
  }

  async #askSettle(row: TaskRow, envelope: TaskEnvelope): Promise<void> {
    const bundles = (await this.#results(envelope)).map(({ signedBundle }) => signedBundle);
    for (const { vault_id: vaultId } of envelope.authorization_context) {
      await this.#context.issuer.issue({
        workId: `${row.task_id}:settle:${vaultId}`,
        actorId: vaultId,
        taskId: row.task_id,
        timeoutMs: SETTLE_MS_MAX,
        work: { kind: "settle", envelope: TASK_ENVELOPE.encode(envelope), bundles },
      });
    }
  }

  /** Asks for shares of the result key once the settlement is final. */
  async #release(row: TaskRow): Promise<void> {
    if (row.delivered === 1) return;
    const { queue, settlement, issuer, register } = this.#context;
    const envelope = requireEnvelope(row);
    const result = (await this.#results(envelope)).at(-1);
    if (result === undefined) return;
    const asked = await queue.workOf(row.task_id, "release");
    if (asked.length < result.outcome.shares.length) {
      const proof = await settlement.proofFor(row.task_id);
      for (const { vault_id: vaultId, sealed } of result.outcome.shares) {
        await issuer.issue({
          workId: `${row.task_id}:release:${vaultId}`,
          actorId: vaultId,
          taskId: row.task_id,
          timeoutMs: SETTLE_MS_MAX,
          work: {
            kind: "release",
            envelope: TASK_ENVELOPE.encode(envelope),
            governance: GOVERNANCE_SNAPSHOT.encode(this.#context.governanceSnapshot()),
            settlement: proof,
            bundle: result.signedBundle,
            sealed_share: sealed,
          },
        });
      }
      return;
    }
    if (asked.some(({ done }) => !done) && this.#context.nowMs() < row.deadline_ms) return;
    if (answersOf(asked).length < result.bundle.share_threshold) {
      const refused = asked.find(({ code }) => code !== null)?.code ?? "DELIVERY_REFUSED";
      if (asked.every(({ done }) => done)) await register.markUndeliverable(row.task_id, refused);
      return;
    }
    await register.markDelivered(row.task_id);
    queue.signals.notify(`task:${row.task_id}`);
  }

  /** Tells every Vault that was asked: release what never executed, commit the estimate of what did (PB-4). */
  async #abort(row: TaskRow): Promise<void> {
    const { queue, issuer } = this.#context;
    await this.#leaveEpoch(row.task_id);
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
    const row = await this.#context.register.get(taskId);
    if (row.delivered === 0) {
      throw new UnavailableError(
        { code: "DELIVERY_NOT_READY", state: row.state },
        `result: expected a delivered task, got one ${row.state}`,
      );
    }
    const envelope = requireEnvelope(row);
    const result = (await this.#results(envelope)).at(-1);
    const released = await this.#context.queue.workOf(taskId, "release");
    return DELIVERY.encode({
      envelope: TASK_ENVELOPE.encode(envelope),
      execution_bundle: result?.signedBundle ?? new Uint8Array(0),
      settlement: await this.#context.settlement.proofFor(taskId),
      ciphertext: result?.outcome.ciphertext ?? new Uint8Array(0),
      shares: released.flatMap(({ actorId, answer }) =>
        answer === null ? [] : [{ vault_id: actorId, signed: answer }],
      ),
    });
  }
}

const isEnd = (state: TaskState): boolean => TASK_LIFECYCLE.isTerminal(state);

/** A Vault may be away for a day and still commit or release. */
const SETTLE_MS_MAX = 24 * 60 * 60 * 1000;
const ABORT_MS_MAX = 30 * SETTLE_MS_MAX;

function answersOf(work: readonly FinishedWork[]): Uint8Array[] {
  return work.flatMap(({ answer }) => (answer === null ? [] : [answer]));
}
