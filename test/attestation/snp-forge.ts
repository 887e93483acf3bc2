import { generateKeyPairSync, sign, constants, type KeyObject } from "node:crypto";

import { concat, fromHex, hex, utf8 } from "../../protocol/index.ts";
import { der } from "../../host/sovereignty/custody/cms.ts";
import { basicConstraints, derInteger, keyUsage, type ExtensionSpec } from "../../sim/x509.ts";

/** The time forged reports are judged at. */
export const SNP_NOW = 1_790_000_000_000;

/** Roots and authorities of all product lines share two keys, as making one takes a second. */
const ARK_KEYS = generateKeyPairSync("rsa", { modulusLength: 4096 });
const ASK_KEYS = generateKeyPairSync("rsa", { modulusLength: 4096 });
const LEAF_KEYS = generateKeyPairSync("ec", { namedCurve: "P-384" });
export const SNP_KEYS = { ark: ARK_KEYS, ask: ASK_KEYS, leaf: LEAF_KEYS } as const;

const YEAR = 365 * 24 * 3_600_000;
const PSS_PARAMETERS =
  "a00f300d06096086480165030402020500" +
  "a11c301a06092a864886f70d010108300d06096086480165030402020500" +
  "a203020130";
/** AlgorithmIdentifier of RSASSA-PSS with SHA-384, with its trailer field and without. */
export const PSS_WITH_TRAILER = fromHex(
  `304606092a864886f70d01010a3039${PSS_PARAMETERS}a303020101`,
);
export const PSS_WITHOUT_TRAILER = fromHex(`304106092a864886f70d01010a3034${PSS_PARAMETERS}`);

/** A certificate to issue under an RSA key. Nothing is judged: tests issue wrong ones on purpose. */
export interface AmdCertificateSpec {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly ExtensionSpec[];
  readonly algorithm: Uint8Array;
}

/** Issues one X.509 v3 certificate, DER, with RSASSA-PSS. */
export function issueAmdCertificate(spec: AmdCertificateSpec): Uint8Array {
  const tbs = der(
    0x30,
    fromHex("a003020102"),
    derInteger(Uint8Array.of(spec.serial)),
    spec.algorithm,
    name(spec.issuer),
    der(0x30, time(spec.notBeforeMs), time(spec.notAfterMs)),
    name(spec.subject),
    spec.publicKey.export({ format: "der", type: "spki" }),
    der(0xa3, der(0x30, ...spec.extensions.map(extension))),
  );
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signature = sign("sha384", tbs, { key: spec.issuerKey, padding, saltLength: 48 });
  return der(0x30, tbs, spec.algorithm, der(0x03, Uint8Array.of(0), signature));
}

function extension({ oid, critical, value }: ExtensionSpec): Uint8Array {
  const flag = critical ? fromHex("0101ff") : new Uint8Array(0);
  return der(0x30, der(0x06, fromHex(oid)), flag, der(0x04, value));
}

/** Of an organisation, and without a common name when that is empty. */
function name(commonName: string): Uint8Array {
  const attribute = (oid: string, text: string): Uint8Array =>
    der(0x31, der(0x30, der(0x06, fromHex(oid)), der(0x0c, utf8(text))));
  const organisation = attribute("55040a", "Symphony tests");
  if (commonName === "") return der(0x30, organisation);
  return der(0x30, organisation, attribute("550403", commonName));
}

function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+Z$/g, "");
  return der(0x17, utf8(`${digits.slice(2)}Z`));
}

/** An ARK of this name. */
export function forgeArk(subject: string): Uint8Array {
  return issueAmdCertificate({
    subject,
    issuer: subject,
    serial: 1,
    notBeforeMs: SNP_NOW - 5 * YEAR,
    notAfterMs: SNP_NOW + 20 * YEAR,
    publicKey: ARK_KEYS.publicKey,
    issuerKey: ARK_KEYS.privateKey,
    extensions: [keyUsage(0x06, { critical: true }), basicConstraints({ pathLength: null })],
    algorithm: PSS_WITH_TRAILER,
  });
}

