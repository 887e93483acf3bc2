import {
  EXECUTION_RESULT_BUNDLE,
  GOVERNANCE_SNAPSHOT,
  RefusedError,
  SEALED_OUTCOME,
  SymphonyError,
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  sealedOutcomeDigest,
  equalBytes,
  governanceOnceOf,
  parseCose,
  roundsOf,
  type ErrorCode,
  type ExecutionResultBundle,
  type GovernanceSnapshot,
  type GovernanceState,
  type RoundMessage,
  type SealedOutcome,
  type TaskEnvelope,
} from "#protocol";
import type { Queue, WorkIssuer } from "../queue/index.ts";
import {
  subTaskId,
  type TaskRegister,
  type TaskRow,
  type TaskTransaction,
} from "../tasks/index.ts";
import { readRoundMessage } from "./round-board.ts";

/** The only attempt of a round: a new one would need new budget, so a failed round fails its task. */
export const FIRST_ATTEMPT = 0;

/** What the Execution Plane needs of the rest of the coordinator. */
export interface ExecutionContext {
  readonly coordinatorId: string;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly issuer: WorkIssuer;
  readonly governanceState: () => GovernanceState;
  readonly governanceSnapshot: () => GovernanceSnapshot;
  /** Bytes of a registered model or step graph. @throws when it was never uploaded. */
  readonly artifact: (digest: Uint8Array) => Promise<Uint8Array>;
  readonly assignEpoch: (trx: TaskTransaction, taskId: string) => Promise<number>;
  readonly nowMs: () => number;
}

/** What a round left on the board. */
export interface RoundResult {
  readonly signedBundle: Uint8Array;
  readonly bundle: ExecutionResultBundle;
  readonly outcome: SealedOutcome;
}

/** Where a round stands. */
type RoundState =
  | { readonly state: "running" }
  | { readonly state: "done"; readonly result: RoundResult }
  | { readonly state: "failed"; readonly code: ErrorCode };

/** What was read of a round's board so far: up to where, and what decided it. */
interface RememberedRound {
  after: number;
  result: RoundMessage | undefined;
  failure: RoundMessage | undefined;
}

/** Rounds kept in memory; each holds one sealed result. */
const ROUNDS_REMEMBERED = 64;

/**
 * The Execution Plane's part at the coordinator: fans out rounds, waits for their signed results, and moves the task.
 *
 * Sees envelopes, commitments, signatures and sealed bytes only (XP-9).
 */
export class ExecutionPlane {
  readonly #context: ExecutionContext;
  readonly #rounds = new Map<string, RememberedRound>();

  constructor(context: ExecutionContext) {
    this.#context = context;
  }

  /**
   * Moves a task in `dispatched` as far as it can go now: the next round, verification, or its end.
   *
   * A round that cannot be run ends its task with the code that says why; what is only unavailable is tried again
   * until the task times out.
   *
   * @throws UnavailableError for the caller to try again.
   */
  async advance(row: TaskRow): Promise<void> {
    const envelope = requireEnvelope(row);
    try {
      await this.#advanceRounds(row, envelope);
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      if (error.class !== "unavailable") return this.#fail(row, error.code);
      await this.#expire(row);
      throw error;
    }
  }

