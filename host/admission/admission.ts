import {
  GOVERNANCE_SNAPSHOT,
  RefusedError,
  SymphonyError,
  TASK_REQUEST,
  policyVersionIn,
  type GovernanceSnapshot,
  type GovernanceState,
} from "#protocol";
import type { Queue, WorkIssuer } from "../queue/index.ts";
import { judgeRequest, taskIdOf, verifyRequest } from "../requests/index.ts";
import type { TaskRegister, TaskRow, TaskTransaction } from "../tasks/index.ts";
import { controlsOf } from "./controls.ts";
import { dryRunAdmission, type AdmissionDryRun } from "./dry-run.ts";
import { assembleEnvelope, readDecisions } from "./envelope.ts";
import { planAdmission } from "./plan.ts";

/** What the Admission Plane needs of the rest of the coordinator. */
export interface AdmissionContext {
  readonly coordinatorId: string;
  readonly register: TaskRegister;
  readonly queue: Queue;
  readonly issuer: WorkIssuer;
  readonly governanceState: () => GovernanceState;
  readonly governanceSnapshot: () => GovernanceSnapshot;
  /** The epoch a task or sub-task belongs to: the one open in the write that takes it. */
  readonly assignEpoch: (trx: TaskTransaction, taskId: string) => Promise<number>;
  readonly nowMs: () => number;
}

/**
 * The Admission Plane: from a signed request to an immutable TaskEnvelope, or a deterministic rejection.
 *
 * `submit` judges what needs no Vault; `advance` asks each Vault, which alone decides about its records.
 */
export class AdmissionPlane {
  readonly #context: AdmissionContext;
  /** Tasks whose Vaults this process has asked: until all have answered there is nothing new to judge. */
  readonly #asked = new Set<string>();

  constructor(context: AdmissionContext) {
    this.#context = context;
  }

  /**
   * Takes a request. Sending the same bytes again names the same task, however old they are; other bytes under its
   * request identifier are a replay.
   *
   * @throws SymphonyError as `verifyRequest`, `judgeRequest` and `takeTask`
   */
  async submit(signedRequest: Uint8Array): Promise<{ readonly taskId: string }> {
    const { register, nowMs } = this.#context;
    const state = this.#context.governanceState();
    const { request, requestDigest } = verifyRequest(signedRequest, state, TASK_REQUEST);
    const taskId = taskIdOf(requestDigest);
    if (await register.has(taskId)) return { taskId };
    judgeRequest({ request, governance: state, nowMs: nowMs(), vaultId: null });
    await register.create({
      taskId,
      parentTaskId: null,
      round: 0,
      taskClass: request.task_class,
      signedRequest,
      requestDigest,
      place: async (trx) => {
        const epochId = await this.#context.assignEpoch(trx, taskId);
        const policyVersion = policyVersionOf(this.#context.governanceState(), epochId);
        return { epochId, policyVersion };
      },
      deadlineMs: nowMs() + state.policy.admission.resolving_timeout_ms,
      controls: controlsOf(request, state),
    });
    return { taskId };
  }

  /** What would come of a request; see {@link AdmissionDryRun}. @throws as `dryRunAdmission` */
  async dryRun(signedQuestion: Uint8Array): Promise<AdmissionDryRun> {
    const { register, governanceState, nowMs } = this.#context;
    return dryRunAdmission(signedQuestion, { state: governanceState(), nowMs: nowMs(), register });
  }

  /** Moves a task in `accepted` or `resolving` as far as it can go now. */
  async advance(row: TaskRow): Promise<void> {
    const { register, coordinatorId, nowMs } = this.#context;
    if (row.state === "accepted") {
      if (nowMs() >= row.deadline_ms) {
        await register.transition(row.task_id, {
          to: "timed_out",
          actorId: coordinatorId,
          reason: "EXECUTION_TIMED_OUT",
        });
        return;
      }
      await register.transition(row.task_id, { to: "resolving", actorId: coordinatorId });
      return;
    }
    if (row.state === "resolving") await this.#resolveOrReject(row);
  }

  /** Resolving has a deadline whatever goes wrong; only what is unavailable is tried again before it. */
  async #resolveOrReject(row: TaskRow): Promise<void> {
    try {
      await this.#resolve(row);
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      if (error.class === "unavailable" && this.#context.nowMs() < row.deadline_ms) throw error;
      this.#asked.delete(row.task_id);
      await this.#context.register.transition(row.task_id, {
        to: "rejected",
        actorId: this.#context.coordinatorId,
        reason: error.code,
      });
    }
  }

  async #askVaults(row: TaskRow): Promise<void> {
    const { issuer, governanceState, governanceSnapshot } = this.#context;
    const state = governanceState();
    // A Vault decides by the active version alone: one that has been succeeded admits nothing new.
    if (state.policy.policy_version_id !== row.policy_version) throw superseded(row.policy_version);
    const plan = planAdmission(row.signed_request, state, row.created_ms);
    const governance = GOVERNANCE_SNAPSHOT.encode(governanceSnapshot());
    for (const vaultId of plan.request.vault_ids) {
      await issuer.issue({
        workId: `${row.task_id}:admit:${vaultId}`,
        actorId: vaultId,
        taskId: row.task_id,
        timeoutMs: state.policy.admission.resolving_timeout_ms,
        work: { kind: "admit", signed_request: row.signed_request, governance },
      });
    }
  }

  async #resolve(row: TaskRow): Promise<void> {
    const { queue, register, coordinatorId, nowMs } = this.#context;
    const asked = await queue.workOf(row.task_id, "admit");
    const late = nowMs() >= row.deadline_ms;
    const waiting = asked.some(({ done }) => !done);
    if (this.#asked.has(row.task_id) && waiting && !late) return;
    const state = governanceUnder(row.policy_version, this.#context.governanceState());
    const plan = planAdmission(row.signed_request, state, row.created_ms);
    if (asked.length < plan.request.vault_ids.length) await this.#askVaults(row);
    this.#asked.add(row.task_id);
    if (!late && asked.filter(({ done }) => done).length < plan.request.vault_ids.length) return;
    const answers = new Map<string, Uint8Array>();
    for (const { actorId, answer } of asked) if (answer !== null) answers.set(actorId, answer);
    this.#asked.delete(row.task_id);
    const admissionMs = nowMs();
    const envelope = assembleEnvelope({
      plan,
      state,
      decisions: readDecisions(plan, state, answers),
      taskId: row.task_id,
      epochId: row.epoch_id,
      admissionMs,
    });
    await register.transition(row.task_id, {
      to: "dispatched",
      actorId: coordinatorId,
      envelope,
      deadlineMs: admissionMs + envelope.task_timeout,
    });
  }
}

/** The version active in an epoch that has begun; the active one before any of its epochs is known. */
function policyVersionOf(state: GovernanceState, epochId: number): string {
  const version = policyVersionIn(state, epochId);
  return (version?.policy ?? state.policy).policy_version_id;
}

/** Governance with the version that a task was accepted under, as long as that is valid (GS-6). */
function governanceUnder(policyVersion: string, state: GovernanceState): GovernanceState {
  const version = state.policies.get(policyVersion);
  const isValid = version?.status === "active" || version?.status === "deprecated";
  if (version === undefined || !isValid) throw superseded(policyVersion);
  return { ...state, policy: version.policy };
}

function superseded(policyVersion: string): RefusedError {
  return new RefusedError(
    { code: "POLICY_NOT_ACTIVE", policy_version: policyVersion },
    `policy version ${policyVersion}: expected the active one while Vaults are asked`,
  );
}