/** An ASK or ASVK of this name, under the ARK of that one. */
export function forgeAsk(
  subject: string,
  { issuer, ...changes }: { readonly issuer: string } & Partial<AmdCertificateSpec>,
): Uint8Array {
  return issueAmdCertificate({
    subject,
    issuer,
    serial: 2,
    notBeforeMs: SNP_NOW - 5 * YEAR,
    notAfterMs: SNP_NOW + 20 * YEAR,
    publicKey: ASK_KEYS.publicKey,
    issuerKey: ARK_KEYS.privateKey,
    extensions: [basicConstraints({ pathLength: 0 }), keyUsage(0x04, { critical: true })],
    algorithm: PSS_WITH_TRAILER,
    ...changes,
  });
}

/** The AMD extensions of a leaf: values by the arcs after 1.3.6.1.4.1.3704.1, such as `03.08`; null leaves one out. */
export type LeafValues = Readonly<Record<string, Uint8Array | null>>;

/** The extensions that have these values. */
export function leafExtensions(values: LeafValues): readonly ExtensionSpec[] {
  return Object.entries(values).flatMap(([arcs, value]) =>
    value === null
      ? []
      : [{ oid: `2b060104019c7801${arcs.replaceAll(".", "")}`, critical: false, value }],
  );
}

/** A VCEK or VLEK with these extensions. */
export function forgeLeaf(
  values: LeafValues,
  { issuer, ...changes }: { readonly issuer: string } & Partial<AmdCertificateSpec>,
): Uint8Array {
  return issueAmdCertificate({
    subject: "SEV-VCEK",
    issuer,
    serial: 3,
    notBeforeMs: SNP_NOW - YEAR,
    notAfterMs: SNP_NOW + 6 * YEAR,
    publicKey: LEAF_KEYS.publicKey,
    issuerKey: ASK_KEYS.privateKey,
    extensions: leafExtensions(values),
    algorithm: PSS_WITH_TRAILER,
    ...changes,
  });
}

/** IA5String. */
export function ia5(text: string): Uint8Array {
  return der(0x16, utf8(text));
}

/** An INTEGER in [0, 256). */
export function level(value: number): Uint8Array {
  return derInteger(Uint8Array.of(value));
}

const SPLS = {
  Milan: ["03.01", "03.02", "03.04", "03.05", "03.06", "03.07", "03.03", "03.08"],
  Genoa: ["03.01", "03.02", "03.04", "03.05", "03.06", "03.07", "03.03", "03.08"],
  Turin: ["03.09", "03.01", "03.02", "03.03", "03.05", "03.06", "03.07", "03.08"],
} as const;

/** The extensions of a leaf for REPORTED_TCB `tcb` (8 bytes of hex). */
export function leafValues(
  line: keyof typeof SPLS,
  tcb: string,
  id: { readonly hwId: Uint8Array } | { readonly cspId: string },
): LeafValues {
  const levels = SPLS[line].map((arcs, at) => [arcs, level(fromHex(tcb)[at] ?? 0)] as const);
  return {
    "01": level(line === "Turin" ? 1 : 0),
    "02": ia5(line === "Turin" ? line : `${line}-B0`),
    ...Object.fromEntries(levels),
    ...("hwId" in id ? { "04": id.hwId } : { "05": ia5(id.cspId) }),
  };
}

/** Bytes of a report by offset, in hex; later ones win. */
export type ReportPatch = Readonly<Record<number, string>>;

const REPORT_BYTES = 0x4a0;
const SIGNED_BYTES = 0x2a0;
const R_AT = 0x2a0;
const S_AT = 0x2e8;

/** A report of these bytes, zero elsewhere, signed. */
export function forgeReport(
  patches: readonly ReportPatch[],
  key: KeyObject = LEAF_KEYS.privateKey,
): Uint8Array {
  const report = new Uint8Array(REPORT_BYTES);
  for (const patch of patches) {
    for (const [at, bytes] of Object.entries(patch)) report.set(fromHex(bytes), Number(at));
  }
  const signed = report.subarray(0, SIGNED_BYTES);
  const signature = sign("sha384", signed, { key, dsaEncoding: "ieee-p1363" });
  report.set(signature.subarray(0, 48).toReversed(), R_AT);
  report.set(signature.subarray(48).toReversed(), S_AT);
  return report;
}

/** `value` as four bytes of hex, little endian. */
export function u32(value: number): string {
  return hex(Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
}

/** `count` bytes that tell fields and places in them apart, in hex. */
export function filler(start: number, count: number): string {
  return hex(Uint8Array.from({ length: count }, (_, at) => start + at));
}

/** `bytes` after one another, in hex. */
export function joinHex(...parts: readonly string[]): string {
  return hex(concat(...parts.map(fromHex)));
}
