import {
  ConflictError,
  RefusedError,
  TASK_ENVELOPE,
  VerificationError,
  encodeCbor,
  equalBytes,
  governanceFor,
  hex,
  iterationPolicyOf,
  policyDigest,
  resolveRequest,
  underSemantics,
  type GovernanceState,
  type TaskClass,
  type TaskEnvelope,
  type TaskRequest,
} from "#protocol";

import { taskIdOf, verifyAdmitted, type AuthenticRequest } from "../../requests/index.ts";
import { shareCommitmentsOf } from "./decide.ts";
import { decodePlan, type DecisionPlan } from "./decision-plan.ts";
import { findGrant } from "../access/grants.ts";
import { decisionOf, executionsOf, type Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/** How far the coordinator's clock may be from the Vault's own. */
const CLOCK_SKEW_MS = 60_000;

/** The aggregation method that each class is run with. */
const METHODS: Readonly<Record<TaskClass, string | null>> = {
  parse: null,
  query: "union",
  compute: "secure_sum",
  train: "federated_average",
};

/** Which enclave job of a task. */
export interface RoundReference {
  readonly round: number;
  readonly attempt: number;
}

/** An envelope that this Vault has found to be what it decided on. */
export interface Dispatch extends AuthenticRequest, RoundReference {
  readonly envelope: TaskEnvelope;
  readonly envelopeDigest: Uint8Array;
  readonly plan: DecisionPlan;
  /** When the plan's grant was found in force. */
  readonly authorizedMs: number;
  /** `sole` when this Vault's enclave runs the task whole. */
  readonly role: "slice" | "sole";
}

/** The claims of an envelope that follow from the request and the policy version alone. */
type Derived = Pick<
  TaskEnvelope,
  | "task_id"
  | "task_class"
  | "policy_version"
  | "policy_digest"
  | "semantic_version"
  | "genesis_digest"
  | "record_scope"
  | "usage_scope"
  | "parameters"
  | "epsilon_micro"
  | "delta_pico"
  | "delivery_key"
  | "task_timeout"
  | "attribute_composition"
  | "derivation_rule_refs"
  | "iteration_policy"
>;

/**
 * Checks everything about an envelope again, by the Vault's own records and clock; the coordinator's word counts for
 * nothing (MV-3, DS-4): the submitter's signature, the policy version that this Vault decided by, the terms, this Vault's decision, inputs and reservation, its
 * grant, and that this round has not begun. Consent withdrawn since the decision does not matter here (CO-2).
 *
 * @throws {@link RefusedError} COORDINATION_SLICE_REFUSED with `field`; AUTH_GRANT_MISSING.
 * @throws {@link ConflictError} PRIVACY_BUDGET_STATE_CONFLICT, PRIVACY_BUDGET_UNKNOWN_RESERVATION
 * @throws As `governanceFor` and `verifyAdmitted`.
 */
export async function requireDispatchable(
  context: VaultContext,
  db: Reading,
  args: {
    readonly envelope: TaskEnvelope;
    readonly governance: GovernanceState;
    readonly reference: RoundReference;
  },
): Promise<Dispatch> {
  const { envelope, reference } = args;
  const governance = governanceFor(args.governance, envelope);
  const authentic = verifyAdmitted(envelope, governance);
  const { request, requestDigest } = authentic;
  requireEqual(
    "caller_context.request_digest",
    envelope.caller_context.request_digest,
    requestDigest,
  );
  requireEqual("caller_context.actor_id", envelope.caller_context.actor_id, request.actor_id);
  requireEqual("caller_context.role", envelope.caller_context.role, "submitter");
  const decided = await decisionOf(db, requestDigest);
  if (decided?.plan === undefined || decided.plan === null) {
    throw refused("authorization_context", "a request that this Vault has admitted");
  }
  const plan = decodePlan(decided.plan);
  const judgedBy = decided.policy_version ?? governance.genesis.policy.policy_version_id;
  requireEqual("policy_version", envelope.policy_version, judgedBy);
  requireTerms(envelope, request, governance);
  requireOwnEntries(context, envelope, { plan, decisionDigest: decided.decision_digest });
  const role = requireCoordination(context, envelope, { request, governance });
  requireTimely(context, envelope, decided.decided_ms, governance);
  const authorizedMs = await requireGrant(context, db, { request, plan });
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  await requireUnbegun(context, db, { requestDigest, envelopeDigest, plan, reference });
  return { ...authentic, ...reference, envelope, envelopeDigest, plan, authorizedMs, role };
}

function requireTerms(
  envelope: TaskEnvelope,
  request: TaskRequest,
  governance: GovernanceState,
): void {
  const { policy, genesisDigest } = governance;
  const { semantic_version: version } = envelope;
  // What this Vault admitted under a newer version means the same under an older one, or nothing: names are never reused.
  if (!governance.registries.has(version)) throw refused("semantic_version", "a registered one");
  const resolution = resolveRequest(request, underSemantics(governance, version));
  const derived: Derived = {
    task_id: taskIdOf(envelope.caller_context.request_digest),
    task_class: request.task_class,
    policy_version: policy.policy_version_id,
    policy_digest: policyDigest(policy),
    semantic_version: resolution.semantic_version,
    genesis_digest: genesisDigest,
    record_scope: request.record_scope,
    usage_scope: request.usage_scope,
    parameters: request.parameters,
    epsilon_micro: request.epsilon_micro,
    delta_pico: policy.privacy.delta_pico,
    delivery_key: request.delivery_key,
    task_timeout: request.task_timeout_ms,
    attribute_composition: resolution.attribute_composition,
    derivation_rule_refs: resolution.derivation_rule_refs,
    iteration_policy: iterationPolicyOf(request.parameters),
  };
  const claimed = new Map(Object.entries(envelope));
  for (const [field, expected] of Object.entries(derived)) {
    const actual = claimed.get(field);
    if (actual === undefined || !equalBytes(encodeCbor([actual]), encodeCbor([expected]))) {
      throw refused(field, "what the signed request and the policy say");
    }
  }
}

/** This Vault stands in each list exactly once, with what it decided. */
function requireOwnEntries(
  context: VaultContext,
  envelope: TaskEnvelope,
  { plan, decisionDigest }: { plan: DecisionPlan; decisionDigest: Uint8Array },
): void {
  const { vaultId } = context;
  const authorization = own(envelope.authorization_context, vaultId, "authorization_context");
  requireEqual("authorization_context.grant_id", authorization.grant_id, plan.grant_id);
  requireEqual(
    "authorization_context.decision_digest",
    authorization.decision_digest,
    decisionDigest,
  );
  const consent = own(envelope.consent_references, vaultId, "consent_references");
  requireEqual("consent_references", consent.consent_commitment, plan.consent_commitment);
  const reservation = own(
    envelope.privacy_budget_reservation,
    vaultId,
    "privacy_budget_reservation",
  );
  requireEqual("privacy_budget_reservation", reservation.reservation_id, plan.reservation_id);
  requireEqual(
    "privacy_budget_reservation.epsilon_micro",
    reservation.epsilon_micro,
    plan.epsilon_micro,
  );
  requireEqual("privacy_budget_reservation.expires_ms", reservation.expires_ms, plan.expires_ms);
  const input = own(envelope.inputs, vaultId, "inputs");
  requireEqual("inputs.input_commitment", input.input_commitment, plan.input_commitment);
  const shares = shareCommitmentsOf(context, plan, envelope.caller_context.request_digest);
  const named = input.share_commitments;
  if (
    named.length !== shares.length ||
    !shares.every((share, round) => equalBytes(share, named[round] ?? new Uint8Array(0)))
  ) {
    throw refused("inputs.share_commitments", "what this Vault decided on");
  }
}

function requireCoordination(
  { vaultId }: VaultContext,
  envelope: TaskEnvelope,
  { request, governance }: { request: TaskRequest; governance: GovernanceState },
): "slice" | "sole" {
  const coordination = envelope.coordination_envelope;
  if (request.vault_ids.length === 1) {
    if (coordination !== null) throw refused("coordination_envelope", "none for one Vault");
    return "sole";
  }
  const { policy, genesis } = governance;
  if (coordination === null) throw refused("coordination_envelope", "one for several Vaults");
  const participants = coordination.participating_vault_ids;
  const named = participants.every((id) => request.vault_ids.includes(id));
  if (
    !named ||
    !participants.includes(vaultId) ||
    new Set(participants).size !== participants.length
  ) {
    throw refused("coordination_envelope.participating_vault_ids", "Vaults of the request");
  }
  const least = Math.max(
    2,
    Math.floor(participants.length / 2) + 1,
    policy.multi_vault.minimum_vault_quorum,
    request.task_class === "train" ? policy.privacy.minimum_train_vaults : 0,
  );
  const { minimum_vault_quorum: quorum } = coordination;
  if (quorum < least || quorum > participants.length) {
    const expected = `[${least}, ${participants.length}]`;
    throw refused("coordination_envelope.minimum_vault_quorum", expected);
  }
  requireEqual("parent_task_id", coordination.parent_task_id, envelope.task_id);
  requireEqual("aggregator_id", coordination.aggregator_id, genesis.aggregator_id);
  requireEqual(
    "aggregation_environment",
    coordination.aggregation_environment,
    policy.multi_vault.aggregation_environment,
  );
  if (METHODS[request.task_class] !== coordination.aggregation_method) {
    throw refused("coordination_envelope.aggregation_method", `one for ${request.task_class}`);
  }
  return "slice";
}

function requireTimely(
  { nowMs }: VaultContext,
  envelope: TaskEnvelope,
  decidedMs: number,
  { policy }: GovernanceState,
): void {
  const offMs = Math.abs(envelope.admission_timestamp - decidedMs);
  if (offMs > policy.admission.resolving_timeout_ms + CLOCK_SKEW_MS) {
    throw refused("admission_timestamp", "a time about when this Vault decided");
  }
  if (nowMs() > envelope.admission_timestamp + envelope.task_timeout + CLOCK_SKEW_MS) {
    throw refused("task_timeout", "a task that has not timed out");
  }
}

async function requireGrant(
  context: VaultContext,
  db: Reading,
  { request, plan }: { request: TaskRequest; plan: DecisionPlan },
): Promise<number> {
  const grantId = plan.grant_id;
  const nowMs = context.nowMs();
  const terms = { request, domainId: plan.domain_id, nowMs, grantId };
  if ((await findGrant(db, terms)) === grantId) return nowMs;
  throw new RefusedError(
    { code: "AUTH_GRANT_MISSING", grant_id: grantId },
    `grant ${grantId}: expected one that is in force`,
  );
}

/**
 * A reservation serves one envelope, and each of its rounds begins once: another attempt at a round would disclose
 * twice for one price, and needs a new request with a new budget. So the only attempt is the first.
 */
async function requireUnbegun(
  context: VaultContext,
  db: Reading,
  args: {
    readonly requestDigest: Uint8Array;
    readonly envelopeDigest: Uint8Array;
    readonly plan: DecisionPlan;
    readonly reference: RoundReference;
  },
): Promise<void> {
  const { requestDigest, envelopeDigest, plan, reference } = args;
  const { round, attempt } = reference;
  if (!Number.isSafeInteger(round) || round < 0 || round >= plan.rounds) {
    throw refused("round", `one of ${plan.rounds}`);
  }
  const { state, expiresMs } = await context.books.reservation(db, plan.reservation_id);
  const expired = state === "reserved" && expiresMs <= context.nowMs();
  if (expired || (state !== "reserved" && state !== "executing")) {
    throw stateConflict(plan, "a reservation in force", expired ? "expired" : state);
  }
  for (const execution of await executionsOf(db, requestDigest)) {
    if (!equalBytes(execution.envelope_digest, envelopeDigest)) {
      throw stateConflict(plan, "one envelope for its reservation", "another");
    }
    if (execution.round === round) throw stateConflict(plan, "a round not begun", `round ${round}`);
  }
  if (attempt !== 0) throw refused("attempt", "0");
}

function own<T extends { readonly vault_id: string }>(
  entries: readonly T[],
  vaultId: string,
  field: string,
): T {
  const [entry, ...more] = entries.filter((each) => each.vault_id === vaultId);
  if (entry === undefined || more.length > 0) throw refused(field, "this Vault once");
  return entry;
}

function requireEqual<T extends string | number | Uint8Array>(
  field: string,
  actual: T,
  expected: T,
): void {
  const equal =
    actual instanceof Uint8Array && expected instanceof Uint8Array
      ? equalBytes(actual, expected)
      : actual === expected;
  if (!equal) throw refused(field, "what this Vault decided on");
}

function refused(field: string, expected: string): RefusedError {
  return new RefusedError(
    { code: "COORDINATION_SLICE_REFUSED", field },
    `envelope ${field}: expected ${expected}`,
  );
}

function stateConflict(plan: DecisionPlan, expected: string, got: string): ConflictError {
  return new ConflictError(
    { code: "PRIVACY_BUDGET_STATE_CONFLICT", reservation_id: plan.reservation_id, state: got },
    `reservation ${plan.reservation_id}: expected ${expected}, got ${got}`,
  );
}

/** Refuses an envelope other than the one a task executed under. @throws VerificationError EXECUTION_ORDER_MISMATCH */
export function requireSameEnvelope(envelopeDigest: Uint8Array, executed: Uint8Array): void {
  if (equalBytes(envelopeDigest, executed)) return;
  throw new VerificationError(
    { code: "EXECUTION_ORDER_MISMATCH", envelope: hex(executed) },
    `envelope: expected ${hex(executed)}, under which this Vault executed, got ${hex(envelopeDigest)}`,
  );
}
