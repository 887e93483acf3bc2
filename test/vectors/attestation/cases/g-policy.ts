import { forgeTcbInfo, tcbLevel } from "../../../attestation/tdx-collateral.ts";
import { PPID, TDX_NOW } from "../../../attestation/tdx-forge.ts";
import { ANY, type TdxCase } from "./g-case.ts";

const levels = (level: object) => ({ tcbInfo: forgeTcbInfo({ tcbLevels: [level] }) });

/** Policies that refuse the platform, or that cannot be used. */
export function policyCases(): readonly TdxCase[] {
  const empty = { stage: "appraise", code: "TEE_POLICY_EMPTY" } as const;
  const malformed = { stage: "appraise", code: "SCHEMA_CONFIG_MALFORMED" } as const;
  return [
    {
      title: "a revoked platform by its PPID",
      stage: "appraise",
      code: "TEE_PLATFORM_REVOKED",
      check: "tdx-identity-revoked",
      policy: { revokedIdentities: [PPID] },
    },
    {
      title: "a revoked measurement by its MRTD",
      stage: "appraise",
      code: "TEE_MEASUREMENT_REVOKED",
      check: "tdx-measurement-revoked",
      policy: { revokedMeasurements: ["a0".repeat(48)] },
    },
    {
      title: "a policy with a maximum age, which a quote cannot show",
      stage: "appraise",
      code: "TEE_DOCUMENT_STALE",
      check: "tdx-age",
      policy: { maxAgeMs: { atMost: 60_000 } },
    },
    {
      title: "a policy that accepts no status",
      ...empty,
      check: null,
      policy: { tdx: { tcbStatuses: [] } },
    },
    {
      title: "a policy that accepts revoked platforms",
      ...malformed,
      check: "tdx-policy-statuses",
      collateral: levels(tcbLevel({ tcbStatus: "Revoked" })),
      policy: { tdx: { tcbStatuses: ["UpToDate", "Revoked"] } },
    },
    {
      title: "a policy that accepts platforms below every level",
      ...malformed,
      check: "tdx-policy-statuses",
      collateral: levels(tcbLevel({ pcesvn: 14 })),
      policy: { tdx: { tcbStatuses: ["NotSupported"] } },
    },
    {
      title: "a policy without a reason for any evaluation",
      ...empty,
      check: "tdx-policy-evaluation",
      policy: { tdx: { tcbEvaluationDataNumber: { unchecked: "" } } },
    },
    {
      title: "a policy with an evaluation number of 1.5",
      ...malformed,
      check: "tdx-policy-number",
      policy: { tdx: { tcbEvaluationDataNumber: { atLeast: 1.5 } } },
    },
    {
      title: "a policy without a reason for any SEPT_VE_DISABLE",
      ...empty,
      check: "tdx-policy-attributes",
      policy: {
        tdx: {
          attributes: {
            lass: ANY,
            septVeDisable: { unchecked: "" },
            migratable: ANY,
            pks: ANY,
            keyLocker: ANY,
            tpa: ANY,
            perfmon: ANY,
          },
        },
      },
    },
    {
      title: "a policy without a reason for any XFAM",
      ...empty,
      check: "tdx-policy-hex",
      policy: { tdx: { xfam: { unchecked: "" } } },
    },
    {
      title: "a policy with an XFAM in upper case beside a good one",
      ...malformed,
      check: "tdx-policy-digits",
      policy: { tdx: { xfam: { anyOf: ["e702060000000000", "E702060000000000"] } } },
    },
    {
      title: "a policy with a shorter MRSEAM beside a good one",
      ...malformed,
      check: "tdx-policy-digits",
      policy: { tdx: { mrSeam: { anyOf: ["5b".repeat(48), "5b"] } } },
    },
    {
      title: "a policy without a reason for any REPORTDATA",
      ...empty,
      check: "tdx-policy-report-data",
      policy: { tdx: { reportData: { unchecked: "" } } },
    },
    {
      title: "a policy that has no expectations of TDX",
      ...empty,
      check: null,
      policy: { tdx: null, judgedAtMs: TDX_NOW },
    },
  ];
}
