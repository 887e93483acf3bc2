import { verify, type KeyObject } from "node:crypto";

import { MalformedError, compareBytes, equalBytes, fromHex, hex } from "#protocol";

import type { CertificateProfile, SignatureAlgorithm } from "./profile.ts";
import {
  DER,
  derFault,
  expectTag,
  parseDer,
  parseDerElements,
  parseInteger,
  type DerElement,
} from "./der.ts";
import { parseDerTime } from "./der-time.ts";
import { encodeSpki, importPublicKey } from "./public-key.ts";

/** An X.509 v3 certificate of one vendor's profile; authentic only once verified. */
export interface Certificate {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  /** INTEGER contents, as encoded. */
  readonly serial: Uint8Array;
  /** The issuer and subject names as they are encoded. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  /** The last millisecond at which the certificate is valid: the end of its last second. */
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly isAuthority: boolean;
  /** How many authorities may follow, or null when not bounded. */
  readonly pathLength: number | null;
  readonly keyUsage: KeyUsage;
  /** The values of all extensions, by the contents of their OID in hex. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
  readonly algorithm: SignatureAlgorithm;
  /** As encoded: ECDSA in DER form, or RSA. */
  readonly signature: Uint8Array;
}

/** The bits of keyUsage that path validation looks at (RFC 5280 § 4.2.1.3). */
export interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
}

const VERSION_3 = fromHex("a003020102");
const OID_BASIC_CONSTRAINTS = "551d13";
const OID_KEY_USAGE = "551d0f";
const EXTENSIONS_TAG = 0xa3;
/** First octet of a point with both coordinates (RFC 5480 § 2.2); node:crypto takes others, even infinity. */
const UNCOMPRESSED = 0x04;
/** OBJECT IDENTIFIER 2.5.4.3, after which a name has its string type, length and text (X.520). */
const COMMON_NAME = fromHex("0603550403");
/** An end entity without basicConstraints or keyUsage: it signs data and is no authority (RFC 5280 § 4.2.1.3). */
const UNCONSTRAINED = {
  isAuthority: false,
  pathLength: null,
  keyUsage: { digitalSignature: true, keyCertSign: false },
} as const;

/**
 * Parses one certificate in DER.
 *
 * Pins version 3 and the keys and signatures of `profile`: the vendor uses nothing else, so nothing else is
 * accepted. Refuses repeated and unknown critical extensions. The signature is not judged here.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @see RFC 5280 § 4.1
 */
export function parseCertificate(der: Uint8Array, profile: CertificateProfile): Certificate {
  if (der.length > profile.bytesMax) {
    throw derFault(`at most ${profile.bytesMax} bytes`, `${der.length}`);
  }
  const copy = new Uint8Array(der);
  const [tbs, outer, signature, ...rest] = parseDerElements(parseDer(copy, DER.sequence).content);
  if (rest.length > 0) throw derFault("three parts", `${3 + rest.length}`);
  const algorithm = oneOf(profile.signatures, outer);
  const body = expectTag(tbs, DER.sequence);
  return {
    der: copy,
    tbs: body.whole,
    algorithm,
    signature: bitString(signature),
    ...parseBody(parseDerElements(body.content), { profile, algorithm }),
  };
}

/** What an issuer signs: a certificate, or a revocation list. */
export type Signed = Pick<Certificate, "tbs" | "algorithm" | "signature">;

/** Whether `issuer`'s key made the signature of `signed`. Names and dates are not judged. */
export function isSignedBy(signed: Signed, issuer: Certificate): boolean {
  return verify(signed.algorithm.hash, signed.tbs, issuer.publicKey, signed.signature);
}

/** Whether `certificate` names the subject of `issuer` as its issuer, byte for byte. */
export function namesIssuer(certificate: Certificate, issuer: Certificate): boolean {
  return compareBytes(certificate.issuer, issuer.subject) === 0;
}

/**
 * The last common name in the subject, for messages only: printable ASCII or `unreadable`.
 *
 * Text of a certificate that was not verified is whatever its sender wrote.
 */
export function commonName({ subject }: Certificate): string {
  const at = Buffer.from(subject).lastIndexOf(COMMON_NAME);
  const length = subject[at + COMMON_NAME.length + 1];
  if (at < 0 || length === undefined) return "unreadable";
  const start = at + COMMON_NAME.length + 2;
  const text = Buffer.from(subject.subarray(start, start + length)).toString("latin1");
  return /^[\x20-\x7e]{1,127}$/.test(text) ? text : "unreadable";
}

type Body = Omit<Certificate, "der" | "tbs" | "algorithm" | "signature">;

function parseBody(
  fields: readonly DerElement[],
  { profile, algorithm }: { profile: CertificateProfile; algorithm: SignatureAlgorithm },
): Body {
  const [version, serial, inner, issuer, validity, subject, key, ...optional] = fields;
  expectEqual(version, VERSION_3, "version 3");
  expectEqual(inner, algorithm.identifier, algorithm.name);
  const [notBefore, notAfter, ...more] = parseDerElements(
    expectTag(validity, DER.sequence).content,
  );
  if (more.length > 0) throw derFault("two times", `${2 + more.length}`);
  const [extensions, ...unknown] = optional;
  if (unknown.length > 0) throw derFault("extensions only", "other optional fields");
  return {
    serial: parseInteger(serial),
    issuer: expectTag(issuer, DER.sequence).whole,
    subject: expectTag(subject, DER.sequence).whole,
    notBeforeMs: parseDerTime(notBefore),
    notAfterMs: parseDerTime(notAfter) + 999,
    publicKey: parseKey(expectTag(key, DER.sequence), profile),
    ...parseExtensions(expectTag(extensions, EXTENSIONS_TAG), profile),
  };
}

