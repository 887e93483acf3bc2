import { appraiseSession, type AttestationPlatform } from "#attestation";
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
  requireSameSettings(own.enclave.manifest, manifest);
  const report = appraiseSession({
    evidence: presented.evidence,
    manifest,
    role: presented.role,
    nonce: peerNonce(own.enclave.manifest.challenge, SESSION_MANIFEST.digest(manifest)),
    governance: state,
    anchors: own.enclave.environment.anchors,
    at: { mode: "live", nowMs: own.evidence.timeMs },
  });
  return new VerifiedPeer({ manifest, evidence: presented.evidence, platform: report.platform });
}

/** The measurement says that two enclaves run the same code; this, that they run it with the same settings. */
function requireSameSettings(own: SessionManifest, peer: SessionManifest): void {
  const alike =
    equalBytes(encodeCbor(peer.anchors), encodeCbor(own.anchors)) &&
    equalBytes(peer.configuration_digest, own.configuration_digest);
  if (alike) return;
  throw new VerificationError(
    { code: "TEE_PLATFORM_REFUSED" },
    "peer: expected the trust anchors and configuration of this enclave, got others",
  );
}
