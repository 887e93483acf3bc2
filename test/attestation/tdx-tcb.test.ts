import { expect, test } from "vitest";

import {
  appraisalFailures,
  verifyTdxQuote,
  type Collateral,
  type JudgedAt,
} from "../../attestation/index.ts";
import { SymphonyError } from "../../protocol/index.ts";
import {
  TCB_INFO,
  TDX_COLLATERAL,
  forgeQeIdentity,
  forgeTcbInfo,
  svnLevel,
  tcbLevel,
} from "./tdx-collateral.ts";
import {
  BINDING,
  LEAF_EXTENSIONS,
  TDX_ANCHOR,
  TDX_CHAIN,
  TDX_EXPECTATIONS,
  TDX_NOW,
  forgeBody,
  forgeIntel,
  forgeQuote,
  integer,
  pckExtension,
  pckTcb,
  tdxPolicyOf,
} from "./tdx-forge.ts";

const LIVE: JudgedAt = { mode: "live", nowMs: TDX_NOW };

const judge = (document: Uint8Array = forgeQuote(), collateral: Collateral = TDX_COLLATERAL) =>
  verifyTdxQuote({ document, collateral, binding: BINDING }, [TDX_ANCHOR], LIVE);

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof SymphonyError) return error.code;
    throw error;
  }
  return "accepted";
};

interface StatusCase {
  readonly platform: string;
  readonly module: string;
  readonly enclave: string;
  readonly status: string;
}

/** As Intel's quote verification library merges them (convergeTcbStatusWithTdxModuleStatus, ...WithQeTcbStatus). */
test.for<StatusCase>([
  { platform: "UpToDate", module: "UpToDate", enclave: "UpToDate", status: "UpToDate" },
  { platform: "UpToDate", module: "OutOfDate", enclave: "UpToDate", status: "OutOfDate" },
  { platform: "UpToDate", module: "UpToDate", enclave: "OutOfDate", status: "OutOfDate" },
  {
    platform: "SWHardeningNeeded",
    module: "UpToDate",
    enclave: "UpToDate",
    status: "SWHardeningNeeded",
  },
  { platform: "SWHardeningNeeded", module: "OutOfDate", enclave: "UpToDate", status: "OutOfDate" },
  {
    platform: "ConfigurationNeeded",
    module: "UpToDate",
    enclave: "UpToDate",
    status: "ConfigurationNeeded",
  },
  {
    platform: "ConfigurationNeeded",
    module: "OutOfDate",
    enclave: "UpToDate",
    status: "OutOfDateConfigurationNeeded",
  },
  {
    platform: "ConfigurationAndSWHardeningNeeded",
    module: "UpToDate",
    enclave: "OutOfDate",
    status: "OutOfDateConfigurationNeeded",
  },
  {
    platform: "OutOfDateConfigurationNeeded",
    module: "OutOfDate",
    enclave: "OutOfDate",
    status: "OutOfDateConfigurationNeeded",
  },
  { platform: "OutOfDate", module: "OutOfDate", enclave: "UpToDate", status: "OutOfDate" },
  { platform: "Revoked", module: "UpToDate", enclave: "UpToDate", status: "Revoked" },
  { platform: "UpToDate", module: "Revoked", enclave: "OutOfDate", status: "Revoked" },
  { platform: "UpToDate", module: "UpToDate", enclave: "Revoked", status: "Revoked" },
])("[TT-5] $platform, module $module, enclave $enclave: $status", (each) => {
  const [third, first] = TCB_INFO.tdxModuleIdentities;
  const ids = ["INTEL-SA-00003", "INTEL-SA-00001", "INTEL-SA-00002"] as const;
  const moduleLevel = svnLevel(6, each.module, [ids[1]]);
  const collateral = {
    ...TDX_COLLATERAL,
    tcbInfo: forgeTcbInfo({
      tcbLevels: [tcbLevel({ tcbStatus: each.platform, advisoryIDs: [ids[0], ids[1]] })],
      tdxModuleIdentities: [third, { ...first, tcbLevels: [moduleLevel] }],
    }),
    qeIdentity: forgeQeIdentity({ tcbLevels: [svnLevel(4, each.enclave, [ids[2]])] }),
  };
  const evidence = judge(forgeQuote(), collateral);
  expect(evidence.claims.tcb).toMatchObject({
    status: each.status,
    platformStatus: each.platform,
    moduleStatus: each.module,
    quotingEnclaveStatus: each.enclave,
    advisoryIds: ids.toSorted(),
  });
  const failures = appraisalFailures(evidence, tdxPolicyOf());
  expect(failures.map(({ code }) => code)).toEqual(
    each.status === "UpToDate" ? [] : ["TEE_TCB_REFUSED"],
  );
});

test("[TT-5] a policy may accept a status, and then only that", () => {
  const tcbInfo = forgeTcbInfo({ tcbLevels: [tcbLevel({ tcbStatus: "SWHardeningNeeded" })] });
  const evidence = judge(forgeQuote(), { ...TDX_COLLATERAL, tcbInfo });
  const policy = tdxPolicyOf({
    tdx: { ...TDX_EXPECTATIONS, tcbStatuses: ["UpToDate", "SWHardeningNeeded"] },
  });
  expect(appraisalFailures(evidence, policy)).toEqual([]);
});

test("[TT-1] a module before TDX 1.5 is judged by the platform's components alone", () => {
  const tcbInfo = forgeTcbInfo({ tdxModuleIdentities: undefined });
  const document = forgeQuote({ body: { 0: "05000300" } });
  const { tcb } = judge(document, { ...TDX_COLLATERAL, tcbInfo }).claims;
  expect(tcb).toMatchObject({ status: "UpToDate", moduleStatus: null });
});

