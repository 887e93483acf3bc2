import { MalformedError, VerificationError, equalBytes } from "#protocol";

import { verifyAnchored, type AttestationPlatform, type TrustAnchor } from "./anchor.ts";
import { isSignedBy, namesIssuer, parseCertificate, type Certificate } from "./certificate.ts";
import type { CertificateProfile } from "./profile.ts";

/** A path to verify, and what it is judged by. */
export interface PathClaim {
  /** DER, root first, leaf last; at least two. */
  readonly chain: readonly Uint8Array[];
  readonly profile: CertificateProfile;
  readonly anchors: readonly TrustAnchor[];
  /** Platforms whose anchors count. */
  readonly platforms: readonly AttestationPlatform[];
  /** Every instant at which all must be valid, milliseconds since 1970; at least one. */
  readonly instantsMs: readonly number[];
}

/** A certificate path that was verified: the anchor it starts from and the key it ends in. */
export interface VerifiedPath {
  readonly anchor: TrustAnchor;
  readonly leaf: Certificate;
  /** All of them, root first, leaf last. */
  readonly certificates: readonly Certificate[];
}

/**
 * Verifies the path from a pinned root to a leaf, with every certificate valid at every instant given.
 *
 * Checks, in this order: each certificate's shape, the root against `anchors` (byte for byte), then for each
 * certificate its validity, authority, keyCertSign and path length, its issuer's name and signature; the leaf
 * must be no authority and must have digitalSignature. Certificates are not looked up elsewhere. Revocation
 * lists are not read here: AWS publishes none (attestation_process.md § 3.2.3), others' verifiers add them.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED,
 * TEE_CERTIFICATE_NOT_YET_VALID, TEE_POLICY_EMPTY, TEE_PLATFORM_REFUSED
 * @see RFC 5280 § 6.1
 */
export function verifyPath(claim: PathClaim): VerifiedPath {
  const { chain, profile, anchors, platforms, instantsMs } = claim;
  const path = chain.map((der) => parseCertificate(der, profile));
  const [root] = path;
  const leaf = path[path.length - 1];
  if (root === undefined || leaf === undefined || path.length < 2 || instantsMs.length === 0) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED", certificates: path.length },
      `chain: expected a root and a leaf, got ${path.length} certificates`,
    );
  }
  const anchor = verifyAnchored(root, anchors, platforms);
  path.forEach((certificate, position) => {
    for (const instantMs of instantsMs) verifyValidity(certificate, position, instantMs);
    if (position < path.length - 1) verifyAuthority(certificate, position, path.length);
    verifyIssued(certificate, path[Math.max(0, position - 1)], position);
    verifyOnce(certificate, path.slice(0, position), position);
  });
  verifyLeaf(leaf);
  return { anchor, leaf, certificates: path };
}

function verifyValidity(certificate: Certificate, position: number, instantMs: number): void {
  const { notBeforeMs, notAfterMs } = certificate;
  if (instantMs < notBeforeMs) {
    throw new VerificationError(
      { code: "TEE_CERTIFICATE_NOT_YET_VALID", position, notBeforeMs, instantMs },
      `certificate ${position}: expected a time from ${notBeforeMs} on, got ${instantMs}`,
    );
  }
  if (!(instantMs <= notAfterMs)) {
    throw new VerificationError(
      { code: "TEE_CERTIFICATE_EXPIRED", position, notAfterMs, instantMs },
      `certificate ${position}: expected a time up to ${notAfterMs}, got ${instantMs}`,
    );
  }
}

/** `pathLength` bounds the authorities between this certificate and the leaf. */
function verifyAuthority(certificate: Certificate, position: number, count: number): void {
  if (!certificate.isAuthority || !certificate.keyUsage.keyCertSign) {
    throw untrusted(position, "an authority that may sign certificates", "another certificate");
  }
  const following = count - 2 - position;
  if (certificate.pathLength !== null && following > certificate.pathLength) {
    throw untrusted(
      position,
      `at most ${certificate.pathLength} authorities to follow`,
      `${following}`,
    );
  }
}

function verifyIssued(
  certificate: Certificate,
  issuer: Certificate | undefined,
  position: number,
): void {
  if (issuer === undefined || !namesIssuer(certificate, issuer)) {
    throw untrusted(position, "the name of the certificate before it as issuer", "another name");
  }
  if (!isSignedBy(certificate, issuer)) {
    throw untrusted(position, "the signature of the certificate before it", "another one");
  }
}

/** No certificate may be in a path twice (RFC 5280 § 6.1): a root signs itself, however often. */
function verifyOnce(
  certificate: Certificate,
  before: readonly Certificate[],
  position: number,
): void {
  if (before.some(({ der }) => equalBytes(der, certificate.der))) {
    throw untrusted(position, "each certificate once", "one repeated");
  }
}

function verifyLeaf(leaf: Certificate): void {
  if (leaf.isAuthority || !leaf.keyUsage.digitalSignature || leaf.keyUsage.keyCertSign) {
    throw untrusted(-1, "a leaf that may sign data and no certificates", "another certificate");
  }
}

function untrusted(position: number, expected: string, got: string): VerificationError {
  const name = position < 0 ? "leaf" : `certificate ${position}`;
  return new VerificationError(
    { code: "TEE_CHAIN_UNTRUSTED", position },
    `${name}: expected ${expected}, got ${got}`,
  );
}
