import { compositionPrice } from "#aggregation";
import {
  LimitError,
  MalformedError,
  RefusedError,
  SEAL_INFO,
  TASK_REQUEST,
  VerificationError,
  activeActor,
  equalBytes,
  hex,
  parseCose,
  resolveRequest,
  seal,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";

const SIGNED_REQUEST_BYTES_MAX = 128 * 1024;

/** A request whose submitter this Vault has verified itself. */
export interface AuthenticRequest {
  readonly request: TaskRequest;
  readonly requestDigest: Uint8Array;
}

/** Names a task from its request on; the coordinator gives the same name. */
export function taskIdOf(requestDigest: Uint8Array): string {
  return `t-${hex(requestDigest).slice(0, 32)}`;
}

/** Rounds that a request asks for. */
export function roundsOfRequest({ parameters }: TaskRequest): number {
  return parameters.task_class === "train" ? parameters.rounds : 1;
}

/**
 * Verifies who signed a request, with the key that this Vault's own governance state has for the submitter (AP-1).
 *
 * @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED; {@link VerificationError}
 * PROOF_SIGNATURE_INVALID, GOVERNANCE_GENESIS_MISMATCH; MalformedError and LimitError for its shape.
 */
export function verifyRequest(
  signedRequest: Uint8Array,
  governance: GovernanceState,
): AuthenticRequest {
  const { payload } = parseCose(signedRequest, SIGNED_REQUEST_BYTES_MAX);
  const actor = activeActor(governance, TASK_REQUEST.decode(payload).actor_id);
  const request = TASK_REQUEST.verify(signedRequest, actor.signing_key);
  if (actor.role !== "submitter") {
    throw new RefusedError(
      { code: "AUTH_ROLE_REFUSED", expected: "submitter", actual: actor.role },
      `actor_id: expected an actor in role submitter, got ${actor.role}`,
    );
  }
  if (!equalBytes(request.genesis_digest, governance.genesisDigest)) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH" },
      "genesis_digest: expected the digest of this network's genesis, got another",
    );
  }
  return { request, requestDigest: TASK_REQUEST.digest(request) };
}

/**
 * Judges everything about a request that does not depend on any data subject: age, Vault, class constraints, meaning
 * and price. What this throws tells nothing of anybody's records.
 *
 * @throws {@link RefusedError} AUTH_REPLAYED, POLICY_DECLINED, PRIVACY_BUDGET_EXCEEDED,
 * EXECUTION_WORKLOAD_UNREGISTERED; {@link LimitError} POLICY_LIMIT_EXCEEDED; {@link MalformedError} SCHEMA_MALFORMED for
 * an epsilon that its rounds do not divide; and as `resolveRequest`.
 */
export function requireAdmissible(
  request: TaskRequest,
  governance: GovernanceState,
  { vaultId, nowMs }: { readonly vaultId: string; readonly nowMs: number },
): SemanticResolution {
  const { policy } = governance;
  const ageMs = Math.abs(nowMs - request.created_ms);
  if (ageMs > policy.admission.request_age_ms_max) {
    throw new RefusedError(
      { code: "AUTH_REPLAYED", age_ms: ageMs, max: policy.admission.request_age_ms_max },
      `created_ms: expected a request at most ${policy.admission.request_age_ms_max} ms old, got ${ageMs}`,
    );
  }
  if (!request.vault_ids.includes(vaultId)) throw declined("vault_ids", "this Vault among them");
  requireClass(request, governance);
  const resolution = resolveRequest(request, governance);
  requirePrice(request, resolution, governance);
  return resolution;
}

function requireClass(request: TaskRequest, { policy, artifacts }: GovernanceState): void {
  const constraints = policy.classes[request.task_class];
  const timeoutMsMax = policy.admission.task_timeout_ms_max;
  if (request.task_timeout_ms < 1 || request.task_timeout_ms > timeoutMsMax) {
    throw new LimitError(
      { code: "POLICY_LIMIT_EXCEEDED", max: timeoutMsMax, actual: request.task_timeout_ms },
      `task_timeout_ms: expected [1, ${timeoutMsMax}], got ${request.task_timeout_ms}`,
    );
  }
  const count = request.vault_ids.length;
  if (constraints.multi_vault ? count < 2 : count !== 1) {
    const expected = constraints.multi_vault ? "two or more Vaults" : "one Vault";
    throw declined("vault_ids", `${expected} for ${request.task_class}`);
  }
  if (request.task_class === "train" && count < policy.privacy.minimum_train_vaults) {
    throw declined("vault_ids", `${policy.privacy.minimum_train_vaults} or more for train`);
  }
  requireWholeRounds(request);
  const { parameters } = request;
  if ("model_digest" in parameters && !artifacts.has(hex(parameters.model_digest))) {
    throw new RefusedError(
      { code: "EXECUTION_WORKLOAD_UNREGISTERED", field: "parameters.model_digest" },
      "parameters.model_digest: expected a workload registered by governance",
    );
  }
}

/** Rounds cost equal parts of what is reserved, and parts of a micro-epsilon there are none. */
function requireWholeRounds(request: TaskRequest): void {
  const rounds = roundsOfRequest(request);
  if (request.epsilon_micro % rounds === 0) return;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "epsilon_micro" },
    `epsilon_micro: expected a multiple of the ${rounds} rounds, got ${request.epsilon_micro}`,
  );
}

/**
 * Seals nothing to the request's delivery key, so that a key that takes no result is refused before it costs any budget.
 *
 * @throws MalformedError SCHEMA_MALFORMED
 */
export async function requireDeliveryKey({ delivery_key: to }: TaskRequest): Promise<void> {
  const nothing = new Uint8Array(0);
  await seal({ to, info: SEAL_INFO.deliveryShare, aad: nothing, plaintext: nothing });
}

/** The least epsilon that a request of this meaning must offer: 0 where its class needs no budget (AC-4). */
export function priceMicro(
  { task_class }: TaskRequest,
  { operator, operandEpsilonsMicro }: SemanticResolution,
  { policy }: GovernanceState,
): number {
  if (!policy.classes[task_class].budget_required) return 0;
  return Math.max(1, compositionPrice({ operator, operandEpsilonsMicro }));
}

function requirePrice(
  request: TaskRequest,
  resolution: SemanticResolution,
  governance: GovernanceState,
): void {
  const { epsilon_micro: epsilon } = request;
  const price = priceMicro(request, resolution, governance);
  if (epsilon >= price) return;
  throw new RefusedError(
    { code: "PRIVACY_BUDGET_EXCEEDED", price_micro: price, offered_micro: epsilon },
    `epsilon_micro: expected at least the price ${price}, got ${epsilon}`,
  );
}

function declined(field: string, expected: string): RefusedError {
  return new RefusedError({ code: "POLICY_DECLINED", field }, `${field}: expected ${expected}`);
}
