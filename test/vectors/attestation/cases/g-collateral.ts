import { concat, fromHex, utf8 } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { parseDerElements } from "../../../../attestation/der.ts";
import {
  CRITICAL,
  TCB_INFO,
  TDX_COLLATERAL,
  forgeCrl,
  forgeQeIdentity,
  forgeRootCrl,
  forgeStatement,
  forgeTcbInfo,
  svnLevel,
  tcbLevel,
} from "../../../attestation/tdx-collateral.ts";
import { FMSPC, TDX_KEYS, TDX_NOW, signedDer } from "../../../attestation/tdx-forge.ts";
import type { TdxCase } from "./g-case.ts";

const MALFORMED = { stage: "verify", code: "TEE_COLLATERAL_MALFORMED" } as const;
const EXPIRED = { stage: "verify", code: "TEE_COLLATERAL_EXPIRED" } as const;

/** Collateral of the wrong shape, about something else, or out of its time. */
export function collateralCases(): readonly TdxCase[] {
  return [
    ...envelopeCases(),
    ...tcbInfoCases(),
    ...qeIdentityCases(),
    ...listCases(),
    ...windowCases(),
  ];
}

function envelopeCases(): readonly TdxCase[] {
  const text = Buffer.from(TDX_COLLATERAL.tcbInfo).toString("latin1");
  const body = JSON.stringify(TCB_INFO);
  const tcbInfo = (changed: string) => ({
    tcbInfo: new Uint8Array(Buffer.from(changed, "latin1")),
  });
  return [
    {
      title: "TCB info under a misspelt member",
      ...MALFORMED,
      check: "tdx-statement-head",
      collateral: tcbInfo(text.replace('{"tcbInfo"', '{"tcbinfo"')),
    },
    {
      title: "TCB info as it stands, without its signature",
      ...MALFORMED,
      check: null,
      collateral: tcbInfo(body),
    },
    {
      title: "TCB info with a signature of 63 bytes",
      ...MALFORMED,
      check: null,
      collateral: tcbInfo(text.replace(/..(?="}$)/, "")),
    },
    {
      title: "TCB info with a second tcbInfo after the signed one",
      ...MALFORMED,
      check: null,
      collateral: tcbInfo(text.replace(',"signature"', `,"tcbInfo":${body},"signature"`)),
    },
    {
      title: "TCB info with a member after the signature",
      ...MALFORMED,
      check: null,
      collateral: tcbInfo(text.replace(/}$/, ',"signature2":""}')),
    },
    {
      title: "signed TCB info that is no JSON",
      ...MALFORMED,
      check: null,
      collateral: { tcbInfo: forgeStatement("tcbInfo", `${body},`) },
    },
    { title: "no TCB info", ...MALFORMED, check: null, collateral: tcbInfo("") },
  ];
}

function tcbInfoCases(): readonly TdxCase[] {
  const level = tcbLevel();
  const withTcb = (tcb: object) => ({
    tcbInfo: forgeTcbInfo({ tcbLevels: [{ ...level, tcb: { ...level.tcb, ...tcb } }] }),
  });
  return [
    {
      title: "TCB info of SGX",
      ...MALFORMED,
      check: "tdx-tcb-info-id",
      collateral: { tcbInfo: forgeTcbInfo({ id: "SGX" }) },
    },
    {
      title: "TCB info of version 2",
      ...MALFORMED,
      check: "tdx-tcb-info-version",
      collateral: { tcbInfo: forgeTcbInfo({ version: 2 }) },
    },
    {
      title: "TCB info of version 4",
      ...MALFORMED,
      check: "tdx-tcb-info-version",
      collateral: { tcbInfo: forgeTcbInfo({ version: 4 }) },
    },
    {
      title: "TCB info of an unknown way to compare TCBs",
      ...MALFORMED,
      check: "tdx-tcb-type",
      collateral: { tcbInfo: forgeTcbInfo({ tcbType: 1 }) },
    },
    {
      title: "TCB info of another FMSPC",
      ...MALFORMED,
      check: "tdx-fmspc",
      collateral: { tcbInfo: forgeTcbInfo({ fmspc: FMSPC.replace("5", "6") }) },
    },
    {
      title: "TCB info of another PCE",
      ...MALFORMED,
      check: "tdx-pce-id",
      collateral: { tcbInfo: forgeTcbInfo({ pceId: "0001" }) },
    },
    {
      title: "TCB info with an unknown member",
      ...MALFORMED,
      check: "tdx-tcb-info-strict",
      collateral: { tcbInfo: forgeTcbInfo({ exceptions: [] }) },
    },
    {
      title: "TCB info without its module",
      ...MALFORMED,
      check: null,
      collateral: { tcbInfo: forgeTcbInfo({ tdxModule: undefined }) },
    },
    {
      title: "a component SVN of -1",
      ...MALFORMED,
      check: "tdx-svn-range",
      collateral: withTcb({ pcesvn: -1 }),
    },
    {
      title: "a TDX component SVN of 2.5",
      ...MALFORMED,
      check: "tdx-svn-whole",
      collateral: withTcb({ pcesvn: 2.5 }),
    },
    {
      title: "15 SGX components",
      ...MALFORMED,
      check: "tdx-component-count",
      collateral: withTcb({ sgxtcbcomponents: level.tcb.sgxtcbcomponents.slice(0, -1) }),
    },
    {
      title: "a thirteenth month",
      ...MALFORMED,
      check: null,
      collateral: { tcbInfo: forgeTcbInfo({ nextUpdate: "2026-13-01T00:00:00Z" }) },
    },
    {
      title: "a time with an offset",
      ...MALFORMED,
      check: null,
      collateral: { tcbInfo: forgeTcbInfo({ nextUpdate: "2027-01-01T00:00:00+01:00" }) },
    },
    {
      title: "a module status that only platforms have",
      ...MALFORMED,
      check: "tdx-enclave-status",
      policy: { tdx: { tcbStatuses: ["OutOfDate"] } },
      collateral: {
        qeIdentity: forgeQeIdentity({ tcbLevels: [svnLevel(4, "ConfigurationNeeded")] }),
      },
    },
  ];
}

function qeIdentityCases(): readonly TdxCase[] {
  return [
    {
      title: "the identity of the SGX quoting enclave",
      ...MALFORMED,
      check: "tdx-qe-identity-id",
      collateral: { qeIdentity: forgeQeIdentity({ id: "QE" }) },
    },
    {
      title: "a QE identity of version 1",
      ...MALFORMED,
      check: "tdx-qe-identity-version",
      collateral: { qeIdentity: forgeQeIdentity({ version: 1 }) },
    },
    {
      title: "TCB info in the place of the QE identity",
      ...MALFORMED,
      check: null,
      collateral: { qeIdentity: TDX_COLLATERAL.tcbInfo },
    },
  ];
}

function listCases(): readonly TdxCase[] {
  const good = forgeCrl();
  const [tbs, algorithm, signature] = partsOf(good);
  const body = partsOf(tbs);
  const resigned = (parts: readonly Uint8Array[]): Uint8Array =>
    signedDer(der(0x30, ...parts), TDX_KEYS.ca.privateKey);
  const sha384 = fromHex("300a06082a8648ce3d040303");
  const unused = concat(fromHex("01"), (signature ?? good).subarray(3));
  const [firstEntry, ...entries] = partsOf(body[5]);
  const longer = der(0x30, ...partsOf(firstEntry), fromHex("0500"));
  const none = { check: null, ...MALFORMED } as const;
  return [
    {
      title: "a list of version 1",
      ...MALFORMED,
      check: "tdx-list-version",
      collateral: { pckCrl: forgeCrl({ version: fromHex("020100") }) },
    },
    {
      title: "a list with a part after its signature",
      ...MALFORMED,
      check: "tdx-list-end",
      collateral: { pckCrl: der(0x30, ...partsOf(good), fromHex("0500")) },
    },
    {
      title: "a list signed with unused bits",
      ...MALFORMED,
      check: "tdx-list-unused-bits",
      collateral: { pckCrl: der(0x30, tbs ?? good, algorithm ?? good, der(0x03, unused)) },
    },
    {
      title: "a list that names another algorithm inside",
      ...MALFORMED,
      check: "tdx-list-algorithm",
      collateral: { pckCrl: resigned(body.with(1, sha384)) },
    },
    {
      title: "a list with an unknown field",
      ...MALFORMED,
      check: "tdx-list-fields",
      collateral: { pckCrl: resigned([...body, fromHex("0500")]) },
    },
    {
      title: "a list with a critical extension",
      ...MALFORMED,
      check: "tdx-list-critical",
      collateral: { pckCrl: forgeCrl({ extensions: [CRITICAL] }) },
    },
    {
      title: "an entry with a critical extension",
      ...MALFORMED,
      check: "tdx-list-entry-critical",
      collateral: { pckCrl: forgeCrl({ entryExtensions: [CRITICAL] }) },
    },
    {
      title: "an entry of four parts",
      ...MALFORMED,
      check: "tdx-list-entry-parts",
      collateral: { pckCrl: resigned(body.with(5, der(0x30, longer, ...entries))) },
    },
    {
      title: "a list without nextUpdate",
      ...none,
      collateral: { pckCrl: resigned(body.toSpliced(4, 1)) },
    },
    { title: "a truncated list", ...none, collateral: { pckCrl: good.slice(0, -1) } },
    { title: "no list", ...none, collateral: { pckCrl: new Uint8Array(0) } },
    { title: "a list in PEM", ...none, collateral: { pckCrl: utf8("-----BEGIN X509 CRL-----") } },
  ];
}

function partsOf(element: Uint8Array | undefined): readonly Uint8Array[] {
  const [outer] = parseDerElements(element ?? new Uint8Array(0));
  return parseDerElements(outer?.content ?? new Uint8Array(0)).map(({ whole }) => whole);
}

function windowCases(): readonly TdxCase[] {
  const before = { thisUpdateMs: TDX_NOW - 1000, nextUpdateMs: TDX_NOW - 1000 };
  const after = { thisUpdateMs: TDX_NOW + 1000, nextUpdateMs: TDX_NOW + 2000 };
  const [past, future] = [{ nextUpdate: iso(TDX_NOW - 1000) }, { issueDate: iso(TDX_NOW + 1000) }];
  return [
    {
      title: "TCB info a second too old",
      ...EXPIRED,
      check: "tdx-window-tcb-info",
      collateral: { tcbInfo: forgeTcbInfo(past) },
    },
    {
      title: "TCB info a second too young",
      ...EXPIRED,
      check: "tdx-window-tcb-info",
      collateral: { tcbInfo: forgeTcbInfo(future) },
    },
    {
      title: "a QE identity a second too old",
      ...EXPIRED,
      check: "tdx-window-qe-identity",
      collateral: { qeIdentity: forgeQeIdentity(past) },
    },
    {
      title: "a QE identity a second too young",
      ...EXPIRED,
      check: "tdx-window-qe-identity",
      collateral: { qeIdentity: forgeQeIdentity(future) },
    },
    {
      title: "a PCK list a second too old",
      ...EXPIRED,
      check: "tdx-window-pck-list",
      collateral: { pckCrl: forgeCrl(before) },
    },
    {
      title: "a PCK list a second too young",
      ...EXPIRED,
      check: "tdx-window-pck-list",
      collateral: { pckCrl: forgeCrl(after) },
    },
    {
      title: "a root list a second too old",
      ...EXPIRED,
      check: "tdx-window-root-list",
      collateral: { rootCrl: forgeRootCrl(before) },
    },
    {
      title: "a root list a second too young",
      ...EXPIRED,
      check: "tdx-window-root-list",
      collateral: { rootCrl: forgeRootCrl(after) },
    },
  ];
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}
