import { verify } from "node:crypto";

import { MalformedError, VerificationError, equalBytes, fromHex, hex, sha256 } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import { verifyBinding, type ReportBinding } from "../binding.ts";
import type { Certificate } from "../certificate.ts";
import { VerifiedEvidence } from "../evidence.ts";
import { instantOf, type JudgedAt } from "../judged-at.ts";
import { verifyPath, type VerifiedPath } from "../path.ts";
import { INTEL_PROFILE } from "../profile.ts";
import { derSignature } from "../public-key.ts";
import { importAttestationKey } from "./attestation-key.ts";
import { decodeAttributes } from "./attributes.ts";
import type { TdxClaims } from "./claims.ts";
import type { Collateral } from "./collateral.ts";
import { parsePckChain, parsePckExtension, type PckExtension } from "./pck.ts";
import { parseTdxQuote, type QeReport, type TdReport, type TdxQuote } from "./quote.ts";
import type { QeIdentity, TcbInfo } from "./statement.ts";
import { moduleOf, tcbOf, type TcbClaims, type TdxModule } from "./tcb.ts";
import { VerifiedCollateral, verifyCollateralBeside } from "./verified-collateral.ts";

/** A TDX quote as it is presented. */
export interface TdxEvidence {
  /** The quote; at most 16 KiB. */
  readonly document: Uint8Array;
  /** As fetched, or verified once by `verifyCollateral` for many quotes. */
  readonly collateral: Collateral | VerifiedCollateral;
  /** The values whose digest REPORTDATA is; null when it is bound to something else. */
  readonly binding: ReportBinding | null;
}

/**
 * Verifies that a TDX platform of Intel's signed `document`, and what Intel says of that platform.
 *
 * Checks, in this order: the quote's shape; the path from a pinned root to the PCK; collateral (`verifyCollateral`)
 * and that it is current; revocation; the PCK's signature of the QE report, the attestation key's digest in it, the
 * attestation key's signature of the quote; that collateral is of this platform (FMSPC, PCE-ID), that the quoting
 * enclave and the TDX module are those Intel lists; REPORTDATA against the binding. Does not judge measurement, TCB
 * status or attributes; that is `appraiseEvidence`. Does no I/O.
 *
 * A quote has no time of its own: everything is judged at `nowMs`, or in a replay at `recordedMs`. Freshness comes
 * from a nonce in the binding alone. The identity is the PPID of the PCK certificate, 32 hex digits: it names one
 * platform, where the FMSPC would name all of a kind. SGX quotes are refused, see `parseTdxQuote`.
 *
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When certificates and collateral are judged. No default.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED, TEE_CHAIN_MALFORMED, TEE_COLLATERAL_MALFORMED
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED, TEE_CERTIFICATE_NOT_YET_VALID,
 * TEE_CERTIFICATE_REVOKED, TEE_SIGNATURE_INVALID, TEE_COLLATERAL_MALFORMED, TEE_COLLATERAL_EXPIRED,
 * TEE_IDENTITY_MISMATCH, TEE_REPORT_DATA_MISMATCH, TEE_POLICY_EMPTY, TEE_PLATFORM_REFUSED
 * @see Intel TDX DCAP Quoting Library API, appendix 3; Intel SGX and TDX PCS API, version 4
 */
export function verifyTdxQuote(
  { document, collateral, binding }: TdxEvidence,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedEvidence<TdxClaims> {
  const quote = parseTdxQuote(document);
  const judgedAtMs = instantOf(at);
  const path = verifyPath({
    chain: parsePckChain(quote.pckChain),
    profile: INTEL_PROFILE,
    anchors,
    platforms: ["intel-tdx"],
    instantsMs: [judgedAtMs],
    chainCache: at.chainCache,
  });
  const pck = parsePckExtension(path.leaf);
  const endorsed =
    collateral instanceof VerifiedCollateral
      ? collateral
      : verifyCollateralBeside(path.certificates, { collateral, anchors, at });
  endorsed.verifyCurrent(judgedAtMs);
  endorsed.verifyPckPath(...threeOf(path));
  verifySignatures(quote, path.leaf);
  const tcb = verifyEndorsed(quote, pck, endorsed);
  verifyBinding(quote.report.reportData, binding);
  return new VerifiedEvidence({
    platform: path.anchor.platform,
    identity: hex(pck.ppid),
    timestampMs: null,
    judgedAtMs,
    measurement: measurementOf(quote),
    nonce: binding?.nonce ?? null,
    userData: binding?.userData ?? null,
    publicKey: binding?.publicKey ?? null,
    isBound: binding !== null,
    document: quote.document,
    endorsements: path.certificates.map(({ der }) => der),
    collateral: VerifiedCollateral.open(endorsed).raw,
    expiries: [
      ...path.certificates.map(({ notAfterMs }, position) => ({
        subject: `certificate ${position}`,
        notAfterMs,
      })),
      ...endorsed.expiries,
    ],
    claims: claimsOf(quote, pck, tcb),
  });
}

/** `parsePckChain` gives three, and `verifyPath` returns as many. */
function threeOf({ certificates }: VerifiedPath): [Certificate, Certificate, Certificate] {
  const [root, issuer, pck] = certificates;
  if (root === undefined || issuer === undefined || pck === undefined) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED", certificates: certificates.length },
      `chain: expected three certificates, got ${certificates.length}`,
    );
  }
  return [root, issuer, pck];
}

