import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

import type { AppraisalPolicy, TdxExpectations, TrustAnchor } from "../../attestation/index.ts";
import { reportDataOf } from "../../attestation/index.ts";
import { base64, concat, fromHex, hex, utf8 } from "../../protocol/index.ts";
import { der } from "../../host/sovereignty/custody/cms.ts";
import { basicConstraints, derInteger, keyUsage, type ExtensionSpec } from "../../sim/x509.ts";

/** The time forged quotes are judged at. */
export const TDX_NOW = 1_790_000_000_000;

const pair = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
/** Keys of all roles, one of each for the process. */
export const TDX_KEYS = {
  root: pair(),
  ca: pair(),
  pck: pair(),
  signer: pair(),
  attestation: pair(),
  stranger: pair(),
} as const;

export const DAY = 24 * 3_600_000;
const YEAR = 365 * DAY;
export const SHA256 = fromHex("300a06082a8648ce3d040302");
export const ROOT_NAME = "Intel SGX Root CA";
export const CA_NAME = "Intel SGX PCK Platform CA";
export const SIGNER_NAME = "Intel SGX TCB Signing";
const AUTHORITY_BITS = 0x06;
const LEAF_BITS = 0xc0;

/** A certificate to issue with a P-256 key. Nothing is judged: tests issue wrong ones on purpose. */
export interface IntelCertificateSpec {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly ExtensionSpec[];
}

/** Issues one X.509 v3 certificate, DER, with ECDSA and SHA-256. */
export function issueIntelCertificate(spec: IntelCertificateSpec): Uint8Array {
  const tbs = der(
    0x30,
    fromHex("a003020102"),
    derInteger(spec.serial),
    SHA256,
    intelName(spec.issuer),
    der(0x30, derTime(spec.notBeforeMs), derTime(spec.notAfterMs)),
    intelName(spec.subject),
    spec.publicKey.export({ format: "der", type: "spki" }),
    der(0xa3, der(0x30, ...spec.extensions.map(extension))),
  );
  return signedDer(tbs, spec.issuerKey);
}

/** A signed structure of X.509: what was signed, the algorithm, the signature. */
export function signedDer(tbs: Uint8Array, key: KeyObject): Uint8Array {
  return der(0x30, tbs, SHA256, der(0x03, Uint8Array.of(0), sign("sha256", tbs, key)));
}

export function extension({ oid, critical, value }: ExtensionSpec): Uint8Array {
  const flag = critical ? fromHex("0101ff") : new Uint8Array(0);
  return der(0x30, der(0x06, fromHex(oid)), flag, der(0x04, value));
}

export function intelName(commonName: string): Uint8Array {
  const attribute = (oid: string, text: string): Uint8Array =>
    der(0x31, der(0x30, der(0x06, fromHex(oid)), der(0x0c, utf8(text))));
  return der(0x30, attribute("550403", commonName), attribute("55040a", "Symphony tests"));
}

export function derTime(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+Z$/g, "");
  return der(0x17, utf8(`${digits.slice(2)}Z`));
}

const SGX = "2a864886f84d010d01";

/** Values of the SGX extension by arc, DER; null leaves one out. */
export type PckValues = Readonly<Record<string, Uint8Array | null>>;

export const PPID = "00112233445566778899aabbccddeeff";
export const FMSPC = "50806f000000";
export const COMPONENTS = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0] as const;
export const PCE_SVN = 13;

export const octetString = (digits: string): Uint8Array => der(0x04, fromHex(digits));
export const integer = (value: number): Uint8Array =>
  derInteger(Uint8Array.of(value >> 8, value & 0xff));

/** The TCB of the SGX extension: components 1 to 16, 17 the PCE. */
export function pckTcb(changes: PckValues = {}): Uint8Array {
  const values: Record<string, Uint8Array | null> = {};
  COMPONENTS.forEach((svn, index) => (values[String(index + 1)] = integer(svn)));
  values["17"] = integer(PCE_SVN);
  values["18"] = octetString(hex(Uint8Array.from(COMPONENTS)));
  return pairs(`${SGX}02`, { ...values, ...changes });
}

/** The SGX extension of a PCK certificate as Intel issues it, with changes. */
export function pckExtension(changes: PckValues = {}): ExtensionSpec {
  const flags = pairs(`${SGX}07`, { 1: fromHex("0101ff"), 2: fromHex("0101ff") });
  const values = {
    1: octetString(PPID),
    2: pckTcb(),
    3: octetString("0000"),
    4: octetString(FMSPC),
    5: fromHex("0a0101"),
    6: octetString("ffeeddccbbaa99887766554433221100"),
    7: flags,
  };
  return { oid: SGX, critical: false, value: pairs(SGX, { ...values, ...changes }) };
}

function pairs(parent: string, values: PckValues): Uint8Array {
  const items = Object.entries(values).flatMap(([arc, value]) => {
    const oid = fromHex(`${parent}${Number(arc).toString(16).padStart(2, "0")}`);
    return value === null ? [] : [der(0x30, der(0x06, oid), value)];
  });
  return der(0x30, ...items);
}

