import {
  VAULT_DECISION,
  VerificationError,
  parseCose,
  taskKeyOf,
  type GovernanceState,
  type TaskEnvelope,
  type VaultDecision,
} from "#protocol";

import { expectSame, required } from "../settlement/index.ts";

/** The largest signed decision, bytes. */
const SIGNED_DECISION_BYTES_MAX = 32 * 1024;

/**
 * Verifies that each Vault of an envelope signed the decision the envelope names, and that the envelope repeats it
 * faithfully: policy version, grant, reservation, consent, input and share commitments.
 *
 * @returns How many Vaults declined, besides.
 * @throws VerificationError PROOF_SIGNATURE_INVALID, PROOF_COMMITMENT_MISMATCH, PROOF_BUNDLE_INCOMPLETE
 */
export function verifyDecisions(
  envelope: TaskEnvelope,
  signed: readonly Uint8Array[],
  governance: GovernanceState,
): number {
  const decisions = signed.map((each) => verifyDecision(each, envelope, governance));
  for (const { vault_id } of envelope.inputs) {
    const decision = decisions.find((each) => each.vault_id === vault_id);
    if (decision === undefined) {
      throw new VerificationError(
        { code: "PROOF_BUNDLE_INCOMPLETE", vault_id },
        `decision of ${vault_id}: expected it to be there, got none`,
      );
    }
    verifyRepeated(envelope, decision);
  }
  for (const decision of decisions) {
    const subject = `decision of ${decision.vault_id} request`;
    expectSame(subject, envelope.caller_context.request_digest, decision.request_digest);
  }
  return decisions.filter((decision) => decision.outcome.decision === "declined").length;
}

function verifyDecision(
  signed: Uint8Array,
  { epoch_id: epochId }: TaskEnvelope,
  governance: GovernanceState,
): VaultDecision {
  const { payload } = parseCose(signed, SIGNED_DECISION_BYTES_MAX);
  const claimed = VAULT_DECISION.decode(payload);
  const vault = required(governance.actors.get(claimed.vault_id), "vault of a decision");
  return VAULT_DECISION.verify(signed, taskKeyOf(vault, signed, epochId));
}

function verifyRepeated(envelope: TaskEnvelope, decision: VaultDecision): void {
  const { vault_id, outcome } = decision;
  expectSame(`decision of ${vault_id}`, "reserved", outcome.decision);
  if (outcome.decision !== "reserved") return;
  const of = <T extends { vault_id: string }>(entries: readonly T[]): T | null =>
    entries.find((entry) => entry.vault_id === vault_id) ?? null;
  const repeated = {
    policy_version: envelope.policy_version,
    authorization: of(envelope.authorization_context),
    consent: of(envelope.consent_references),
    reservation: of(envelope.privacy_budget_reservation),
    input: of(envelope.inputs),
  };
  expectSame(`decision of ${vault_id}`, repeated, {
    policy_version: outcome.policy_version,
    authorization: {
      vault_id,
      grant_id: outcome.grant_id,
      decision_digest: VAULT_DECISION.digest(decision),
    },
    consent: { vault_id, consent_commitment: outcome.consent_commitment },
    reservation: {
      vault_id,
      reservation_id: outcome.reservation_id,
      epsilon_micro: outcome.epsilon_micro,
      expires_ms: outcome.expires_ms,
    },
    input: {
      vault_id,
      input_commitment: outcome.input_commitment,
      share_commitments: outcome.share_commitments,
    },
  });
}
