import { appraiseBytes, type AppraisalFailure } from "../expected.ts";
import type { SnpClaims } from "./claims.ts";
import type { SnpExpectations } from "./policy.ts";

/** Judges what only this format says. Reports every failure. */
export function appraiseSnp(
  claims: SnpClaims,
  { reportData }: SnpExpectations,
): readonly (AppraisalFailure | null)[] {
  return [
    appraiseBytes(
      { code: "TEE_REPORT_DATA_MISMATCH", field: "report_data" },
      reportData,
      claims.reportData,
    ),
  ];
}
