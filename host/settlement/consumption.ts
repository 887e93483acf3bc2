import {
  CONSUMPTION_RECORD,
  parseCose,
  taskKeyOf,
  type ConsumptionRecord,
  type GovernanceDecision,
  type GovernanceState,
  type TaskEnvelope,
} from "#protocol";

import { expectAllSame, expectSame, expectThat, required } from "./reject.ts";
import type { VerifiedExecution } from "./verification.ts";

/** The largest signed consumption record, bytes. */
const SIGNED_RECORD_BYTES_MAX = 16 * 1024;

/**
 * Verifies the Vaults' signed records of what a task cost them.
 *
 * A record counts only from a Vault that took part, once, for its own reservation, for no less than its slices were
 * charged, and with `flagged` exactly when it exceeds the reservation beyond the policy tolerance (PB-3).
 *
 * @param signed - One of each Vault at most, in any order.
 * @returns In order of Vault identifier.
 * @throws VerificationError PROOF_SIGNATURE_INVALID, PROOF_COMMITMENT_MISMATCH; AppraisalError VERIFY_RESULT_REJECTED
 */
export function verifyConsumption(
  execution: VerifiedExecution,
  signed: readonly Uint8Array[],
  governance: GovernanceState,
): ConsumptionRecord[] {
  const records = signed.map((each) => verifyRecord(execution, each, governance));
  const ids = records.map((record) => record.vault_id);
  expectSame("consumption records", new Set(ids).size, ids.length);
  return records.sort((a, b) => (a.vault_id < b.vault_id ? -1 : 1));
}

/** What makes each Vault pay, by its own record, that consumed more than it had reserved (SP-4). */
export function violationsIn(
  { policy_version }: TaskEnvelope,
  signed: readonly Uint8Array[],
): GovernanceDecision[] {
  return signed.flatMap((signed_record) => {
    const record = CONSUMPTION_RECORD.decode(parseCose(signed_record).payload);
    if (!record.flagged) return [];
    const { vault_id: actor_id } = record;
    const decision = { type: "violation_proven", actor_id, signed_record } as const;
    return [{ ...decision, policy_version_id: policy_version }];
  });
}

function verifyRecord(
  execution: VerifiedExecution,
  signed: Uint8Array,
  governance: GovernanceState,
): ConsumptionRecord {
  const claimed = CONSUMPTION_RECORD.decode(parseCose(signed, SIGNED_RECORD_BYTES_MAX).payload);
  const vault = required(governance.actors.get(claimed.vault_id), "vault of a consumption record");
  const { envelope } = execution;
  const record = CONSUMPTION_RECORD.verify(signed, taskKeyOf(vault, signed, envelope.epoch_id));
  const subject = `consumption of ${record.vault_id}`;
  expectThat(execution.participants.includes(record.vault_id), {
    subject,
    expected: "a Vault that took part",
    got: record.vault_id,
  });
  const reservation = envelope.privacy_budget_reservation.find(
    (each) => each.vault_id === record.vault_id,
  );
  expectAllSame(subject, {
    envelope: [execution.envelopeDigest, record.envelope_digest],
    scope: [envelope.record_scope, record.record_scope],
    usage: [envelope.usage_scope, record.usage_scope],
    reservation: [reservation?.reservation_id ?? null, record.reservation_id],
    reserved: [reservation?.epsilon_micro ?? null, record.reserved_epsilon_micro],
    flagged: [exceeds(record, governance), record.flagged],
  });
  const charged = Math.min(chargedTo(execution, record.vault_id), envelope.epsilon_micro);
  expectThat(record.consumed_epsilon_micro >= charged, {
    subject,
    expected: `at least the ${charged} its slices were charged`,
    got: `${record.consumed_epsilon_micro}`,
  });
  return record;
}

function exceeds(record: ConsumptionRecord, { policy }: GovernanceState): boolean {
  const allowed = record.reserved_epsilon_micro + policy.privacy.tolerance_micro;
  return record.consumed_epsilon_micro > allowed;
}

function chargedTo(execution: VerifiedExecution, vaultId: string): number {
  return execution.bundles
    .flatMap((bundle) => bundle.slices)
    .filter((slice) => slice.vault_id === vaultId)
    .reduce((sum, slice) => sum + slice.epsilon_micro, 0);
}