/** From the PCK to the QE report, from the digest in it to the attestation key, from that to the quote. */
function verifySignatures(quote: TdxQuote, pck: Certificate): void {
  const { qeReport, qeReportBytes, qeReportSignature, attestationKey, qeAuthData } = quote;
  if (!verify("sha256", qeReportBytes, pck.publicKey, derSignature(qeReportSignature))) {
    throw invalid("QE report", "the signature of the PCK");
  }
  const bound = new Uint8Array(64);
  bound.set(sha256(attestationKey, qeAuthData));
  if (!equalBytes(qeReport.reportData, bound)) {
    throw invalid("QE report data", "the digest of the attestation key, and zeros");
  }
  const key = importAttestationKey(attestationKey);
  if (!verify("sha256", quote.signed, key, derSignature(quote.signature))) {
    throw invalid("quote", "the signature of the attestation key");
  }
}

/** Collateral must be of this platform, and quoting enclave and TDX module those it lists. */
function verifyEndorsed(
  { report, qeReport }: TdxQuote,
  pck: PckExtension,
  endorsed: VerifiedCollateral,
): TcbClaims {
  const { tcbInfo, qeIdentity } = VerifiedCollateral.open(endorsed);
  verifySame("fmspc", tcbInfo.fmspc, pck.fmspc);
  verifySame("pceId", tcbInfo.pceId, pck.pceId);
  verifyQuotingEnclave(qeReport, qeIdentity);
  const module = verifyModule(report, tcbInfo);
  return tcbOf({ pck, report, module, qeReport, tcbInfo, qeIdentity });
}

function verifySame(field: string, expected: string, actual: Uint8Array): void {
  if (hex(actual) === expected) return;
  throw new VerificationError(
    { code: "TEE_COLLATERAL_MALFORMED", subject: "tcb_info", field },
    `tcb_info ${field}: expected ${hex(actual)} as the PCK certificate has it, got ${expected}`,
  );
}

/** ATTRIBUTES of an SGX enclave, first octet: DEBUG (Intel SDM volume 3D, § 38.7.1). */
const SGX_DEBUG = 0x02;

function verifyQuotingEnclave(report: QeReport, identity: QeIdentity): void {
  const { miscSelect, attributes, mrSigner, isvProdId } = report;
  const { miscselect, miscselectMask, attributesMask } = identity;
  if (((attributes[0] ?? SGX_DEBUG) & SGX_DEBUG) !== 0) {
    throw unlisted("QE attributes", "a quoting enclave without debug");
  }
  if (hex(mrSigner) !== identity.mrsigner) throw unlisted("QE mrsigner", identity.mrsigner);
  if (isvProdId !== identity.isvprodid) throw unlisted("QE isvprodid", `${identity.isvprodid}`);
  if (masked(miscSelect, miscselectMask) !== miscselect) {
    throw unlisted("QE miscselect", miscselect);
  }
  if (masked(attributes, attributesMask) !== identity.attributes) {
    throw unlisted("QE attributes", identity.attributes);
  }
}

function verifyModule(report: TdReport, tcbInfo: TcbInfo): TdxModule {
  const { mrSignerSeam, seamAttributes } = report;
  const module = moduleOf(tcbInfo, report);
  if (module === undefined) throw unlisted("tee_tcb_svn", "a module that tcb_info lists");
  if (hex(mrSignerSeam) !== module.mrsigner) throw unlisted("mrsignerseam", module.mrsigner);
  if (masked(seamAttributes, module.attributesMask) !== module.attributes) {
    throw unlisted("seamattributes", module.attributes);
  }
  return module;
}

/** `bytes` under `mask`, lower-case hex of one length, in hex. */
function masked(bytes: Uint8Array, mask: string): string {
  const masks = fromHex(mask);
  return hex(bytes.map((octet, index) => octet & (masks[index] ?? 0)));
}

function measurementOf({ report: { mrTd, rtmrs } }: TdxQuote) {
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs;
  return {
    mrtd: hex(mrTd),
    rtmr0: hex(rtmr0),
    rtmr1: hex(rtmr1),
    rtmr2: hex(rtmr2),
    rtmr3: hex(rtmr3),
  };
}

function claimsOf({ version, report }: TdxQuote, pck: PckExtension, tcb: TcbClaims): TdxClaims {
  const { teeTcbSvn2, mrServiceTd } = report;
  return {
    format: "tdx",
    quoteVersion: version,
    reportVersion: report.version,
    teeTcbSvn: hex(report.teeTcbSvn),
    mrSeam: hex(report.mrSeam),
    mrSignerSeam: hex(report.mrSignerSeam),
    seamAttributes: hex(report.seamAttributes),
    tdAttributes: hex(report.tdAttributes),
    ...decodeAttributes(report.tdAttributes),
    xfam: hex(report.xfam),
    mrConfigId: hex(report.mrConfigId),
    mrOwner: hex(report.mrOwner),
    mrOwnerConfig: hex(report.mrOwnerConfig),
    teeTcbSvn2: teeTcbSvn2 === null ? null : hex(teeTcbSvn2),
    mrServiceTd: mrServiceTd === null ? null : hex(mrServiceTd),
    reportData: report.reportData.slice(),
    platform: {
      ppid: hex(pck.ppid),
      fmspc: hex(pck.fmspc),
      pceId: hex(pck.pceId),
      pceSvn: pck.pceSvn,
      components: pck.components,
    },
    tcb,
  };
}

function invalid(subject: string, expected: string): VerificationError {
  return new VerificationError(
    { code: "TEE_SIGNATURE_INVALID", subject },
    `${subject}: expected ${expected}, got another one`,
  );
}

function unlisted(field: string, expected: string): VerificationError {
  return new VerificationError(
    { code: "TEE_IDENTITY_MISMATCH", field },
    `quote ${field}: expected ${expected}, got another one`,
  );
}
