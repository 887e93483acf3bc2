import {
  TCB_INFO,
  forgeQeIdentity,
  forgeTcbInfo,
  svnLevel,
  tcbLevel,
} from "../../../attestation/tdx-collateral.ts";
import { forgeQuote } from "../../../attestation/tdx-forge.ts";
import { TDX_V5, type TdxCase } from "./g-case.ts";

const TCB = { stage: "appraise", code: "TEE_TCB_REFUSED" } as const;
const STATUS = { ...TCB, check: "tdx-tcb-status" } as const;
const CONFIGURATION = { stage: "appraise", code: "TEE_CONFIGURATION_REFUSED" } as const;
const OTHER = "ff".repeat(48);
const ALL_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
];

/** Authentic evidence that a policy does not accept. */
export function appraiseCases(): readonly TdxCase[] {
  return [
    ...statusCases(),
    ...levelCases(),
    ...mergeCases(),
    ...attributeCases(),
    ...measureCases(),
  ];
}

const levels = (...tcbLevels: readonly object[]) => ({ tcbInfo: forgeTcbInfo({ tcbLevels }) });
const moduleLevels = (...tcbLevels: readonly object[]) => {
  const [third, first] = TCB_INFO.tdxModuleIdentities;
  return {
    tcbInfo: forgeTcbInfo({ tdxModuleIdentities: [third, { ...first, tcbLevels }] }),
  };
};
const enclaveLevels = (...tcbLevels: readonly object[]) => ({
  qeIdentity: forgeQeIdentity({ tcbLevels }),
});

/** Statuses that are listed, against policies that do not accept them. */
function statusCases(): readonly TdxCase[] {
  const listed = [...ALL_STATUSES.slice(1), "Revoked"].map((tcbStatus): TdxCase => ({
    title: `a platform that is ${tcbStatus}`,
    ...STATUS,
    collateral: levels(tcbLevel({ tcbStatus })),
  }));
  return [
    ...listed,
    {
      title: "a revoked platform, and a policy that accepts all it can",
      ...STATUS,
      collateral: levels(tcbLevel({ tcbStatus: "Revoked" })),
      policy: { tdx: { tcbStatuses: ALL_STATUSES } },
    },
    {
      title: "a platform below every level, and a policy that accepts all it can",
      ...STATUS,
      collateral: levels(tcbLevel({ pcesvn: 14 })),
      policy: { tdx: { tcbStatuses: ALL_STATUSES } },
    },
    {
      title: "TCB info of an evaluation before the policy's",
      ...TCB,
      check: "tdx-evaluation-number",
      collateral: { tcbInfo: forgeTcbInfo({ tcbEvaluationDataNumber: 16 }) },
    },
    {
      title: "a QE identity of an evaluation before the policy's",
      ...TCB,
      check: "tdx-evaluation-number",
      collateral: { qeIdentity: forgeQeIdentity({ tcbEvaluationDataNumber: 16 }) },
    },
  ];
}

/** SVNs that do not reach the level that is up to date. */
function levelCases(): readonly TdxCase[] {
  const old = tcbLevel({ sgx: [], pcesvn: 0, tdx: [], tcbStatus: "OutOfDate" });
  const sgx = [3, 3, 2, 2, 4, 1, 0, 5];
  return [
    {
      title: "a first SGX component below its level's",
      ...TCB,
      check: "tdx-level-sgx",
      collateral: levels(tcbLevel({ sgx: sgx.with(0, 4) }), old),
    },
    {
      title: "a sixteenth SGX component below its level's",
      ...TCB,
      check: "tdx-level-sgx",
      collateral: levels(tcbLevel({ sgx: [...sgx, 0, 0, 0, 0, 0, 0, 0, 1] }), old),
    },
    {
      title: "a PCE below its level's",
      ...TCB,
      check: "tdx-level-pce",
      collateral: levels(tcbLevel({ pcesvn: 14 }), old),
    },
    {
      title: "a third TDX component below its level's",
      ...TCB,
      check: "tdx-level-tdx",
      collateral: levels(tcbLevel({ tdx: [5, 0, 4] }), old),
    },
    {
      title: "a sixteenth TDX component below its level's",
      ...TCB,
      check: "tdx-level-tdx",
      collateral: levels(tcbLevel({ tdx: [5, 0, 3, ...zeros(12), 1] }), old),
    },
    {
      title: "a module of TDX 1.0 below its component's level",
      ...TCB,
      check: "tdx-level-unversioned",
      document: forgeQuote({ body: { 0: "04000300" } }),
      collateral: levels(tcbLevel(), old),
    },
    {
      title: "a module below its identity's level",
      ...TCB,
      check: "tdx-module-level",
      document: forgeQuote({ body: { 0: "05010300" } }),
    },
    {
      title: "a module that only the module running now would reach",
      ...TCB,
      check: "tdx-module-level",
      base: TDX_V5,
      document: forgeQuote({ version: 5, body: { 0: "05010300", 584: "07010300" } }),
    },
    {
      title: "a quoting enclave below its level",
      ...TCB,
      check: "tdx-enclave-level",
      document: forgeQuote({ qeReport: { 258: "0300" } }),
    },
  ];
}

function zeros(count: number): readonly number[] {
  return Array.from({ length: count }, () => 0);
}

