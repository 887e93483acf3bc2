import { MalformedError, VerificationError, equalBytes } from "#protocol";

import { verifyAnchored, type AttestationPlatform, type TrustAnchor } from "./anchor.ts";
import {
  commonName,
  isSignedBy,
  namesIssuer,
  parseCertificate,
  type Certificate,
} from "./certificate.ts";
import { ChainCache } from "./chain-cache.ts";
import { isoTime } from "./der-time.ts";
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
  readonly chainCache?: ChainCache | undefined;
  /** Certificates of this profile that were parsed already: one of the chain with the same bytes is not parsed again. */
  readonly parsed?: readonly Certificate[];
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
 * Checks, in this order: each certificate's shape, the root against `anchors` (byte for byte, so its own signature says
 * nothing more), then for each certificate its authority, keyCertSign and path length, its issuer's name and signature;
 * the leaf must be no authority and must have digitalSignature; at last the validity of all. With a `chainCache`, a chain
 * found linked before is not linked again; anchor and validity are judged every time. Certificates are not looked up
 * elsewhere. Revocation lists are not read here: AWS publishes none (attestation_process.md § 3.2.3), others'
 * verifiers add them.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED,
 * TEE_CERTIFICATE_NOT_YET_VALID, TEE_POLICY_EMPTY, TEE_PLATFORM_REFUSED
 * @see RFC 5280 § 6.1
 */
export function verifyPath(claim: PathClaim): VerifiedPath {
  const { profile, anchors, platforms, instantsMs, chainCache, parsed = [] } = claim;
  const known = chainCache === undefined ? null : ChainCache.recall(chainCache, claim);
  const parse = (der: Uint8Array): Certificate =>
    parsed.find((certificate) => equalBytes(certificate.der, der)) ??
    parseCertificate(der, profile);
  const path = known ?? claim.chain.map(parse);
  const [root] = path;
  const leaf = path[path.length - 1];
  if (root === undefined || leaf === undefined || path.length < 2 || instantsMs.length === 0) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED", certificates: path.length },
      `chain: expected a root and a leaf, got ${path.length} certificates`,
    );
  }
  const anchor = verifyAnchored(root, anchors, platforms);
  if (known === null) verifyLinked(path, leaf);
  path.forEach((certificate, position) => {
    for (const instantMs of instantsMs) verifyValidity(certificate, position, instantMs);
  });
  if (chainCache !== undefined && known === null) ChainCache.remember(chainCache, claim, path);
  return { anchor, leaf, certificates: path };
}

/** What holds of these bytes at any time and under any anchor. */
function verifyLinked(path: readonly Certificate[], leaf: Certificate): void {
  path.forEach((certificate, position) => {
    if (position < path.length - 1) verifyAuthority(certificate, position, path.length);
    const issuer = path[position - 1];
    if (issuer !== undefined) verifyIssued(certificate, issuer, position);
    verifyOnce(certificate, path.slice(0, position), position);
  });
  verifyLeaf(leaf, path.length - 1);
}

function verifyValidity(certificate: Certificate, position: number, instantMs: number): void {
  const { notBeforeMs, notAfterMs } = certificate;
  if (instantMs < notBeforeMs) {
    throw new VerificationError(
      { code: "TEE_CERTIFICATE_NOT_YET_VALID", position, notBeforeMs, instantMs },
      `${nameOf(certificate, position)}: expected a time from ${isoTime(notBeforeMs)} on, got ${isoTime(instantMs)}`,
    );
  }
  if (!(instantMs <= notAfterMs)) {
    throw new VerificationError(
      { code: "TEE_CERTIFICATE_EXPIRED", position, notAfterMs, instantMs },
      `${nameOf(certificate, position)}: expected a time up to ${isoTime(notAfterMs)}, got ${isoTime(instantMs)}`,
    );
  }
}

/** `pathLength` bounds the authorities between this certificate and the leaf. */
function verifyAuthority(certificate: Certificate, position: number, count: number): void {
  const fault = untrusted(certificate, position);
  if (!certificate.isAuthority) throw fault("an authority", "none");
  if (!certificate.keyUsage.keyCertSign) throw fault("keyCertSign in keyUsage", "other bits");
  const following = count - 2 - position;
  if (certificate.pathLength !== null && following > certificate.pathLength) {
    throw fault(`at most ${certificate.pathLength} authorities to follow`, `${following}`);
  }
}

function verifyIssued(certificate: Certificate, issuer: Certificate, position: number): void {
  const fault = untrusted(certificate, position);
  if (!namesIssuer(certificate, issuer)) {
    throw fault("the name of the certificate before it as issuer", "another name");
  }
  if (!isSignedBy(certificate, issuer)) {
    throw fault("the signature of the certificate before it", "another one");
  }
}

/** No certificate may be in a path twice (RFC 5280 § 6.1): a root signs itself, however often. */
function verifyOnce(
  certificate: Certificate,
  before: readonly Certificate[],
  position: number,
): void {
  if (before.some(({ der }) => equalBytes(der, certificate.der))) {
    throw untrusted(certificate, position)("each certificate once", "one repeated");
  }
}

function verifyLeaf(leaf: Certificate, position: number): void {
  const fault = untrusted(leaf, position);
  if (leaf.isAuthority) throw fault("a leaf that is no authority", "an authority");
  if (!leaf.keyUsage.digitalSignature) throw fault("digitalSignature in keyUsage", "other bits");
  if (leaf.keyUsage.keyCertSign) throw fault("a leaf without keyCertSign in keyUsage", "one with");
}

function untrusted(
  certificate: Certificate,
  position: number,
): (expected: string, got: string) => VerificationError {
  return (expected, got) =>
    new VerificationError(
      { code: "TEE_CHAIN_UNTRUSTED", position },
      `${nameOf(certificate, position)}: expected ${expected}, got ${got}`,
    );
}

/** Such as `certificate 3 (CN i-0123456789abcdef.eu-west-1.aws.nitro-enclaves)`. */
function nameOf(certificate: Certificate, position: number): string {
  return `certificate ${position} (CN ${commonName(certificate)})`;
}
