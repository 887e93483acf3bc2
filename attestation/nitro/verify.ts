import { verify } from "node:crypto";

import { VerificationError, concat, encodeCbor, fromHex, hex } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import { VerifiedEvidence } from "../evidence.ts";
import { instantsOf, type JudgedAt } from "../judged-at.ts";
import { verifyPath } from "../path.ts";
import type { NitroMeasurement } from "../policy.ts";
import { NITRO_PROFILE } from "../profile.ts";
import { derSignature } from "../public-key.ts";
import type { NitroClaims } from "./claims.ts";
import { COSE_PROTECTED_HEADER, parseNitroDocument, type NitroDocument } from "./document.ts";

/** Sig_structure up to the payload: "Signature1", the protected header, no external data (RFC 9052 § 4.4). */
const SIGNED_START = concat(
  fromHex("84"),
  encodeCbor("Signature1"),
  encodeCbor(COSE_PROTECTED_HEADER),
  encodeCbor(new Uint8Array(0)),
);

/**
 * Verifies that a Nitro Secure Module signed `document` and that its certificates chain to `anchors`.
 *
 * Checks, in this order: size, COSE_Sign1 shape and ES384, certificate path, signature over the received
 * bytes. Does not judge PCRs, nonce or user data; that is `appraiseEvidence`. Does no I/O.
 * High-s signatures are accepted, as ECDSA does: never key anything on a document's or signature's hash.
 *
 * @param document - COSE_Sign1 as the NSM returned it; at most 12 288 bytes.
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When the chain is judged. No default.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED,
 * TEE_CERTIFICATE_NOT_YET_VALID, TEE_SIGNATURE_INVALID, TEE_POLICY_EMPTY, TEE_PLATFORM_REFUSED
 * @see AWS NSM API, docs/attestation_process.md § 3 (validation order)
 * @see RFC 9052 § 4.4 (what is signed), RFC 5280 § 6.1 (path validation)
 */
export function verifyNitroDocument(
  document: Uint8Array,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedEvidence<NitroClaims> {
  const parsed = parseNitroDocument(document);
  const chain = [...parsed.cabundle, parsed.certificate];
  const { anchor, leaf, certificates } = verifyPath({
    chain,
    profile: NITRO_PROFILE,
    anchors,
    platforms: ["aws-nitro", "sim"],
    instantsMs: instantsOf(at, parsed.timestampMs),
    chainCache: at.chainCache,
  });
  const signed = concat(SIGNED_START, parsed.payloadItem);
  if (!verify("sha384", signed, leaf.publicKey, derSignature(parsed.signature))) {
    throw new VerificationError(
      { code: "TEE_SIGNATURE_INVALID", moduleId: parsed.moduleId },
      "document: expected the signature of its leaf certificate's key, got another one",
    );
  }
  return new VerifiedEvidence({
    platform: anchor.platform,
    identity: parsed.moduleId,
    timestampMs: parsed.timestampMs,
    judgedAtMs: parsed.timestampMs,
    measurement: measurementOf(parsed),
    nonce: parsed.nonce,
    userData: parsed.userData,
    publicKey: parsed.publicKey,
    isBound: false,
    document: parsed.document,
    endorsements: chain,
    collateral: null,
    expiries: certificates.map(({ notAfterMs }, position) => ({
      subject: `certificate ${position}`,
      notAfterMs,
    })),
    claims: nitroClaims(parsed),
  });
}

function nitroClaims({ moduleId, timestampMs, pcrs }: NitroDocument): NitroClaims {
  return { format: "nitro", moduleId, timestampMs, pcrs };
}

/** A PCR that is not in the document is empty text, which no reference value equals. */
function measurementOf({ pcrs }: NitroDocument): NitroMeasurement {
  const pcr = (index: number): string => hex(pcrs.get(index) ?? new Uint8Array(0));
  return { pcr0: pcr(0), pcr1: pcr(1), pcr2: pcr(2) };
}