  async #advanceRounds(row: TaskRow, envelope: TaskEnvelope): Promise<void> {
    const rounds = roundsOf(envelope);
    let previous: RoundResult | null = null;
    for (let round = 0; round < rounds; round += 1) {
      const state: RoundState = await this.#advanceRound({ row, envelope, round, previous });
      if (state.state === "running") return this.#expire(row);
      if (state.state === "failed") return this.#fail(row, state.code);
      previous = state.result;
    }
    await this.#context.register.transition(row.task_id, {
      to: "verifying",
      actorId: this.#context.coordinatorId,
    });
  }

  /** Signed messages of a round as bytes, in the order they came. */
  async messages(taskId: string, round: number, from: number = 0) {
    const all = [];
    for (let after = from; ;) {
      const page = await this.#context.queue.messages({ taskId, round, after, waitMs: 0 });
      all.push(...page);
      const last = page.at(-1);
      if (last === undefined) return all;
      after = last.position;
    }
  }

  /** What a finished round left, or undefined. */
  async result(envelope: TaskEnvelope, round: number): Promise<RoundResult | undefined> {
    const { body } = (await this.#decisiveMessage(envelope, round)) ?? {};
    if (body?.kind === "round_result") return readResult(body.bundle, body.outcome);
    if (body?.kind === "slice_result") return readResult(body.bundle, body.sealed);
    return undefined;
  }

  /**
   * The message that ends a round: its decider's result, or failing that its decider's failure. The board only grows
   * and a sender has one message of a kind, so what was read once is not read again.
   */
  async #decisiveMessage(envelope: TaskEnvelope, round: number): Promise<RoundMessage | undefined> {
    const key = `${envelope.task_id}/${round}`;
    const known = this.#rounds.get(key) ?? { after: 0, result: undefined, failure: undefined };
    if (known.result !== undefined) return known.result;
    this.#rememberRound(key, known);
    const decider = deciderOf(envelope);
    const kind = envelope.coordination_envelope === null ? "slice_result" : "round_result";
    const of = { governance: this.#context.governanceState(), epochId: envelope.epoch_id };
    for (const { position, message } of await this.messages(envelope.task_id, round, known.after)) {
      known.after = position;
      const verified = readRoundMessage(message, of);
      if (verified?.sender !== decider) continue;
      if (verified.body.kind === kind) known.result = verified;
      if (verified.body.kind === "failed") known.failure = verified;
    }
    return known.result ?? known.failure;
  }

  /** Keeps a bounded number of rounds in mind; a forgotten one is read again from the board. */
  #rememberRound(key: string, round: RememberedRound): void {
    this.#rounds.delete(key);
    this.#rounds.set(key, round);
    const [oldest] = this.#rounds.keys();
    if (this.#rounds.size > ROUNDS_REMEMBERED && oldest !== undefined) this.#rounds.delete(oldest);
  }

  async #advanceRound(args: {
    readonly row: TaskRow;
    readonly envelope: TaskEnvelope;
    readonly round: number;
    readonly previous: RoundResult | null;
  }): Promise<RoundState> {
    const { envelope, round } = args;
    const message = await this.#decisiveMessage(envelope, round);
    if (message === undefined) {
      await this.#dispatch(args);
      return { state: "running" };
    }
    const { body } = message;
    if (body.kind === "failed") return { state: "failed", code: body.code };
    const result = await this.result(envelope, round);
    if (result === undefined) return { state: "failed", code: "EXECUTION_WORKLOAD_FAILED" };
    await this.#endSubTask(envelope, round);
    return { state: "done", result };
  }

  /** Issues the work of a round; does nothing when it was issued before. */
  async #dispatch(args: {
    readonly row: TaskRow;
    readonly envelope: TaskEnvelope;
    readonly round: number;
    readonly previous: RoundResult | null;
  }): Promise<void> {
    const { envelope, round, previous } = args;
    const { issuer, queue } = this.#context;
    const prefix = `${envelope.task_id}:r${round}`;
    const last = envelope.authorization_context.at(-1)?.vault_id ?? "";
    if (await queue.has(`${prefix}:slice:${last}`)) return;
    await this.#openSubTask(args.row, envelope, round);
    const common = {
      envelope: TASK_ENVELOPE.encode(envelope),
      governance: GOVERNANCE_SNAPSHOT.encode(this.#context.governanceSnapshot()),
      round,
      attempt: FIRST_ATTEMPT,
      artifact: await this.#artifactOf(envelope),
    };
    const timeoutMs = this.#executionMs(envelope);
    const coordination = envelope.coordination_envelope;
    if (coordination !== null) {
      const carried =
        previous === null
          ? null
          : { bundle: previous.signedBundle, ciphertext: previous.outcome.ciphertext };
      await issuer.issue({
        workId: `${prefix}:aggregate`,
        actorId: coordination.aggregator_id,
        taskId: envelope.task_id,
        timeoutMs,
        work: { kind: "aggregate", ...common, previous: carried },
      });
    }
    for (const { vault_id: vaultId } of envelope.authorization_context) {
      const share = previous?.outcome.shares.find((each) => each.vault_id === vaultId);
      if (previous !== null && share === undefined) continue;
      await issuer.issue({
        workId: `${prefix}:slice:${vaultId}`,
        actorId: vaultId,
        taskId: envelope.task_id,
        timeoutMs,
        work: {
          kind: "slice",
          ...common,
          previous:
            previous === null || share === undefined
              ? null
              : { bundle: previous.signedBundle, sealed_share: share.sealed },
        },
      });
    }
  }

  #executionMs(envelope: TaskEnvelope): number {
    const { policy } = governanceOnceOf(this.#context.governanceState(), envelope);
    return policy.classes[envelope.task_class].execution_ms_max;
  }

  async #artifactOf(envelope: TaskEnvelope): Promise<Uint8Array | null> {
    const { parameters } = envelope;
    return "model_digest" in parameters ? this.#context.artifact(parameters.model_digest) : null;
  }

  /** Each round of a composite task is a sub-task with a lifecycle of its own (CT-1, CT-5). */
  async #openSubTask(row: TaskRow, envelope: TaskEnvelope, round: number): Promise<void> {
    if (envelope.iteration_policy === null) return;
    const { register, coordinatorId, nowMs } = this.#context;
    const taskId = subTaskId(row.task_id, round);
    await register.create({
      taskId,
      parentTaskId: row.task_id,
      round,
      taskClass: row.task_class,
      signedRequest: row.signed_request,
      requestDigest: row.request_digest,
      place: async (trx) => ({
        epochId: await this.#context.assignEpoch(trx, taskId),
        policyVersion: row.policy_version,
      }),
      deadlineMs: nowMs() + this.#executionMs(envelope),
      controls: null,
      envelope,
    });
    for (const to of ["resolving", "dispatched"] as const) {
      const subTask = await register.get(taskId);
      if (subTask.state === "dispatched" || subTask.state === to) continue;
      await register.transition(taskId, { to, actorId: coordinatorId });
    }
  }

  async #endSubTask(envelope: TaskEnvelope, round: number): Promise<void> {
    if (envelope.iteration_policy === null) return;
    const { register, coordinatorId: actorId } = this.#context;
    const subTask = await register.get(subTaskId(envelope.task_id, round));
    if (subTask.state !== "dispatched") return;
    await register.transition(subTask.task_id, { to: "verifying", actorId });
  }

  async #expire(row: TaskRow): Promise<void> {
    const subTasks = await this.#context.register.subTasks(row.task_id);
    const running = subTasks.find(({ state }) => state === "dispatched");
    const deadlineMs = Math.min(row.deadline_ms, running?.deadline_ms ?? row.deadline_ms);
    if (this.#context.nowMs() < deadlineMs) return;
    await this.#fail(row, "EXECUTION_TIMED_OUT");
  }

  /** Ends a task, and with it every round that has not ended: a composite task stands or falls whole (CT-6). */
  async #fail(row: TaskRow, code: ErrorCode): Promise<void> {
    const { register, coordinatorId: actorId } = this.#context;
    for (const subTask of await register.subTasks(row.task_id)) {
      if (TASK_LIFECYCLE.isTerminal(subTask.state)) continue;
      const to = subTask.state === "resolving" ? "rejected" : endOf(code);
      await register.transition(subTask.task_id, { to, actorId, reason: code });
    }
    await register.transition(row.task_id, { to: endOf(code), actorId, reason: code });
  }
}

