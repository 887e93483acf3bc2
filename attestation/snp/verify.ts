import { verify } from "node:crypto";

import { MalformedError, VerificationError, equalBytes, hex } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import { verifyBinding, type ReportBinding } from "../binding.ts";
import type { Certificate } from "../certificate.ts";
import { VerifiedEvidence } from "../evidence.ts";
import { instantOf, type JudgedAt } from "../judged-at.ts";
import { verifyPath, type VerifiedPath } from "../path.ts";
import { AMD_PROFILE } from "../profile.ts";
import { derSignature } from "../public-key.ts";
import type { SnpClaims } from "./claims.ts";
import { readEndorsement, type SnpEndorsement } from "./endorsement.ts";
import { productLineOfCpu } from "./product.ts";
import { parseSnpReport, type SnpReport } from "./report.ts";
import { decodeTcb } from "./tcb.ts";

/** An SEV-SNP report as it is presented. */
export interface SnpEvidence {
  /** The report, 1184 bytes. */
  readonly document: Uint8Array;
  /** ARK, then ASK and VCEK or ASVK and VLEK; DER. */
  readonly endorsements: readonly Uint8Array[];
  /** The values whose digest REPORT_DATA is; null when it is bound to something else. */
  readonly binding: ReportBinding | null;
}

/**
 * Verifies that a platform of AMD's signed `document` and that its certificates chain to `anchors`.
 *
 * Checks, in this order: shape, certificate path, one product line and kind of key throughout, signature over the
 * received bytes, the leaf's TCB and chip id against the report's, and REPORT_DATA against the binding. Does not
 * judge measurement, guest policy or TCB; that is `appraiseEvidence`. Does no I/O.
 *
 * Revocation lists are not read: AMD's are signed by the ARK of each product line and so name no more than ASK and
 * ASVK. To stop trusting a chip or a TCB, list the chip id in `revokedIdentities` or raise the policy's minimum.
 *
 * A report has no time of its own: certificates are judged at `nowMs`, or in a replay at `recordedMs`. Freshness
 * comes from a nonce in the binding alone. The identity is CHIP_ID in hex; where the host hides it, which only a VLEK
 * allows, it is `vlek:` and the cloud provider's id.
 *
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When the certificates are judged. No default.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED, TEE_CERTIFICATE_NOT_YET_VALID,
 * TEE_SIGNATURE_INVALID, TEE_IDENTITY_MISMATCH, TEE_TCB_REFUSED, TEE_REPORT_DATA_MISMATCH, TEE_POLICY_EMPTY,
 * TEE_PLATFORM_REFUSED
 * @see AMD publications 56860 (report) and 57230 (certificates)
 */
export function verifySnpReport(
  { document, endorsements, binding }: SnpEvidence,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedEvidence<SnpClaims> {
  const report = parseSnpReport(document);
  const judgedAtMs = instantOf(at);
  const path = verifyPath({
    chain: endorsements,
    profile: AMD_PROFILE,
    anchors,
    platforms: ["amd-sev-snp"],
    instantsMs: [judgedAtMs],
    chainCache: at.chainCache,
  });
  const endorsement = readEndorsement(threeOf(path), report.signingKey);
  verifySignature(report, path.leaf);
  verifyEndorsed(report, endorsement);
  verifyBinding(report.reportData, binding);
  return new VerifiedEvidence({
    platform: path.anchor.platform,
    identity: identityOf(report, endorsement),
    timestampMs: null,
    judgedAtMs,
    measurement: { measurement: hex(report.measurement) },
    nonce: binding?.nonce ?? null,
    userData: binding?.userData ?? null,
    publicKey: binding?.publicKey ?? null,
    isBound: binding !== null,
    document: report.document,
    endorsements: path.certificates.map(({ der }) => der),
    collateral: null,
    expiries: path.certificates.map(({ notAfterMs }, position) => ({
      subject: `certificate ${position}`,
      notAfterMs,
    })),
    claims: snpClaims(report, endorsement),
  });
}

function threeOf({ certificates }: VerifiedPath): readonly [Certificate, Certificate, Certificate] {
  const [ark, authority, leaf, ...more] = certificates;
  if (ark === undefined || authority === undefined || leaf === undefined || more.length > 0) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED", certificates: certificates.length },
      `chain: expected three certificates, got ${certificates.length}`,
    );
  }
  return [ark, authority, leaf];
}

function verifySignature({ signed, signature }: SnpReport, { publicKey }: Certificate): void {
  if (!verify("sha384", signed, publicKey, derSignature(signature))) {
    throw new VerificationError(
      { code: "TEE_SIGNATURE_INVALID" },
      "report: expected the signature of its leaf certificate's key, got another one",
    );
  }
}

/** The leaf must be this report's: of its processor, its chip, and the TCB version it reports. */
function verifyEndorsed({ cpu, chipId, reportedTcb }: SnpReport, leaf: SnpEndorsement): void {
  const { productLine, hwId, tcb } = leaf;
  if (cpu !== null && productLineOfCpu(cpu) !== productLine) {
    throw new VerificationError(
      { code: "TEE_IDENTITY_MISMATCH", field: "cpuid" },
      `report cpuid: expected one of ${productLine}, got family ${cpu.family} model ${cpu.model}`,
    );
  }
  const hwIdOfReport = chipId.subarray(0, productLine === "Turin" ? 8 : 64);
  if (hwId !== null && !equalBytes(hwId, hwIdOfReport)) {
    throw new VerificationError(
      { code: "TEE_IDENTITY_MISMATCH", field: "chip_id" },
      `report chip_id: expected the leaf's hwID ${hex(hwId)}, got ${hex(hwIdOfReport)}`,
    );
  }
  if (!equalBytes(tcb, reportedTcb)) {
    throw new VerificationError(
      { code: "TEE_TCB_REFUSED", field: "reported_tcb" },
      `report reported_tcb: expected the leaf's ${hex(tcb)}, got ${hex(reportedTcb)}`,
    );
  }
}

/** A VCEK's chip is never all zero: its certificate names the chip. */
function identityOf({ chipId }: SnpReport, { cspId }: SnpEndorsement): string {
  return cspId !== null && chipId.every((byte) => byte === 0) ? `vlek:${cspId}` : hex(chipId);
}

function snpClaims(report: SnpReport, { productLine, cspId }: SnpEndorsement): SnpClaims {
  const { currentTcb, reportedTcb, committedTcb, launchTcb, ...others } = report;
  const { signed: _signed, signature: _signature, document: _document, ...fields } = others;
  return {
    format: "snp",
    productLine,
    cspId,
    currentTcb: decodeTcb(currentTcb, productLine),
    reportedTcb: decodeTcb(reportedTcb, productLine),
    committedTcb: decodeTcb(committedTcb, productLine),
    launchTcb: decodeTcb(launchTcb, productLine),
    ...fields,
  };
}