export const LEAF_EXTENSIONS = [keyUsage(LEAF_BITS, { critical: true }), basicConstraints(null)];
export const authority = (pathLength: number | null) => [
  keyUsage(AUTHORITY_BITS, { critical: true }),
  basicConstraints({ pathLength }),
];

type Role = "root" | "ca" | "pck" | "signer";
const LIFE = { notBeforeMs: TDX_NOW - 2 * YEAR, notAfterMs: TDX_NOW + 5 * YEAR } as const;
const CERTIFICATES: Readonly<Record<Role, IntelCertificateSpec>> = {
  root: {
    ...LIFE,
    subject: ROOT_NAME,
    issuer: ROOT_NAME,
    serial: fromHex("22650cd65a9d3489"),
    publicKey: TDX_KEYS.root.publicKey,
    issuerKey: TDX_KEYS.root.privateKey,
    extensions: authority(1),
  },
  ca: {
    ...LIFE,
    subject: CA_NAME,
    issuer: ROOT_NAME,
    serial: fromHex("956f5dcdbd1be1e9"),
    publicKey: TDX_KEYS.ca.publicKey,
    issuerKey: TDX_KEYS.root.privateKey,
    extensions: authority(0),
  },
  pck: {
    ...LIFE,
    subject: "Intel SGX PCK Certificate",
    issuer: CA_NAME,
    serial: fromHex("3c16ed54eacbb4ce"),
    publicKey: TDX_KEYS.pck.publicKey,
    issuerKey: TDX_KEYS.ca.privateKey,
    extensions: [...LEAF_EXTENSIONS, pckExtension()],
  },
  signer: {
    ...LIFE,
    subject: SIGNER_NAME,
    issuer: ROOT_NAME,
    serial: fromHex("7e3882d5fb55294a"),
    publicKey: TDX_KEYS.signer.publicKey,
    issuerKey: TDX_KEYS.root.privateKey,
    extensions: LEAF_EXTENSIONS,
  },
};

/** The certificate of a role, with changes. */
export function forgeIntel(role: Role, changes: Partial<IntelCertificateSpec> = {}): Uint8Array {
  return issueIntelCertificate({ ...CERTIFICATES[role], ...changes });
}

export const TDX_ROOT = forgeIntel("root");
export const TDX_CHAIN: readonly Uint8Array[] = [TDX_ROOT, forgeIntel("ca"), forgeIntel("pck")];
export const TDX_SIGNER = forgeIntel("signer");
export const TDX_ANCHOR: TrustAnchor = { platform: "intel-tdx", certificate: TDX_ROOT };

