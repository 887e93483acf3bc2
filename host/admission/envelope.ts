import {
  RefusedError,
  SymphonyError,
  VAULT_DECISION,
  activeActor,
  equalBytes,
  iterationPolicyOf,
  policyDigest,
  taskKeyOf,
  type CoordinationEnvelope,
  type GovernanceState,
  type RegisteredActor,
  type TaskEnvelope,
  type VaultDecision,
} from "#protocol";
import { roundsOfRequest } from "../requests/index.ts";
import { lockReference } from "../tasks/index.ts";
import type { AdmissionPlan } from "./plan.ts";

type Reserved = Extract<VaultDecision["outcome"], { decision: "reserved" }>;

/** A Vault that reserved, with what it reserved. */
export interface Participant {
  readonly vaultId: string;
  readonly decisionDigest: Uint8Array;
  readonly outcome: Reserved;
}

/** What the Vaults' signed answers come to. */
export interface Decisions {
  readonly participants: readonly Participant[];
  /** Vaults that declined, with their codes. */
  readonly declined: readonly { readonly vaultId: string; readonly code: string }[];
}

/**
 * Verifies signed decisions on one request and sorts them by Vault.
 *
 * Bytes that are not a Vault's own signed decision on this request, or by another policy version than `state` has, or
 * that reserve less than the request asks for, count as no answer: one Vault cannot keep a task from the others (MV-3).
 */
export function readDecisions(
  plan: AdmissionPlan,
  state: GovernanceState,
  answers: ReadonlyMap<string, Uint8Array>,
): Decisions {
  const participants: Participant[] = [];
  const declined: { vaultId: string; code: string }[] = [];
  const { policy_version_id: policyVersion } = state.policy;
  for (const vaultId of plan.request.vault_ids) {
    const answer = answers.get(vaultId);
    if (answer === undefined) continue;
    const decision = verifyDecision(answer, activeActor(state, vaultId), state);
    if (decision?.vault_id !== vaultId) continue;
    if (!equalBytes(decision.request_digest, plan.requestDigest)) continue;
    const { outcome } = decision;
    if (outcome.decision === "reserved" && !isWhole(outcome, plan, policyVersion)) continue;
    if (outcome.decision === "declined") declined.push({ vaultId, code: outcome.code });
    else participants.push({ vaultId, decisionDigest: VAULT_DECISION.digest(decision), outcome });
  }
  return { participants, declined };
}

/** Whether a reservation is what the request asks for: nobody downstream would run an envelope with less (AP-8). */
function isWhole(outcome: Reserved, { request }: AdmissionPlan, policyVersion: string): boolean {
  return (
    outcome.policy_version === policyVersion &&
    outcome.epsilon_micro >= request.epsilon_micro &&
    outcome.share_commitments.length === roundsOfRequest(request)
  );
}

function verifyDecision(
  answer: Uint8Array,
  vault: RegisteredActor,
  { epoch }: GovernanceState,
): VaultDecision | undefined {
  try {
    return VAULT_DECISION.verify(answer, taskKeyOf(vault, answer, epoch.epochId));
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return undefined;
  }
}

/** Fewest Vaults with which a task of this request can go on: most of those it names, so that no two groups could. */
export function quorumOf(plan: AdmissionPlan, state: GovernanceState): number {
  if (plan.request.vault_ids.length === 1) return 1;
  const { minimum_vault_quorum: quorum } = state.policy.multi_vault;
  const forTraining =
    plan.request.task_class === "train" ? state.policy.privacy.minimum_train_vaults : 0;
  const majority = Math.floor(plan.request.vault_ids.length / 2) + 1;
  return Math.max(majority, quorum, forTraining);
}

/**
 * Assembles the immutable TaskEnvelope of an admitted request (AP-8, TE-1).
 *
 * Every field follows from the arguments, so equal arguments give equal bytes.
 *
 * @throws {@link RefusedError} COORDINATION_QUORUM_NOT_MET, or AUTH_GRANT_MISSING when that is why every Vault declined.
 */
