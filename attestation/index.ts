export {
  ATTESTATION_PLATFORMS,
  SIMULATED_MARK,
  parseAnchor,
  type AttestationPlatform,
  type TrustAnchor,
} from "./anchor.ts";
export { AWS_NITRO_ROOT_G1 } from "./anchors/aws-nitro-root-g1.ts";
export { CLOCK_AHEAD_MS_MAX, appraiseEvidence, type AppraisalFailure } from "./appraise.ts";
export { decodeHardwareCbor, type HardwareValue } from "./cbor.ts";
export {
  NITRO_DOCUMENT_BYTES_MAX,
  OPTIONAL_FIELD_BYTES_MAX,
  parseNitroDocument,
  type NitroDocument,
} from "./nitro/document.ts";
export { verifyNitroDocument, type JudgedAt, type VerifiedEvidence } from "./nitro/verify.ts";
export type { AppraisalPolicy, Expected, Measurement, ReferenceMeasurement } from "./policy.ts";
export { attestationReportSchema, verifyReportReplay, type AttestationReport } from "./report.ts";
export { appraiseSession, type SessionClaim } from "./session.ts";
