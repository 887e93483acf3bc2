import { compositionPrice } from "#aggregation";
import {
  TASK_REQUEST,
  hex,
  iterationPolicyOf,
  resolveRequest,
  underSemantics,
  taskKeyOf,
  type GovernanceState,
  type TaskEnvelope,
  type TaskRequest,
} from "#protocol";

import { expectAllSame, expectSame, expectThat, required } from "./reject.ts";

/**
 * Verifies that an envelope says what its submitter signed, under this network's genesis, the policy it is bound to and
 * the semantics.
 *
 * Needs no Vault: decisions of Vaults are verified beside it. The submitter may have been suspended since.
 *
 * @param governance - Of the envelope's policy version, see `governanceFor`.
 * @returns The request as signed.
 * @throws VerificationError GOVERNANCE_GENESIS_MISMATCH, PROOF_SIGNATURE_INVALID,
 * PROOF_COMMITMENT_MISMATCH; AppraisalError VERIFY_RESULT_REJECTED; as `resolveRequest`
 */
export function verifyEnvelope(envelope: TaskEnvelope, governance: GovernanceState): TaskRequest {
  expectSame(
    "envelope genesis",
    governance.genesisDigest,
    envelope.genesis_digest,
    "GOVERNANCE_GENESIS_MISMATCH",
  );
  const caller = envelope.caller_context;
  const submitter = required(governance.actors.get(caller.actor_id), "submitter");
  const request = TASK_REQUEST.verify(
    caller.signed_request,
    taskKeyOf(submitter, caller.signed_request, envelope.epoch_id),
  );
  const digest = TASK_REQUEST.digest(request);
  expectSame("request digest", digest, caller.request_digest);
  expectSame("task id", `t-${hex(digest).slice(0, 32)}`, envelope.task_id);
  expectSame("caller", [request.actor_id, submitter.role], [caller.actor_id, caller.role]);
  verifyAgainstRequest(envelope, request);
  verifyResolution(envelope, request, governance);
  verifyVaults(envelope, request);
  return request;
}

function verifyAgainstRequest(envelope: TaskEnvelope, request: TaskRequest): void {
  expectAllSame("envelope", {
    genesis: [request.genesis_digest, envelope.genesis_digest],
    task_class: [request.task_class, envelope.task_class],
    record_scope: [request.record_scope, envelope.record_scope],
    usage_scope: [request.usage_scope, envelope.usage_scope],
    parameters: [request.parameters, envelope.parameters],
    epsilon_micro: [request.epsilon_micro, envelope.epsilon_micro],
    delivery_key: [request.delivery_key, envelope.delivery_key],
    task_timeout: [request.task_timeout_ms, envelope.task_timeout],
    iteration_policy: [iterationPolicyOf(request.parameters), envelope.iteration_policy],
  });
}

function verifyResolution(
  envelope: TaskEnvelope,
  request: TaskRequest,
  governance: GovernanceState,
): void {
  const bound = underSemantics(governance, envelope.semantic_version);
  const resolution = resolveRequest(request, bound);
  const composition = envelope.attribute_composition;
  expectSame("attribute composition", resolution.attribute_composition, composition);
  expectSame("derivation rules", resolution.derivation_rule_refs, envelope.derivation_rule_refs);
  if (!governance.policy.classes[envelope.task_class].budget_required) return;
  const price = compositionPrice({
    operator: resolution.attribute_composition?.operator ?? "FILTER",
    operandEpsilonsMicro: resolution.operandEpsilonsMicro,
  });
  expectThat(envelope.epsilon_micro >= price, {
    subject: "epsilon",
    expected: `at least the price ${price}`,
    got: `${envelope.epsilon_micro}`,
  });
}

/** Every list is over the same Vaults, in order, and none that the submitter did not name. */
function verifyVaults(envelope: TaskEnvelope, request: TaskRequest): void {
  const vaultIds = envelope.inputs.map((input) => input.vault_id);
  expectSame("vaults", [...new Set(vaultIds)].sort(), vaultIds);
  expectThat(
    vaultIds.every((vaultId) => request.vault_ids.includes(vaultId)),
    { subject: "vaults", expected: "Vaults that the request names", got: "others" },
  );
  const lists = {
    authorization_context: envelope.authorization_context,
    consent_references: envelope.consent_references,
    privacy_budget_reservation: envelope.privacy_budget_reservation,
  };
  for (const [field, entries] of Object.entries(lists)) {
    const named = entries.map((entry) => entry.vault_id);
    expectSame(field, vaultIds, named);
  }
  for (const reservation of envelope.privacy_budget_reservation) {
    expectThat(reservation.epsilon_micro >= envelope.epsilon_micro, {
      subject: `reservation of ${reservation.vault_id}`,
      expected: `at least ${envelope.epsilon_micro}`,
      got: `${reservation.epsilon_micro}`,
    });
  }
  const coordination = envelope.coordination_envelope;
  if (coordination === null) {
    expectSame("vaults of a single-Vault task", 1, vaultIds.length);
    return;
  }
  expectSame("participating vaults", vaultIds, coordination.participating_vault_ids);
  expectSame("parent task", envelope.task_id, coordination.parent_task_id);
  expectThat(coordination.aggregator_id !== envelope.caller_context.actor_id, {
    subject: "aggregator",
    expected: "an actor that is not the submitter",
    got: "the submitter",
  });
}