/** Parts that make a good platform's status worse. */
function mergeCases(): readonly TdxCase[] {
  const all = { tdx: { tcbStatuses: ALL_STATUSES } };
  return [
    {
      title: "a revoked module on a platform that is up to date",
      ...TCB,
      check: "tdx-merge-revoked",
      collateral: moduleLevels(svnLevel(6, "Revoked")),
      policy: all,
    },
    {
      title: "a revoked quoting enclave on a platform that is up to date",
      ...TCB,
      check: "tdx-merge-revoked",
      collateral: enclaveLevels(svnLevel(4, "Revoked")),
      policy: all,
    },
    {
      title: "a module below every level of its identity",
      ...TCB,
      check: "tdx-merge-not-supported",
      collateral: moduleLevels(svnLevel(7, "UpToDate")),
      policy: all,
    },
    {
      title: "a quoting enclave below every level",
      ...TCB,
      check: "tdx-merge-not-supported",
      collateral: enclaveLevels(svnLevel(5, "UpToDate")),
      policy: all,
    },
    {
      title: "a quoting enclave without levels",
      ...TCB,
      check: "tdx-merge-not-supported",
      collateral: enclaveLevels(),
      policy: all,
    },
    {
      title: "a module that is out of date on a platform that is up to date",
      ...TCB,
      check: "tdx-merge-module",
      collateral: moduleLevels(svnLevel(6, "OutOfDate")),
    },
    {
      title: "a quoting enclave that is out of date on a platform that is up to date",
      ...TCB,
      check: "tdx-merge-enclave",
      collateral: enclaveLevels(svnLevel(4, "OutOfDate")),
    },
    {
      title: "a quoting enclave that is out of date on a platform that needs configuration",
      ...TCB,
      check: "tdx-merge-configuration",
      collateral: {
        ...levels(tcbLevel({ tcbStatus: "ConfigurationNeeded" })),
        ...enclaveLevels(svnLevel(4, "OutOfDate")),
      },
      policy: { tdx: { tcbStatuses: ["UpToDate", "OutOfDate", "ConfigurationNeeded"] } },
    },
  ];
}

/** TDATTRIBUTES, little endian; a good one is 0000001000000000. */
function attributeCases(): readonly TdxCase[] {
  const attributes = (digits: string): Uint8Array => forgeQuote({ body: { 120: digits } });
  const debug = { stage: "appraise", code: "TEE_DEBUG_REFUSED", check: "tdx-debug" } as const;
  const chosen = (title: string, digits: string): TdxCase => ({
    title,
    ...CONFIGURATION,
    check: "tdx-attributes",
    document: attributes(digits),
  });
  const reserved = { ...CONFIGURATION, check: "tdx-reserved-attributes" } as const;
  return [
    { title: "a TD under debug", ...debug, document: attributes("0100001000000000") },
    {
      title: "a TD under debug in version 5",
      ...debug,
      base: TDX_V5,
      document: forgeQuote({ version: 5, body: { 120: "01" } }),
    },
    {
      title: "a TD with another bit of the group for debug",
      ...debug,
      document: attributes("2000001000000000"),
    },
    chosen("a TD that takes injected exceptions (SEPT_VE_DISABLE off)", "0000000000000000"),
    chosen("a TD with supervisor protection keys", "0000005000000000"),
    chosen("a TD with key locker", "0000009000000000"),
    chosen("a TD that can be migrated", "0000003000000000"),
    chosen("a TD with LASS", "0000001800000000"),
    chosen("a TD with performance counters", "0000001000000080"),
    chosen("a TD that is a provisioning agent", "0000001000000040"),
    {
      title: "a reserved bit of the group for security",
      ...reserved,
      document: attributes("0001001000000000"),
    },
    {
      title: "a reserved bit of the last group",
      ...reserved,
      document: attributes("0000001001000000"),
    },
  ];
}

function measureCases(): readonly TdxCase[] {
  const body = (patch: Readonly<Record<number, string>>) => forgeQuote({ body: patch });
  const mismatch = { stage: "appraise", code: "TEE_MEASUREMENT_MISMATCH" } as const;
  return [
    {
      title: "extended features beyond the policy's",
      ...CONFIGURATION,
      check: "tdx-xfam",
      document: body({ 128: "e71a060000000000" }),
    },
    {
      title: "another TDX module",
      ...CONFIGURATION,
      check: "tdx-mr-seam",
      document: body({ 16: OTHER }),
    },
    {
      title: "another MRCONFIGID",
      ...CONFIGURATION,
      check: "tdx-mr-config-id",
      document: body({ 184: OTHER }),
    },
    {
      title: "another MROWNER",
      ...CONFIGURATION,
      check: "tdx-mr-owner",
      document: body({ 232: OTHER }),
    },
    {
      title: "another MROWNERCONFIG",
      ...CONFIGURATION,
      check: "tdx-mr-owner-config",
      document: body({ 280: OTHER }),
    },
    {
      title: "a service TD",
      ...CONFIGURATION,
      check: "tdx-mr-service-td",
      base: TDX_V5,
      document: forgeQuote({ version: 5, body: { 600: OTHER } }),
    },
    {
      title: "a TDX 1.0 report for a policy about service TDs",
      ...CONFIGURATION,
      check: "tdx-mr-service-td",
      policy: { tdx: { mrServiceTd: { equals: "00".repeat(48) } } },
    },
    {
      title: "another REPORTDATA than the policy's",
      stage: "appraise",
      code: "TEE_REPORT_DATA_MISMATCH",
      check: "tdx-report-data",
      policy: { tdx: { reportData: { equals: { $hex: "ab".repeat(64) } } } },
    },
    {
      title: "another MRTD",
      ...mismatch,
      check: "tdx-measurement",
      document: body({ 136: OTHER }),
    },
    {
      title: "another RTMR 0",
      ...mismatch,
      check: "tdx-measurement",
      document: body({ 328: OTHER }),
    },
    {
      title: "another RTMR 3",
      ...mismatch,
      check: "tdx-measurement",
      document: body({ 472: OTHER }),
    },
  ];
}
