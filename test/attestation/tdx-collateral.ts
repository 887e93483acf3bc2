import type { KeyObject } from "node:crypto";

import type { Collateral } from "../../attestation/index.ts";
import { fromHex, hex, utf8 } from "../../protocol/index.ts";
import { der } from "../../host/sovereignty/custody/cms.ts";
import { derInteger } from "../../sim/x509.ts";
import {
  CA_NAME,
  COMPONENTS,
  DAY,
  FMSPC,
  MR_SIGNER,
  PCE_SVN,
  ROOT_NAME,
  SHA256,
  TDX_KEYS,
  TDX_NOW,
  TDX_ROOT,
  TDX_SIGNER,
  derTime,
  extension,
  intelName,
  p1363,
  signedDer,
} from "./tdx-forge.ts";

const ZERO_48 = "00".repeat(48);
const iso = (ms: number): string => new Date(ms).toISOString().replace(".000Z", "Z");
const DATED = {
  issueDate: iso(TDX_NOW - 5 * DAY),
  nextUpdate: iso(TDX_NOW + 25 * DAY),
  tcbEvaluationDataNumber: 18,
} as const;
const MODULE = {
  mrsigner: ZERO_48,
  attributes: "0000000000000000",
  attributesMask: "FFFFFFFFFFFFFFFF",
} as const;

/** A TCB level of a platform, as Intel writes it. */
export function tcbLevel({
  sgx = COMPONENTS,
  pcesvn = PCE_SVN,
  tdx = [5, 0, 3],
  tcbStatus = "UpToDate",
  advisoryIDs,
}: {
  readonly sgx?: readonly number[];
  readonly pcesvn?: number;
  readonly tdx?: readonly number[];
  readonly tcbStatus?: string;
  readonly advisoryIDs?: readonly string[];
} = {}) {
  const components = (svns: readonly number[]) =>
    Array.from({ length: 16 }, (_, index) => ({ svn: svns[index] ?? 0 }));
  return {
    tcb: {
      sgxtcbcomponents: components(sgx),
      pcesvn,
      tdxtcbcomponents: components(tdx),
    },
    tcbDate: "2025-11-13T00:00:00Z",
    tcbStatus,
    ...(advisoryIDs === undefined ? {} : { advisoryIDs }),
  };
}

/** A level of an enclave or a module. */
export const svnLevel = (isvsvn: number, tcbStatus: string, advisoryIDs?: readonly string[]) => ({
  tcb: { isvsvn },
  tcbDate: "2025-11-13T00:00:00Z",
  tcbStatus,
  ...(advisoryIDs === undefined ? {} : { advisoryIDs }),
});

export const TCB_INFO = {
  id: "TDX",
  version: 3,
  ...DATED,
  fmspc: FMSPC.toUpperCase(),
  pceId: "0000",
  tcbType: 0,
  tdxModule: MODULE,
  tdxModuleIdentities: [
    { id: "TDX_03", ...MODULE, tcbLevels: [svnLevel(3, "UpToDate")] },
    {
      id: "TDX_01",
      ...MODULE,
      tcbLevels: [svnLevel(6, "UpToDate"), svnLevel(4, "OutOfDate", ["INTEL-SA-01036"])],
    },
  ],
  tcbLevels: [
    tcbLevel(),
    tcbLevel({ pcesvn: 5, tcbStatus: "OutOfDate", advisoryIDs: ["INTEL-SA-00837"] }),
  ],
} as const;

export const QE_IDENTITY = {
  id: "TD_QE",
  version: 2,
  ...DATED,
  miscselect: "00000000",
  miscselectMask: "FFFFFFFF",
  attributes: "11000000000000000000000000000000",
  attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
  mrsigner: MR_SIGNER.toUpperCase(),
  isvprodid: 2,
  tcbLevels: [svnLevel(4, "UpToDate"), svnLevel(2, "OutOfDate", ["INTEL-SA-00615"])],
} as const;

/** A statement of Intel's service over `body`, JSON text or an object. */
export function forgeStatement(
  member: "tcbInfo" | "enclaveIdentity",
  body: object | string,
  key: KeyObject = TDX_KEYS.signer.privateKey,
): Uint8Array {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return utf8(`{"${member}":${text},"signature":"${hex(p1363(utf8(text), key))}"}`);
}

/** TCB info with changes. */
export const forgeTcbInfo = (changes: object = {}): Uint8Array =>
  forgeStatement("tcbInfo", { ...TCB_INFO, ...changes });

/** QE identity with changes. */
export const forgeQeIdentity = (changes: object = {}): Uint8Array =>
  forgeStatement("enclaveIdentity", { ...QE_IDENTITY, ...changes });

/** A revocation list to issue. */
export interface CrlSpec {
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly serials: readonly Uint8Array[];
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly version: Uint8Array;
  /** Extensions of each entry and of the list, DER. */
  readonly entryExtensions: readonly Uint8Array[];
  readonly extensions: readonly Uint8Array[];
}

/** An extension as it stands in a list: CRL number 1, and a reason code. */
const CRL_NUMBER = extension({ oid: "551d14", critical: false, value: fromHex("020101") });
const REASON = extension({ oid: "551d15", critical: false, value: fromHex("0a0101") });
/** A critical extension: issuing distribution point. */
export const CRITICAL = extension({ oid: "551d1c", critical: true, value: fromHex("3000") });

/** The revocation list of the PCK issuer, with changes. */
export function forgeCrl(changes: Partial<CrlSpec> = {}): Uint8Array {
  const spec: CrlSpec = {
    issuer: CA_NAME,
    issuerKey: TDX_KEYS.ca.privateKey,
    serials: [fromHex("6fc34e5023e72892"), fromHex("efae6e9715fca13b")],
    thisUpdateMs: TDX_NOW - 3 * DAY,
    nextUpdateMs: TDX_NOW + 27 * DAY,
    version: fromHex("020101"),
    entryExtensions: [REASON],
    extensions: [CRL_NUMBER],
    ...changes,
  };
  const entries = spec.serials.map((serial) =>
    der(0x30, derInteger(serial), derTime(spec.thisUpdateMs), der(0x30, ...spec.entryExtensions)),
  );
  const tbs = der(
    0x30,
    spec.version,
    SHA256,
    intelName(spec.issuer),
    derTime(spec.thisUpdateMs),
    derTime(spec.nextUpdateMs),
    ...(entries.length === 0 ? [] : [der(0x30, ...entries)]),
    ...(spec.extensions.length === 0 ? [] : [der(0xa0, der(0x30, ...spec.extensions))]),
  );
  return signedDer(tbs, spec.issuerKey);
}

/** The root's revocation list, with changes. */
export const forgeRootCrl = (changes: Partial<CrlSpec> = {}): Uint8Array =>
  forgeCrl({ issuer: ROOT_NAME, issuerKey: TDX_KEYS.root.privateKey, serials: [], ...changes });

export const TDX_COLLATERAL: Collateral = {
  tcbInfo: forgeTcbInfo(),
  qeIdentity: forgeQeIdentity(),
  tcbSigningChain: [TDX_ROOT, TDX_SIGNER],
  pckCrl: forgeCrl(),
  rootCrl: forgeRootCrl(),
};
