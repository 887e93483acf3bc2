import {
  SESSION_MANIFEST,
  VerificationError,
  equalBytes,
  referenceValuesOf,
  type EnclaveRole,
  type GovernanceState,
  type SessionManifest,
} from "#protocol";

import type { TrustAnchor } from "./anchor.ts";
import { appraiseEvidence } from "./appraise.ts";
import type { VerifiedEvidence } from "./evidence.ts";
import type { JudgedAt } from "./judged-at.ts";
import { verifyNitroDocument } from "./nitro/verify.ts";
import type { AppraisalPolicy } from "./policy.ts";
import type { AttestationReport } from "./report.ts";

/** A peer enclave as it is presented, and what the one who asks expects of it. */
export interface SessionClaim {
  readonly evidence: Uint8Array;
  readonly manifest: SessionManifest;
  readonly role: EnclaveRole;
  readonly nonce: Uint8Array;
  readonly governance: GovernanceState;
  readonly anchors: readonly TrustAnchor[];
  /** `live`: judged now and of limited age. `replay`: judged at the document's own signed time. */
  readonly at: JudgedAt;
}

const NOT_GOVERNED = "policy versions name images by PCR 0, 1 and 2";

/**
 * Verifies and appraises an enclave session under the policy of the network: one core for Vaults, enclaves,
 * the coordinator and auditors.
 *
 * The evidence must bind the manifest (`user_data`), its recipient key (`public_key`) and the nonce; the measurement
 * must be a reference value that is not revoked; the manifest must be of this role and this genesis.
 *
 * @throws {@link VerificationError} COORDINATION_ROLE_REFUSED, GOVERNANCE_GENESIS_MISMATCH, and as `verifyNitroDocument`
 * @throws {@link AppraisalError} as `appraiseEvidence`
 */
export function appraiseSession(claim: SessionClaim): AttestationReport {
  const { age_ms_max: atMost } = claim.governance.policy.attestation;
  return judge(claim, claim.at.mode === "live" ? { atMost } : { unchecked: "archived evidence" });
}

/**
 * Appraises once more a session that {@link appraiseSession} accepted, under newer governance or at a later time:
 * everything but its age. A session under way cannot be asked for newer evidence, and its nonce was answered when it began.
 *
 * @throws as {@link appraiseSession}
 */
export function reappraiseSession(claim: SessionClaim): AttestationReport {
  return judge(claim, { unchecked: "judged when the session began" });
}

function judge(claim: SessionClaim, maxAgeMs: AppraisalPolicy["maxAgeMs"]): AttestationReport {
  requireManifest(claim);
  const verified = verifyNitroDocument(claim.evidence, claim.anchors, claim.at);
  return appraiseEvidence(verified, policyOf(claim, verified, maxAgeMs));
}

function policyOf(
  { governance, manifest, nonce, at }: SessionClaim,
  verified: VerifiedEvidence,
  maxAgeMs: AppraisalPolicy["maxAgeMs"],
): AppraisalPolicy {
  const { attestation } = governance.policy;
  return {
    platforms: attestation.platforms,
    measurements: referenceValuesOf(governance).map((value) => ({
      pcr0: value.pcr0,
      pcr1: value.pcr1,
      pcr2: value.pcr2,
      validFromMs: value.valid_from_ms,
      validUntilMs: value.valid_until_ms,
    })),
    revokedMeasurements: governance.revokedMeasurements,
    revokedIdentities: governance.revokedModuleIds,
    nonce: { equals: nonce },
    userData: { equals: SESSION_MANIFEST.digest(manifest) },
    publicKey: { equals: manifest.recipient_key },
    maxAgeMs,
    judgedAtMs: at.mode === "live" ? at.nowMs : verified.judgedAtMs,
    nitro: { pcr3: { unchecked: NOT_GOVERNED }, pcr8: { unchecked: NOT_GOVERNED } },
    snp: null,
    tdx: null,
  };
}

function requireManifest({ manifest, role, governance }: SessionClaim): void {
  if (manifest.role !== role) {
    throw new VerificationError(
      { code: "COORDINATION_ROLE_REFUSED", expected: role, actual: manifest.role },
      `session manifest: expected role ${role}, got ${manifest.role}`,
    );
  }
  if (equalBytes(manifest.genesis_digest, governance.genesisDigest)) return;
  throw new VerificationError(
    { code: "GOVERNANCE_GENESIS_MISMATCH" },
    "session manifest: expected an enclave of this network, got one of another",
  );
}
