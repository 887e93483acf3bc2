import { appraiseEvidence, verifyNitroDocument, type AttestationPlatform } from "#attestation";
import {
  SESSION_MANIFEST,
  VerificationError,
  encodeCbor,
  equalBytes,
  peerNonce,
  type EnclaveRole,
  type GovernanceState,
  type SessionManifest,
} from "#protocol";

import type { BootedEnclave, OwnEvidence } from "./boot.ts";

/** Another enclave as its host presents it. */
export interface PresentedPeer {
  readonly manifest: Uint8Array;
  readonly evidence: Uint8Array;
}

/** Another enclave whose evidence this one has verified and appraised. Only {@link verifyPeer} makes one. */
class VerifiedPeer {
  readonly manifest: SessionManifest;
  readonly manifestDigest: Uint8Array;
  readonly evidence: Uint8Array;
  readonly platform: AttestationPlatform;
  readonly #appraised = true;

  constructor(args: {
    readonly manifest: SessionManifest;
    readonly evidence: Uint8Array;
    readonly platform: AttestationPlatform;
  }) {
    this.manifest = args.manifest;
    this.manifestDigest = SESSION_MANIFEST.digest(args.manifest);
    this.evidence = args.evidence;
    this.platform = args.platform;
  }

  get appraised(): boolean {
    return this.#appraised;
  }
}

export type { VerifiedPeer };

/**
 * Verifies and appraises another enclave of the same task.
 *
 * Its evidence must answer this enclave's challenge for exactly this manifest, so it is no older than this session;
 * its measurement must be one that governance accepts now, by the time this enclave's own NSM signed; genesis,
 * anchors and configuration must be those of this enclave.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED, TEE_DOCUMENT_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} COORDINATION_ROLE_REFUSED, GOVERNANCE_GENESIS_MISMATCH, TEE_PLATFORM_REFUSED, and
 *   as `verifyNitroDocument`
 * @throws {@link AppraisalError} as `appraiseEvidence`
 */
export function verifyPeer(
  own: { readonly enclave: BootedEnclave; readonly evidence: OwnEvidence },
  state: GovernanceState,
  presented: PresentedPeer & { readonly role: EnclaveRole },
): VerifiedPeer {
  const manifest = SESSION_MANIFEST.decode(presented.manifest);
  requireSameImage(own.enclave.manifest, manifest, presented.role);
  const manifestDigest = SESSION_MANIFEST.digest(manifest);
  const { timeMs } = own.evidence;
  const { attestation } = state.policy;
  const evidence = verifyNitroDocument(presented.evidence, own.enclave.environment.anchors, {
    mode: "live",
    nowMs: timeMs,
  });
  appraiseEvidence(evidence, {
    platforms: attestation.platforms,
    measurements: attestation.reference_values.map((value) => ({
      pcr0: value.pcr0,
      pcr1: value.pcr1,
      pcr2: value.pcr2,
      validFromMs: value.valid_from_ms,
      validUntilMs: value.valid_until_ms,
    })),
    revokedMeasurements: state.revokedMeasurements,
    revokedModuleIds: state.revokedModuleIds,
    nonce: { equals: peerNonce(own.enclave.manifest.challenge, manifestDigest) },
    userData: { equals: manifestDigest },
    publicKey: { equals: manifest.recipient_key },
    maxAgeMs: { atMost: attestation.age_ms_max },
    judgedAtMs: timeMs,
  });
  return new VerifiedPeer({ manifest, evidence: presented.evidence, platform: evidence.platform });
}

/** What two enclaves of one task must agree on; the measurement says the code is the same, this says the rest. */
function requireSameImage(own: SessionManifest, peer: SessionManifest, role: EnclaveRole): void {
  if (peer.role !== role) {
    throw new VerificationError(
      { code: "COORDINATION_ROLE_REFUSED", expected: role, actual: peer.role },
      `peer: expected role ${role}, got ${peer.role}`,
    );
  }
  if (!equalBytes(peer.genesis_digest, own.genesis_digest)) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH" },
      "peer: expected an enclave of this network, got one of another",
    );
  }
  const alike =
    equalBytes(encodeCbor(peer.anchors), encodeCbor(own.anchors)) &&
    equalBytes(peer.configuration_digest, own.configuration_digest);
  if (alike) return;
  throw new VerificationError(
    { code: "TEE_PLATFORM_REFUSED" },
    "peer: expected the trust anchors and configuration of this enclave, got others",
  );
}
