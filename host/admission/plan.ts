import { compositionPrice } from "#aggregation";
import {
  LimitError,
  MalformedError,
  RefusedError,
  TASK_REQUEST,
  activeActor,
  equalBytes,
  hex,
  parseCose,
  resolveRequest,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";

/** A request whose identity, shape and meaning hold; nothing is reserved yet. */
export interface AdmissionPlan {
  readonly request: TaskRequest;
  readonly signedRequest: Uint8Array;
  readonly requestDigest: Uint8Array;
  readonly resolution: SemanticResolution;
}

/** The largest signed request, bytes. */
const SIGNED_REQUEST_BYTES_MAX = 96 * 1024;

/**
 * Judges everything about a request that needs no Vault: identity, signature, freshness, class constraints, semantics
 * and price, in this order. Pure: equal input gives an equal plan or an equal rejection (AP-6, AP-9).
 *
 * @throws RefusedError AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED, AUTH_REPLAYED, GOVERNANCE_GENESIS_MISMATCH,
 *   POLICY_DECLINED, PRIVACY_BUDGET_EXCEEDED, EXECUTION_WORKLOAD_UNREGISTERED
 * @throws VerificationError PROOF_SIGNATURE_INVALID
 * @throws MalformedError, LimitError for its shape
 */
export function planAdmission(
  signedRequest: Uint8Array,
  state: GovernanceState,
  nowMs: number,
): AdmissionPlan {
  const claimed = TASK_REQUEST.decode(parseCose(signedRequest, SIGNED_REQUEST_BYTES_MAX).payload);
  const actor = activeActor(state, claimed.actor_id);
  const request = TASK_REQUEST.verify(signedRequest, actor.signing_key);
  if (actor.role !== "submitter") {
    throw new RefusedError(
      { code: "AUTH_ROLE_REFUSED", expected: "submitter", actual: actor.role },
      `actor_id: expected an actor in role submitter, got ${actor.role}`,
    );
  }
  requireNetworkAndTime(request, state, nowMs);
  requireClassConstraints(request, state);
  requireVaults(request, state);
  const resolution = resolveRequest(request, state);
  requirePrice(request, resolution, state);
  return { request, signedRequest, requestDigest: TASK_REQUEST.digest(request), resolution };
}

function requireNetworkAndTime(request: TaskRequest, state: GovernanceState, nowMs: number): void {
  if (!equalBytes(request.genesis_digest, state.genesisDigest)) {
    throw new RefusedError(
      { code: "GOVERNANCE_GENESIS_MISMATCH" },
      "genesis_digest: expected the digest of this network's genesis",
    );
  }
  const ageMs = Math.abs(nowMs - request.created_ms);
  const ageMsMax = state.policy.admission.request_age_ms_max;
  if (ageMs > ageMsMax) {
    throw new RefusedError(
      { code: "AUTH_REPLAYED", age_ms: ageMs, age_ms_max: ageMsMax },
      `created_ms: expected a request at most ${ageMsMax} ms old, got ${ageMs} ms`,
    );
  }
}

function requireClassConstraints(request: TaskRequest, state: GovernanceState): void {
  const constraints = state.policy.classes[request.task_class];
  const timeoutMsMax = state.policy.admission.task_timeout_ms_max;
  if (request.task_timeout_ms === 0 || request.task_timeout_ms > timeoutMsMax) {
    throw new LimitError(
      { code: "POLICY_LIMIT_EXCEEDED", task_timeout_ms: request.task_timeout_ms, timeoutMsMax },
      `task_timeout_ms: expected [1, ${timeoutMsMax}], got ${request.task_timeout_ms}`,
    );
  }
  if (request.task_class === "parse" && request.vault_ids.length !== 1) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", field: "vault_ids" },
      `vault_ids: expected one Vault for parse, got ${request.vault_ids.length}`,
    );
  }
  if (constraints.multi_vault && request.vault_ids.length < 2) {
    throw new RefusedError(
      { code: "POLICY_DECLINED", field: "vault_ids" },
      `vault_ids: expected two or more Vaults for ${request.task_class}`,
    );
  }
  if (constraints.budget_lock_required && request.budget_lock_minor === 0) {
    throw new RefusedError(
      { code: "POLICY_DECLINED", field: "budget_lock_minor" },
      `budget_lock_minor: expected a locked budget for ${request.task_class}, got 0`,
    );
  }
  const { parameters } = request;
  const rounds = parameters.task_class === "train" ? parameters.rounds : 1;
  if (request.epsilon_micro % rounds !== 0) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", field: "epsilon_micro" },
      `epsilon_micro: expected a multiple of the ${rounds} rounds, got ${request.epsilon_micro}`,
    );
  }
  if ("model_digest" in parameters && !state.artifacts.has(hex(parameters.model_digest))) {
    throw new RefusedError(
      { code: "EXECUTION_WORKLOAD_UNREGISTERED", field: "parameters.model_digest" },
      "parameters.model_digest: expected a model registered by governance",
    );
  }
}

function requireVaults(request: TaskRequest, state: GovernanceState): void {
  for (const vaultId of request.vault_ids) {
    if (activeActor(state, vaultId).role !== "enterprise") {
      throw new RefusedError(
        { code: "AUTH_UNKNOWN_ACTOR", field: "vault_ids" },
        "vault_ids: expected Vaults of this network",
      );
    }
  }
}

function requirePrice(
  request: TaskRequest,
  resolution: SemanticResolution,
  state: GovernanceState,
): void {
  if (!state.policy.classes[request.task_class].budget_required) return;
  const price = compositionPrice({
    operator: resolution.attribute_composition?.operator ?? "FILTER",
    operandEpsilonsMicro: resolution.operandEpsilonsMicro,
  });
  if (request.epsilon_micro < price) {
    throw new RefusedError(
      { code: "PRIVACY_BUDGET_EXCEEDED", price_micro: price, offered_micro: request.epsilon_micro },
      `epsilon_micro: expected at least the price ${price}, got ${request.epsilon_micro}`,
    );
  }
}