export function assembleEnvelope(args: {
  readonly plan: AdmissionPlan;
  readonly state: GovernanceState;
  readonly decisions: Decisions;
  readonly taskId: string;
  readonly epochId: number;
  readonly admissionMs: number;
}): TaskEnvelope {
  const { plan, state, decisions } = args;
  const { request } = plan;
  requireQuorum(plan, state, decisions);
  const { participants } = decisions;
  return {
    version: 1,
    task_id: args.taskId,
    task_class: request.task_class,
    caller_context: {
      actor_id: request.actor_id,
      role: "submitter",
      request_digest: plan.requestDigest,
      signed_request: plan.signedRequest,
    },
    authorization_context: participants.map(({ vaultId, decisionDigest, outcome }) => ({
      vault_id: vaultId,
      grant_id: outcome.grant_id,
      decision_digest: decisionDigest,
    })),
    consent_references: participants.map(({ vaultId, outcome }) => ({
      vault_id: vaultId,
      consent_commitment: outcome.consent_commitment,
    })),
    semantic_version: state.semantics.semantic_version,
    policy_version: state.policy.policy_version_id,
    policy_digest: policyDigest(state.policy),
    epoch_id: args.epochId,
    attribute_composition: plan.resolution.attribute_composition,
    derivation_rule_refs: plan.resolution.derivation_rule_refs,
    budget_lock_ref:
      request.task_class === "parse" ? null : lockReference(args.taskId, request.budget_lock_minor),
    privacy_budget_reservation: participants.map(reservationOf),
    coordination_envelope: coordinationOf(args),
    iteration_policy: iterationPolicyOf(request.parameters),
    admission_timestamp: args.admissionMs,
    task_timeout: request.task_timeout_ms,
    genesis_digest: state.genesisDigest,
    record_scope: request.record_scope,
    usage_scope: request.usage_scope,
    parameters: request.parameters,
    epsilon_micro: request.epsilon_micro,
    delta_pico: state.policy.privacy.delta_pico,
    delivery_key: request.delivery_key,
    inputs: participants.map(inputOf),
  };
}

function reservationOf({ vaultId, outcome }: Participant) {
  return {
    vault_id: vaultId,
    reservation_id: outcome.reservation_id,
    epsilon_micro: outcome.epsilon_micro,
    expires_ms: outcome.expires_ms,
  };
}

function inputOf({ vaultId, outcome }: Participant) {
  return {
    vault_id: vaultId,
    input_commitment: outcome.input_commitment,
    share_commitments: outcome.share_commitments,
  };
}

function requireQuorum(plan: AdmissionPlan, state: GovernanceState, decisions: Decisions): void {
  const quorum = quorumOf(plan, state);
  const count = decisions.participants.length;
  if (count >= quorum) return;
  const onlyGrants =
    decisions.declined.length > 0 &&
    decisions.declined.every((refusal) => refusal.code === "AUTH_GRANT_MISSING");
  throw new RefusedError(
    {
      code: count === 0 && onlyGrants ? "AUTH_GRANT_MISSING" : "COORDINATION_QUORUM_NOT_MET",
      expected: quorum,
      actual: count,
    },
    `task: expected ${quorum} Vaults to admit it, got ${count}`,
  );
}

function coordinationOf(args: {
  readonly plan: AdmissionPlan;
  readonly state: GovernanceState;
  readonly decisions: Decisions;
  readonly taskId: string;
}): CoordinationEnvelope | null {
  const { plan, state } = args;
  if (plan.request.vault_ids.length === 1) return null;
  return {
    parent_task_id: args.taskId,
    participating_vault_ids: args.decisions.participants.map(({ vaultId }) => vaultId),
    minimum_vault_quorum: quorumOf(plan, state),
    aggregation_method: METHODS[plan.request.task_class],
    aggregation_environment: state.policy.multi_vault.aggregation_environment,
    aggregator_id: state.genesis.aggregator_id,
    per_vault_timeout: state.policy.multi_vault.per_vault_timeout_ms,
  };
}

const METHODS = {
  parse: "union",
  query: "union",
  compute: "secure_sum",
  train: "federated_average",
} as const;
