import { VerificationError } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import type { ReportBinding } from "../binding.ts";
import type { VerifiedEvidence } from "../evidence.ts";
import type { JudgedAt } from "../judged-at.ts";
import type { SnpClaims } from "./claims.ts";

/** An SEV-SNP report as it is presented. */
export interface SnpEvidence {
  readonly document: Uint8Array;
  readonly endorsements: readonly Uint8Array[];
  readonly binding: ReportBinding | null;
}

/** Verifies an SEV-SNP report. */
export function verifySnpReport(
  _evidence: SnpEvidence,
  _anchors: readonly TrustAnchor[],
  _at: JudgedAt,
): VerifiedEvidence<SnpClaims> {
  throw new VerificationError({ code: "TEE_PLATFORM_REFUSED" }, "snp: expected support, got none");
}
