import { VerificationError, equalBytes, hex, sha256 } from "#protocol";

import { isSignedBy, namesIssuer, parseCertificate, type Certificate } from "./certificate.ts";
import { AMD_PROFILE, INTEL_PROFILE, NITRO_PROFILE } from "./profile.ts";

/** Platforms whose evidence this module verifies. `sim` is the make-believe one: no hardware behind it. */
export const ATTESTATION_PLATFORMS = ["aws-nitro", "amd-sev-snp", "intel-tdx", "sim"] as const;

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
 * The anchor among `anchors` that is byte for byte `root` and vouches for one of `platforms`.
 *
 * An anchor labelled `sim` must carry {@link SIMULATED_MARK} in its subject and any other must not, so that
 * a configuration cannot pass a simulator off as hardware by its label.
 *
 * @throws {@link VerificationError} TEE_POLICY_EMPTY without anchors, TEE_CHAIN_UNTRUSTED without a match,
 * TEE_PLATFORM_REFUSED when the matching anchor's label and subject disagree, or it vouches for another platform.
 */
export function verifyAnchored(
  root: Certificate,
  anchors: readonly TrustAnchor[],
  platforms: readonly AttestationPlatform[],
): TrustAnchor {
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
  if (!platforms.includes(anchor.platform)) {
    throw new VerificationError(
      { code: "TEE_PLATFORM_REFUSED", platform: anchor.platform },
      `anchor: expected one of ${platforms.join(" or ")}, got one of ${anchor.platform}`,
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
 * Makes an anchor of a root certificate in DER, which signs itself; the platform follows from its subject name.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED for a certificate that another one issued.
 */
export function parseAnchor(certificate: Uint8Array): TrustAnchor {
  const { platform, parsed } = parseRoot(certificate);
  if (!namesIssuer(parsed, parsed) || !isSignedBy(parsed, parsed)) {
    throw new VerificationError(
      { code: "TEE_CHAIN_UNTRUSTED", sha256: hex(sha256(parsed.der)) },
      "anchor: expected a root, which signs itself, got another certificate",
    );
  }
  return { platform, certificate: parsed.der };
}

function parseRoot(certificate: Uint8Array): {
  platform: AttestationPlatform;
  parsed: Certificate;
} {
  const name = Buffer.from(certificate).toString("latin1");
  if (name.includes("ARK-")) {
    return { platform: "amd-sev-snp", parsed: parseCertificate(certificate, AMD_PROFILE) };
  }
  if (name.includes("Intel SGX Root CA")) {
    return { platform: "intel-tdx", parsed: parseCertificate(certificate, INTEL_PROFILE) };
  }
  const parsed = parseCertificate(certificate, NITRO_PROFILE);
  return { platform: isSimulated(parsed) ? "sim" : "aws-nitro", parsed };
}

function isSimulated(certificate: Certificate): boolean {
  return Buffer.from(certificate.subject).includes(SIMULATED_MARK, 0, "latin1");
}
