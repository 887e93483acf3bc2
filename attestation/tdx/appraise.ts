import { appraiseBytes, type AppraisalFailure } from "../expected.ts";
import type { TdxClaims } from "./claims.ts";
import type { TdxExpectations } from "./policy.ts";

/** Judges what only this format says. Reports every failure. */
export function appraiseTdx(
  claims: TdxClaims,
  { reportData }: TdxExpectations,
): readonly (AppraisalFailure | null)[] {
  return [
    appraiseBytes(
      { code: "TEE_REPORT_DATA_MISMATCH", field: "report_data" },
      reportData,
      claims.reportData,
    ),
  ];
}
