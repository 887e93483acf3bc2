import { sign, type KeyObject } from "node:crypto";

import { der } from "#host";
import { fromHex, utf8 } from "#protocol";

/** One extension: its OID's contents in hex, whether it is critical, and its value in DER. */
export interface ExtensionSpec {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** A certificate to issue. Nothing is judged: tests issue wrong ones on purpose. */
export interface CertificateSpec {
  /** Common names; the rest of the name is the simulator's. */
  readonly subject: string;
  readonly issuer: string;
  readonly serial: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly ExtensionSpec[];
  /** Signature hash; SHA-384 unless a test wants another. */
  readonly hash?: "sha256" | "sha384";
}

const ECDSA = {
  sha256: fromHex("300a06082a8648ce3d040302"),
  sha384: fromHex("300a06082a8648ce3d040303"),
} as const;
const ORGANISATION = "Symphony SIMULATED, no hardware behind it";

/** DER of a non-negative integer given big endian. */
export function derInteger(bytes: Uint8Array): Uint8Array {
  const from = bytes.findIndex((byte) => byte !== 0);
  const trimmed = from < 0 ? Uint8Array.of(0) : bytes.subarray(from);
  const sign0 = (trimmed[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0);
  return der(0x02, sign0, trimmed);
}

/** basicConstraints: an authority with `pathLength` (null: unbounded), or none. */
export function basicConstraints(
  authority: { readonly pathLength: number | null } | null,
): ExtensionSpec {
  const parts = authority === null ? [] : [fromHex("0101ff")];
  if (authority !== null && authority.pathLength !== null) {
    parts.push(derInteger(Uint8Array.of(authority.pathLength)));
  }
  return { oid: "551d13", critical: true, value: der(0x30, ...parts) };
}

/** keyUsage from its first octet; AWS has 0x86 (sign, cert, CRL) in authorities and 0xc0 in leaves. */
export function keyUsage(bits: number, critical: { readonly critical: boolean }): ExtensionSpec {
  let unused = 0;
  while (unused < 7 && ((bits >> unused) & 1) === 0) unused += 1;
  return { oid: "551d0f", ...critical, value: der(0x03, Uint8Array.of(unused, bits)) };
}

/** Issues one X.509 v3 certificate, DER. */
export function issueCertificate(spec: CertificateSpec): Uint8Array {
  const algorithm = ECDSA[spec.hash ?? "sha384"];
  const tbs = der(
    0x30,
    fromHex("a003020102"),
    derInteger(spec.serial),
    algorithm,
    name(spec.issuer),
    der(0x30, time(spec.notBeforeMs), time(spec.notAfterMs)),
    name(spec.subject),
    spec.publicKey.export({ format: "der", type: "spki" }),
    der(0xa3, der(0x30, ...spec.extensions.map(extension))),
  );
  const signature = sign(spec.hash ?? "sha384", tbs, spec.issuerKey);
  return der(0x30, tbs, algorithm, der(0x03, Uint8Array.of(0), signature));
}

function extension({ oid, critical, value }: ExtensionSpec): Uint8Array {
  const flag = critical ? fromHex("0101ff") : new Uint8Array(0);
  return der(0x30, der(0x06, fromHex(oid)), flag, der(0x04, value));
}

function name(commonName: string): Uint8Array {
  const attribute = (oid: string, text: string): Uint8Array =>
    der(0x31, der(0x30, der(0x06, fromHex(oid)), der(0x0c, utf8(text))));
  return der(0x30, attribute("55040a", ORGANISATION), attribute("550403", commonName));
}

/** UTCTime to 2049, GeneralizedTime after (RFC 5280 § 4.1.2.5). */
function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+Z$/g, "");
  return digits < "2050" ? der(0x17, utf8(`${digits.slice(2)}Z`)) : der(0x18, utf8(`${digits}Z`));
}
