export {
  ATTESTATION_PLATFORMS,
  SIMULATED_MARK,
  parseAnchor,
  type AttestationPlatform,
  type TrustAnchor,
} from "./anchor.ts";
export { AMD_ARK_GENOA } from "./anchors/amd-ark-genoa.ts";
export { AMD_ARK_MILAN } from "./anchors/amd-ark-milan.ts";
export { AMD_ARK_TURIN } from "./anchors/amd-ark-turin.ts";
export { AWS_NITRO_ROOT_G1 } from "./anchors/aws-nitro-root-g1.ts";
export { INTEL_SGX_ROOT_CA } from "./anchors/intel-sgx-root-ca.ts";
export { CLOCK_AHEAD_MS_MAX, appraisalFailures, appraiseEvidence } from "./appraise.ts";
export { reportDataOf, type ReportBinding } from "./binding.ts";
export { decodeHardwareCbor, type HardwareValue } from "./cbor.ts";
export { CHAIN_CACHE_ENTRIES_MAX, createChainCache, type ChainCache } from "./chain-cache.ts";
export type { EvidenceClaims, Expiry, VerifiedEvidence } from "./evidence.ts";
export type { AppraisalFailure, Expected } from "./expected.ts";
export type { JudgedAt } from "./judged-at.ts";
export type { NitroClaims } from "./nitro/claims.ts";
export {
  NITRO_DOCUMENT_BYTES_MAX,
  OPTIONAL_FIELD_BYTES_MAX,
  parseNitroDocument,
  type NitroDocument,
} from "./nitro/document.ts";
export {
  EIF_BYTES_MAX,
  EIF_HEADER_BYTES,
  EIF_SIGNATURE_BYTES_MAX,
  EifMeasurer,
  type EifMeasurement,
  type EifSectionType,
} from "./nitro/eif.ts";
export { parseImageSignature } from "./nitro/eif-signature.ts";
export type { NitroExpectations } from "./nitro/policy.ts";
export { verifyNitroDocument } from "./nitro/verify.ts";
export {
  verifyPolicy,
  type AppraisalPolicy,
  type Measurement,
  type NitroMeasurement,
  type ReferenceMeasurement,
  type SnpMeasurement,
  type TdxMeasurement,
} from "./policy.ts";
export { evidenceOf, verifyReportReplay } from "./replay.ts";
export { attestationReportSchema, type AttestationReport } from "./report.ts";
export { appraiseSession, reappraiseSession, type SessionClaim } from "./session.ts";
export type { SnpClaims } from "./snp/claims.ts";
export type { SnpExpectations } from "./snp/policy.ts";
export { parseSnpReport, type SnpReport } from "./snp/report.ts";
export { verifySnpReport, type SnpEvidence } from "./snp/verify.ts";
export type { TdxClaims } from "./tdx/claims.ts";
export type { Collateral } from "./tdx/collateral.ts";
export type { AcceptableTcbStatus, TdxExpectations } from "./tdx/policy.ts";
export { parseTdxQuote, type TdxQuote } from "./tdx/quote.ts";
export type { TcbClaims, TcbStatus } from "./tdx/tcb.ts";
export { verifyCollateral, type VerifiedCollateral } from "./tdx/verified-collateral.ts";
export { verifyTdxQuote, type TdxEvidence } from "./tdx/verify.ts";
export { verifyEvidence, type Evidence } from "./verify.ts";
