import {
  RefusedError,
  VerificationError,
  WORK_ORDER,
  encodeCbor,
  equalBytes,
  taskKeyOf,
  type CborValue,
  type WorkOrder,
} from "#protocol";

import { mismatch, type VerifiedTask } from "./task.ts";

/** What an order must name besides the task. */
export interface ExpectedOrder {
  readonly vaultId: string;
  readonly role: "slice" | "sole";
  readonly enclaveManifest: Uint8Array;
  readonly aggregatorManifest: Uint8Array | null;
  /** The platform's time, milliseconds since 1970. */
  readonly timeMs: number;
}

/**
 * Verifies that the Vault itself signed this order for this task, round, attempt, enclave and aggregator.
 *
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID; EXECUTION_ORDER_MISMATCH for the first field that is
 *   not what envelope or session say
 * @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR, AUTH_ROLE_REFUSED; EXECUTION_TIMED_OUT for an expired order
 */
export function verifyOrder(
  signed: Uint8Array,
  task: VerifiedTask,
  expected: ExpectedOrder,
): WorkOrder {
  const { envelope } = task;
  const order = WORK_ORDER.verify(
    signed,
    taskKeyOf(task.vault(expected.vaultId), signed, envelope.epoch_id),
  );
  const commitments = task.commitmentsOf(expected.vaultId);
  const pairs: readonly (readonly [string, CborValue, CborValue])[] = [
    ["an order for this envelope", order.envelope_digest, task.envelopeDigest],
    ["an order for this request", order.request_digest, envelope.caller_context.request_digest],
    ["an order for this network", order.genesis_digest, envelope.genesis_digest],
    ["an order under this policy", order.policy_digest, envelope.policy_digest],
    ["an order of this Vault", order.vault_id, expected.vaultId],
    ["an order for this round", order.round, task.round],
    ["an order for this attempt", order.attempt, task.attempt],
    ["an order for this role", order.role, expected.role],
    ["an order to this enclave", order.enclave_manifest, expected.enclaveManifest],
    ["an order to this aggregator", order.aggregator_manifest, expected.aggregatorManifest],
    ["an order over the envelope's input", order.input_commitment, commitments.inputCommitment],
    [
      "an order with the envelope's consent",
      order.consent_commitment,
      commitments.consentCommitment,
    ],
    [
      "an order with the envelope's noise share",
      order.share_commitment,
      commitments.shareCommitment,
    ],
    [
      "an order with a previous state after round 0 only",
      order.previous_state === null,
      task.round === 0,
    ],
  ];
  for (const [subject, actual, wanted] of pairs) {
    if (!equalBytes(encodeCbor(actual), encodeCbor(wanted))) throw mismatch(subject);
  }
  requireGovernance(order, task);
  requireCurrent(order, expected.timeMs);
  return order;
}

/** A host may withhold the newest governance events, a revocation among them; the Vault's order says how many there are. */
function requireGovernance(order: WorkOrder, { state }: VerifiedTask): void {
  if (state.sequence >= order.governance_size) return;
  throw mismatch("governance as long as the order's Vault knows it");
}

function requireCurrent(order: WorkOrder, timeMs: number): void {
  if (timeMs < order.expires_ms) return;
  throw new RefusedError(
    { code: "EXECUTION_TIMED_OUT", expires_ms: order.expires_ms },
    `order: expected one that expires after ${timeMs}, got one that expired at ${order.expires_ms}`,
  );
}

/** Refuses a value that is not the one a Vault or an envelope committed to. @throws PROOF_COMMITMENT_MISMATCH */
export function requireCommitted(
  expected: Uint8Array,
  actual: Uint8Array,
  { subject }: { readonly subject: string },
): void {
  if (equalBytes(expected, actual)) return;
  throw new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", subject },
    `${subject}: expected the committed value, got another`,
  );
}
