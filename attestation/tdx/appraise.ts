import { appraiseBytes, appraiseValue, failure, type AppraisalFailure } from "../expected.ts";
import { TD_ATTRIBUTES } from "./attributes.ts";
import type { TdxClaims } from "./claims.ts";
import type { TdxExpectations } from "./policy.ts";

type Failures = readonly (AppraisalFailure | null)[];

/** Judges what only a TDX quote says: debug, TCB, attributes, configuration. Reports every failure. */
export function appraiseTdx(claims: TdxClaims, expectations: TdxExpectations): Failures {
  return [
    appraiseDebug(claims),
    ...appraiseTcb(claims, expectations),
    ...appraiseAttributes(claims, expectations),
    ...appraiseMeasures(claims, expectations),
    appraiseBytes(
      { code: "TEE_REPORT_DATA_MISMATCH", field: "report_data" },
      expectations.reportData,
      claims.reportData,
    ),
  ];
}

function appraiseDebug({ isDebug, tdAttributes }: TdxClaims): AppraisalFailure | null {
  if (!isDebug) return null;
  return failure("TEE_DEBUG_REFUSED", {
    field: "tdattributes",
    expected: "a TD that is not under debug",
    actual: tdAttributes,
  });
}

function appraiseTcb(
  { tcb }: TdxClaims,
  { tcbStatuses, tcbEvaluationDataNumber }: TdxExpectations,
): Failures {
  const { status, advisoryIds, evaluationDataNumber } = tcb;
  const accepted: ReadonlySet<string> = new Set(tcbStatuses);
  const least = "atLeast" in tcbEvaluationDataNumber ? tcbEvaluationDataNumber.atLeast : 0;
  return [
    accepted.has(status)
      ? null
      : failure("TEE_TCB_REFUSED", {
          field: "tcb_status",
          expected: tcbStatuses.join(" or "),
          actual: [status, ...advisoryIds].join(" "),
        }),
    evaluationDataNumber >= least
      ? null
      : failure("TEE_TCB_REFUSED", {
          field: "tcb_evaluation_data_number",
          expected: `at least ${least}`,
          actual: `${evaluationDataNumber}`,
        }),
  ];
}

function appraiseAttributes(claims: TdxClaims, expectations: TdxExpectations): Failures {
  const { attributes, hasReservedAttributes, tdAttributes } = claims;
  const code = "TEE_CONFIGURATION_REFUSED";
  const chosen = TD_ATTRIBUTES.map((name) => {
    const field = `tdattributes ${name}`;
    return appraiseValue({ code, field }, expectations.attributes[name], attributes[name]);
  });
  if (!hasReservedAttributes) return chosen;
  const expected = "no reserved bits";
  return [...chosen, failure(code, { field: "tdattributes", expected, actual: tdAttributes })];
}

function appraiseMeasures(claims: TdxClaims, expectations: TdxExpectations): Failures {
  const code = "TEE_CONFIGURATION_REFUSED";
  const { xfam, mrSeam, mrConfigId, mrOwner, mrOwnerConfig, mrServiceTd } = expectations;
  return [
    appraiseValue({ code, field: "xfam" }, xfam, claims.xfam),
    appraiseValue({ code, field: "mrseam" }, mrSeam, claims.mrSeam),
    appraiseValue({ code, field: "mrconfigid" }, mrConfigId, claims.mrConfigId),
    appraiseValue({ code, field: "mrowner" }, mrOwner, claims.mrOwner),
    appraiseValue({ code, field: "mrownerconfig" }, mrOwnerConfig, claims.mrOwnerConfig),
    appraiseValue({ code, field: "mrservicetd" }, mrServiceTd, claims.mrServiceTd),
  ];
}