/** Where a failure leads: the platform's is a time-out, everything else a rejection (TT-4). */
function endOf(code: ErrorCode): "timed_out" | "rejected" {
  return code === "TEE_ENCLAVE_DIED" || code === "EXECUTION_TIMED_OUT" ? "timed_out" : "rejected";
}

/** Whose signed result ends a round: the aggregator's, or the one Vault's. */
function deciderOf(envelope: TaskEnvelope): string {
  return (
    envelope.coordination_envelope?.aggregator_id ??
    envelope.authorization_context[0]?.vault_id ??
    ""
  );
}

/** The frozen envelope of a task past admission. @throws RefusedError EXECUTION_TASK_UNKNOWN */
export function requireEnvelope(row: TaskRow): TaskEnvelope {
  if (row.envelope === null) {
    throw new RefusedError(
      { code: "EXECUTION_TASK_UNKNOWN" },
      "task: expected one that admission has dispatched",
    );
  }
  return TASK_ENVELOPE.decode(row.envelope);
}

function readResult(signedBundle: Uint8Array, outcomeBytes: Uint8Array): RoundResult | undefined {
  const bundle = EXECUTION_RESULT_BUNDLE.decode(parseCose(signedBundle).payload);
  const outcome = SEALED_OUTCOME.decode(outcomeBytes);
  const digest = sealedOutcomeDigest(outcome.ciphertext);
  if (!equalBytes(digest, bundle.sealed_digest)) return undefined;
  return { signedBundle, bundle, outcome };
}
