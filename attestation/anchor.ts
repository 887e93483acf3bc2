import { VerificationError, equalBytes, hex, sha256 } from "#protocol";

import { parseCertificate, type Certificate } from "./certificate.ts";

/** Platforms whose evidence this module verifies. `sim` is the make-believe one: no hardware behind it. */
export const ATTESTATION_PLATFORMS = ["aws-nitro", "sim"] as const;

/** One of {@link ATTESTATION_PLATFORMS}. */
export type AttestationPlatform = (typeof ATTESTATION_PLATFORMS)[number];

/** A root certificate that a verifier chose to trust, and the platform it vouches for. */
export interface TrustAnchor {
  readonly platform: AttestationPlatform;
  /** The self-signed certificate, DER. */
  readonly certificate: Uint8Array;
}

/** The word in the subject name of every simulator root, and of no other root. */
export const SIMULATED_MARK = "SIMULATED";

/**
 * The anchor among `anchors` that is byte for byte `root`.
 *
 * An anchor labelled `sim` must carry {@link SIMULATED_MARK} in its subject and any other must not, so that
 * a configuration cannot pass a simulator off as hardware by its label.
 *
 * @throws {@link VerificationError} TEE_POLICY_EMPTY without anchors, TEE_CHAIN_UNTRUSTED without a match,
 * TEE_PLATFORM_REFUSED when the matching anchor's label and subject disagree.
 */
export function verifyAnchored(root: Certificate, anchors: readonly TrustAnchor[]): TrustAnchor {
  if (anchors.length === 0) {
    throw new VerificationError(
      { code: "TEE_POLICY_EMPTY" },
      "anchors: expected at least one trust anchor, got none",
    );
  }
  const anchor = anchors.find((candidate) => equalBytes(candidate.certificate, root.der));
  if (anchor === undefined) {
    throw new VerificationError(
      { code: "TEE_CHAIN_UNTRUSTED", root_sha256: hex(sha256(root.der)) },
      `chain: expected a root among ${anchors.length} trust anchors, got another one`,
    );
  }
  if (isSimulated(root) !== (anchor.platform === "sim")) {
    throw new VerificationError(
      { code: "TEE_PLATFORM_REFUSED", platform: anchor.platform },
      `anchor: expected the label to agree with the subject name, got ${anchor.platform}`,
    );
  }
  return anchor;
}

/**
 * Makes an anchor of a certificate in DER; the platform follows from its subject name.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 */
export function parseAnchor(certificate: Uint8Array): TrustAnchor {
  const parsed = parseCertificate(certificate);
  return { platform: isSimulated(parsed) ? "sim" : "aws-nitro", certificate: parsed.der };
}

function isSimulated(certificate: Certificate): boolean {
  return Buffer.from(certificate.subject).includes(SIMULATED_MARK, 0, "latin1");
}