function parseKey(spki: DerElement, profile: CertificateProfile): KeyObject {
  const [identifier, bits] = parseDerElements(spki.content);
  const { name, modulusBits, importedAs } = oneOf(profile.keys, identifier);
  const key = bitString(bits);
  if (modulusBits === null && key[0] !== UNCOMPRESSED) {
    throw derFault("an uncompressed point", "another form");
  }
  if (modulusBits !== null && modulusBitsOf(key) !== modulusBits) {
    throw derFault(name, "one of another size");
  }
  const whole = importedAs === null ? spki.whole : encodeSpki(importedAs, key);
  try {
    return importPublicKey(whole);
  } catch (cause) {
    throw new MalformedError(
      { code: "TEE_CHAIN_MALFORMED" },
      `certificate: expected ${name}, got other bytes`,
      { cause },
    );
  }
}

/** Of an RSAPublicKey, the size of the first of its two integers (RFC 8017 § A.1.1). */
function modulusBitsOf(key: Uint8Array): number {
  const [modulus] = parseDerElements(parseDer(key, DER.sequence).content);
  const digits = parseInteger(modulus);
  const [first = 0, second = 0] = digits;
  const leading = first === 0 ? 8 + Math.clz32(second) - 24 : Math.clz32(first) - 24;
  return digits.length * 8 - leading;
}

type Extensions = Pick<Certificate, "isAuthority" | "pathLength" | "keyUsage" | "extensions">;

function parseExtensions(wrapper: DerElement, profile: CertificateProfile): Extensions {
  const values = new Map<string, Uint8Array>();
  for (const extension of parseDerElements(parseDer(wrapper.content, DER.sequence).content)) {
    const { oid, critical, value } = parseExtension(expectTag(extension, DER.sequence));
    if (values.has(oid)) throw derFault("each extension once", "one repeated");
    if (critical && oid !== OID_BASIC_CONSTRAINTS && oid !== OID_KEY_USAGE) {
      throw derFault("known critical extensions", `an unknown one (${oid})`);
    }
    values.set(oid, value);
  }
  const bare = !values.has(OID_BASIC_CONSTRAINTS) && !values.has(OID_KEY_USAGE);
  if (bare && profile.leafConstraints === "absent") return { ...UNCONSTRAINED, extensions: values };
  return {
    ...parseBasicConstraints(values.get(OID_BASIC_CONSTRAINTS)),
    keyUsage: parseKeyUsage(values.get(OID_KEY_USAGE)),
    extensions: values,
  };
}

function parseExtension(extension: DerElement): {
  oid: string;
  critical: boolean;
  value: Uint8Array;
} {
  const parts = parseDerElements(extension.content);
  const oid = hex(expectTag(parts[0], DER.oid).content);
  const critical = parts.length === 3 ? parseTrue(parts[1]) : false;
  if (parts.length > 3) throw derFault("at most three parts in an extension", `${parts.length}`);
  const value = expectTag(parts[parts.length - 1], DER.octetString).content;
  return { oid, critical, value };
}

function parseBasicConstraints(value: Uint8Array | undefined): {
  isAuthority: boolean;
  pathLength: number | null;
} {
  if (value === undefined) throw derFault("basicConstraints", "none");
  const parts = parseDerElements(parseDer(value, DER.sequence).content);
  if (parts.length === 0) return { isAuthority: false, pathLength: null };
  parseTrue(parts[0]);
  if (parts.length === 1) return { isAuthority: true, pathLength: null };
  if (parts.length > 2) throw derFault("two parts in basicConstraints", `${parts.length}`);
  const length = parseInteger(parts[1]);
  const [bound = 0] = length;
  if (length.length > 1 || bound > 0x7f)
    throw derFault("a path length in [0, 128)", "another value");
  return { isAuthority: true, pathLength: bound };
}

function parseKeyUsage(value: Uint8Array | undefined): KeyUsage {
  if (value === undefined) throw derFault("keyUsage", "none");
  const [unused, first, second, ...more] = parseDer(value, DER.bitString).content;
  if (unused === undefined || unused > 7 || first === undefined || more.length > 0) {
    throw derFault("keyUsage of at most nine bits", "another bit string");
  }
  if (((second ?? first) & ((1 << unused) - 1)) !== 0) {
    throw derFault("unused bits of zero", "others");
  }
  return { digitalSignature: (first & 0x80) !== 0, keyCertSign: (first & 0x04) !== 0 };
}

/** DER writes TRUE as 0xff, and never writes a FALSE that is the default (X.690 § 11.1, § 11.5). */
function parseTrue(element: DerElement | undefined): true {
  const { content } = expectTag(element, DER.boolean);
  if (content.length !== 1 || content[0] !== 0xff) throw derFault("TRUE", "another boolean");
  return true;
}

function bitString(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, DER.bitString);
  if (content[0] !== 0) throw derFault("whole octets in a bit string", "unused bits");
  return content.subarray(1);
}

/** The one of `algorithms` that `element` identifies. */
function oneOf<T extends { readonly name: string; readonly identifier: Uint8Array }>(
  algorithms: readonly T[],
  element: DerElement | undefined,
): T {
  const found = algorithms.find(
    ({ identifier }) => element !== undefined && equalBytes(element.whole, identifier),
  );
  if (found !== undefined) return found;
  throw derFault(algorithms.map(({ name }) => name).join(" or "), "another algorithm");
}

function expectEqual(element: DerElement | undefined, bytes: Uint8Array, what: string): void {
  if (element === undefined || !equalBytes(element.whole, bytes)) {
    throw derFault(what, element === undefined ? "nothing" : hex(element.whole.subarray(0, 32)));
  }
}
