import { VerificationError } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import type { ReportBinding } from "../binding.ts";
import type { VerifiedEvidence } from "../evidence.ts";
import type { JudgedAt } from "../judged-at.ts";
import type { Collateral } from "./collateral.ts";

import type { TdxClaims } from "./claims.ts";

/** A TDX quote as it is presented. */
export interface TdxEvidence {
  readonly document: Uint8Array;
  readonly collateral: Collateral;
  readonly binding: ReportBinding | null;
}

/** Verifies a TDX quote. */
export function verifyTdxQuote(
  _evidence: TdxEvidence,
  _anchors: readonly TrustAnchor[],
  _at: JudgedAt,
): VerifiedEvidence<TdxClaims> {
  throw new VerificationError({ code: "TEE_PLATFORM_REFUSED" }, "tdx: expected support, got none");
}
