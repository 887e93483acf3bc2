import type { TrustAnchor } from "./anchor.ts";
import type { ReportBinding } from "./binding.ts";
import type { VerifiedEvidence } from "./evidence.ts";
import type { JudgedAt } from "./judged-at.ts";
import { NITRO_DOCUMENT_BYTES_MAX } from "./nitro/document.ts";
import { verifyNitroDocument } from "./nitro/verify.ts";
import { verifySnpReport } from "./snp/verify.ts";
import type { Collateral } from "./tdx/collateral.ts";
import { verifyTdxQuote } from "./tdx/verify.ts";

/** Untrusted evidence of one of the formats, with what its platform does not put inside. */
export type Evidence =
  | { readonly format: "nitro"; readonly document: Uint8Array }
  | {
      readonly format: "snp";
      /** The report, 1184 bytes. */
      readonly document: Uint8Array;
      /** ARK, ASK or ASVK, VCEK or VLEK; DER. */
      readonly endorsements: readonly Uint8Array[];
      /** Null when REPORT_DATA is bound to something else than {@link ReportBinding}. */
      readonly binding: ReportBinding | null;
    }
  | {
      readonly format: "tdx";
      /** The quote. */
      readonly document: Uint8Array;
      readonly collateral: Collateral;
      readonly binding: ReportBinding | null;
    };

/** The largest raw evidence of any format: {@link NITRO_DOCUMENT_BYTES_MAX} and 16 KiB for a TDX quote. */
export const EVIDENCE_BYTES_MAX = Math.max(NITRO_DOCUMENT_BYTES_MAX, 16 * 1024);
/** Most certificates in a path of any format. */
export const ENDORSEMENTS_MAX = 9;

/**
 * Verifies evidence of any format: shape, certificates up to `anchors`, signatures. The one core of all entry points.
 *
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When endorsements are judged. No default.
 * @throws as `verifyNitroDocument`, `verifySnpReport` and `verifyTdxQuote`.
 */
export function verifyEvidence(
  evidence: Evidence,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedEvidence {
  switch (evidence.format) {
    case "nitro":
      return verifyNitroDocument(evidence.document, anchors, at);
    case "snp":
      return verifySnpReport(evidence, anchors, at);
    case "tdx":
      return verifyTdxQuote(evidence, anchors, at);
  }
}