test("[TT-1] SVNs are read in order, and up to their limits", () => {
  const svns = Array.from({ length: 16 }, (_, at) => 240 + at);
  const tcb = pckTcb({
    ...Object.fromEntries(svns.map((svn, at) => [`${at + 1}`, integer(svn)])),
    17: integer(0xffff),
  });
  const pck = forgeIntel("pck", { extensions: [...LEAF_EXTENSIONS, pckExtension({ 2: tcb })] });
  const { platform } = judge(forgeQuote({ chain: [...TDX_CHAIN.slice(0, 2), pck] })).claims;
  expect(platform).toMatchObject({ components: svns, pceSvn: 0xffff });
});

test("[TT-1] SVNs that reach a level exactly reach it, at the limits too", () => {
  const svns = Array.from({ length: 16 }, () => 255);
  const tcb = pckTcb({
    ...Object.fromEntries(svns.map((svn, at) => [`${at + 1}`, integer(svn)])),
    17: integer(0xffff),
  });
  const pck = forgeIntel("pck", { extensions: [...LEAF_EXTENSIONS, pckExtension({ 2: tcb })] });
  const document = forgeQuote({
    chain: [...TDX_CHAIN.slice(0, 2), pck],
    body: { 0: `ff01${"ff".repeat(14)}` },
    qeReport: { 256: "ffff", 258: "ffff" },
  });
  const [third, first] = TCB_INFO.tdxModuleIdentities;
  const collateral = {
    ...TDX_COLLATERAL,
    tcbInfo: forgeTcbInfo({
      tcbLevels: [tcbLevel({ sgx: svns, pcesvn: 0xffff, tdx: svns })],
      tdxModuleIdentities: [third, { ...first, tcbLevels: [svnLevel(0xff, "UpToDate")] }],
    }),
    qeIdentity: forgeQeIdentity({ isvprodid: 0xffff, tcbLevels: [svnLevel(0xffff, "UpToDate")] }),
  };
  expect(judge(document, collateral).claims.tcb.status).toBe("UpToDate");
});

test("[TT-1] the first two components of a module with a version are its identity's to judge", () => {
  const tcbInfo = forgeTcbInfo({ tcbLevels: [tcbLevel({ tdx: [255, 255, 3] })] });
  const { tcb } = judge(forgeQuote(), { ...TDX_COLLATERAL, tcbInfo }).claims;
  expect(tcb.status).toBe("UpToDate");
});

test("[TT-1] a module's version is hexadecimal in the name of its identity", () => {
  const [, first] = TCB_INFO.tdxModuleIdentities;
  const tcbInfo = forgeTcbInfo({ tdxModuleIdentities: [{ ...first, id: "TDX_1A" }] });
  const document = forgeQuote({ body: { 0: "061a0300" } });
  expect(codeOf(() => judge(document, { ...TDX_COLLATERAL, tcbInfo }))).toBe("accepted");
});

test("[TT-1] attributes of a module are read whole, under their mask", () => {
  const [third, first] = TCB_INFO.tdxModuleIdentities;
  const identity = { ...first, attributes: "0100000000000080", attributesMask: "0F000000000000F0" };
  const tcbInfo = forgeTcbInfo({ tdxModuleIdentities: [third, identity] });
  const document = forgeQuote({ body: { 112: "f10000000000008f" } });
  const { claims } = judge(document, { ...TDX_COLLATERAL, tcbInfo });
  expect(claims.seamAttributes).toBe("f10000000000008f");
});

test("[TT-1] version 5 may carry a TDX 1.0 report", () => {
  const document = forgeQuote({
    version: 5,
    bodyHead: "020048020000",
    bodyBytes: forgeBody("1.0"),
  });
  expect(judge(document).claims).toMatchObject({ quoteVersion: 5, reportVersion: "1.0" });
});

test.for([
  ["lass", "0000000800000000"],
  ["septVeDisable", "0000001000000000"],
  ["migratable", "0000002000000000"],
  ["pks", "0000004000000000"],
  ["keyLocker", "0000008000000000"],
  ["tpa", "0000000000000040"],
  ["perfmon", "0000000000000080"],
] as const)("[TT-1] the attribute %s is the bit %s and no other", ([name, digits]) => {
  const { claims } = judge(forgeQuote({ body: { 120: digits } }));
  const on = Object.entries(claims.attributes).filter(([, value]) => value);
  expect(on).toEqual([[name, true]]);
  expect(claims).toMatchObject({ isDebug: false, hasReservedAttributes: false });
});

test("[TT-1] an evaluation number that is the least one is enough", () => {
  const tdx = { ...TDX_EXPECTATIONS, tcbEvaluationDataNumber: { atLeast: 18 } };
  expect(appraisalFailures(judge(), tdxPolicyOf({ tdx }))).toEqual([]);
  const more = { ...TDX_EXPECTATIONS, tcbEvaluationDataNumber: { atLeast: 19 } };
  expect(appraisalFailures(judge(), tdxPolicyOf({ tdx: more }))).toHaveLength(1);
});

test("[TT-1] every failure is reported, in words", () => {
  const document = forgeQuote({ body: { 120: "0101005000000000", 128: "00", 16: "00" } });
  const failures = appraisalFailures(judge(document), tdxPolicyOf());
  expect(failures.map(({ code, field }) => `${code} ${field}`)).toEqual([
    "TEE_DEBUG_REFUSED tdattributes",
    "TEE_CONFIGURATION_REFUSED tdattributes pks",
    "TEE_CONFIGURATION_REFUSED tdattributes",
    "TEE_CONFIGURATION_REFUSED xfam",
    "TEE_CONFIGURATION_REFUSED mrseam",
  ]);
});