/** PEM as quotes carry it: leaf first, and a zero byte. */
export function pemOf(chain: readonly Uint8Array[]): Uint8Array {
  const block = (bytes: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${base64(bytes).replaceAll(/.{1,64}/g, "$&\n")}-----END CERTIFICATE-----\n`;
  return utf8(`${chain.toReversed().map(block).join("")}\0`);
}

/** Bytes to put at offsets, in hex. */
export type Patch = Readonly<Record<number, string>>;

/** `bytes` with a patch. */
export function patched(bytes: Uint8Array, patch: Patch = {}): Uint8Array {
  const copy = bytes.slice();
  for (const [at, digits] of Object.entries(patch)) copy.set(fromHex(digits), Number(at));
  return copy;
}

export const BINDING = {
  nonce: utf8("a nonce of this session"),
  userData: utf8("digest of the manifest"),
  publicKey: utf8("a public key"),
} as const;
export const XFAM = "e702060000000000";
export const MR_SEAM = "5b".repeat(48);
export const TD_MEASUREMENT = {
  mrtd: "a0".repeat(48),
  rtmr0: "a1".repeat(48),
  rtmr1: "a2".repeat(48),
  rtmr2: "a3".repeat(48),
  rtmr3: "a4".repeat(48),
} as const;
export const MR_SIGNER = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5";

/** Header, v4. */
const HEADER =
  "0400020081000000" + "00000000" + "939a7233f79c4ca9940a0db3957f0607" + "00".repeat(20);
const QE_REPORT: Patch = {
  0: "0b0b1a18ffff04000000000000000000",
  48: "1500000000000000e700000000000000",
  64: "e5".repeat(32),
  128: MR_SIGNER,
  256: "0200",
  258: "0400",
};

/** The body of a TDX 1.0 or 1.5 report, with changes. */
export function forgeBody(version: "1.0" | "1.5", patch: Patch = {}): Uint8Array {
  const body = patched(new Uint8Array(version === "1.0" ? 584 : 648), {
    0: "06010300000000000000000000000000",
    16: MR_SEAM,
    120: "0000001000000000",
    128: XFAM,
    136: TD_MEASUREMENT.mrtd,
    184: "c0".repeat(48),
    232: "c1".repeat(48),
    280: "c2".repeat(48),
    328: TD_MEASUREMENT.rtmr0,
    376: TD_MEASUREMENT.rtmr1,
    424: TD_MEASUREMENT.rtmr2,
    472: TD_MEASUREMENT.rtmr3,
    520: hex(reportDataOf(BINDING)),
    ...(version === "1.5" ? { 584: "07010300000000000000000000000000" } : {}),
  });
  return patched(body, patch);
}

/** How a quote differs from a good one; all that is signed is signed accordingly. */
export interface QuoteChanges {
  /** 4 unless said otherwise; 5 has a TDX 1.5 report. */
  readonly version?: 4 | 5;
  readonly header?: Patch;
  readonly body?: Patch;
  /** Body type and size of version 5, in hex. */
  readonly bodyHead?: string;
  /** Instead of the whole body. */
  readonly bodyBytes?: Uint8Array;
  readonly qeReport?: Patch;
  readonly authData?: Uint8Array;
  /** Root first. */
  readonly chain?: readonly Uint8Array[];
  readonly pem?: Uint8Array;
  readonly pckKey?: KeyObject;
  readonly attestationKey?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  /** Types of the certification data, outer and inner. */
  readonly types?: readonly [number, number];
  readonly trailing?: Uint8Array;
  /** Bytes after the outer and inner certification data, within the sizes around them. */
  readonly slack?: readonly [Uint8Array, Uint8Array];
}

const NONE = new Uint8Array(0);

/** A quote that is good but for `changes`. */
export function forgeQuote(changes: QuoteChanges = {}): Uint8Array {
  const { version = 4, bodyHead = "030088020000", slack = [NONE, NONE] } = changes;
  const { attestationKey = TDX_KEYS.attestation, pckKey = TDX_KEYS.pck.privateKey } = changes;
  const { types = [6, 5], authData = Uint8Array.from({ length: 32 }, (_, at) => at) } = changes;
  const header = patched(fromHex(HEADER), { 0: `0${version}00`, ...changes.header });
  const body = changes.bodyBytes ?? forgeBody(version === 4 ? "1.0" : "1.5", changes.body);
  const signed = concat(header, version === 4 ? NONE : fromHex(bodyHead), body);
  const point = pointOf(attestationKey.publicKey);
  const bound = createHash("sha256").update(point).update(authData).digest("hex");
  const report = patched(
    patched(new Uint8Array(384), { ...QE_REPORT, 320: bound }),
    changes.qeReport,
  );
  const pem = changes.pem ?? pemOf(changes.chain ?? TDX_CHAIN);
  const inner = concat(u16(types[1]), sized(pem), slack[1]);
  const qe = concat(report, p1363(report, pckKey), u16(authData.length), authData, inner);
  const outer = concat(u16(types[0]), sized(qe), slack[0]);
  const data = concat(p1363(signed, attestationKey.privateKey), point, outer);
  return concat(signed, sized(data), changes.trailing ?? NONE);
}

/** x and y of a P-256 key. */
export function pointOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(-64));
}

export function p1363(bytes: Uint8Array, key: KeyObject): Uint8Array {
  return new Uint8Array(sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }));
}

/** `bytes` after their size, u32 little endian. */
export function sized(bytes: Uint8Array): Uint8Array {
  return concat(u16(bytes.length & 0xffff), u16(bytes.length >>> 16), bytes);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

const OFF = { equals: false } as const;
export const TDX_EXPECTATIONS: TdxExpectations = {
  tcbStatuses: ["UpToDate"],
  tcbEvaluationDataNumber: { atLeast: 17 },
  attributes: {
    lass: OFF,
    septVeDisable: { equals: true },
    migratable: OFF,
    pks: OFF,
    keyLocker: OFF,
    tpa: OFF,
    perfmon: OFF,
  },
  xfam: { equals: XFAM },
  mrSeam: { equals: MR_SEAM },
  mrConfigId: { equals: "c0".repeat(48) },
  mrOwner: { equals: "c1".repeat(48) },
  mrOwnerConfig: { equals: "c2".repeat(48) },
  mrServiceTd: { unchecked: "a TDX 1.0 report has none" },
  reportData: { equals: reportDataOf(BINDING) },
};

/** A policy that accepts the unchanged quote, with changes. */
export function tdxPolicyOf(changes: Partial<AppraisalPolicy> = {}): AppraisalPolicy {
  return {
    platforms: ["intel-tdx"],
    measurements: [{ ...TD_MEASUREMENT, validFromMs: 0, validUntilMs: TDX_NOW + 1 }],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: null,
    snp: null,
    tdx: TDX_EXPECTATIONS,
    nonce: { equals: BINDING.nonce },
    userData: { equals: BINDING.userData },
    publicKey: { equals: BINDING.publicKey },
    maxAgeMs: { unchecked: "a quote has no time of its own" },
    judgedAtMs: TDX_NOW,
    ...changes,
  };
}
