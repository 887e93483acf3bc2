import { MalformedError, VerificationError, equalBytes, fromHex, hex } from "#protocol";

import { isSignedBy, type Certificate } from "./certificate.ts";
import { DER, derFault, expectTag, parseDer, parseDerElements, type DerElement } from "./der.ts";
import { parseDerTime } from "./der-time.ts";
import type { CertificateProfile, SignatureAlgorithm } from "./profile.ts";

/** The largest revocation list: 256 KiB, some 5 000 entries. Intel's have a hundred. */
export const CRL_BYTES_MAX = 256 * 1024;

/** A certificate revocation list, its bytes views of the input; authentic only once {@link verifyCrl} has found its signature good. */
export interface RevocationList {
  readonly tbs: Uint8Array;
  /** The issuer's name as it is encoded. */
  readonly issuer: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Serial numbers: INTEGER contents in hex. */
  readonly serials: ReadonlySet<string>;
  readonly algorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
}

const VERSION_2 = fromHex("020101");
const EXTENSIONS_TAG = 0xa0;

/**
 * Parses a revocation list in DER: version 2, a signature of `profile`, and nextUpdate.
 *
 * Refuses critical extensions of the list and of its entries: those that exist (delta lists, lists for certain
 * certificates only, entries of other issuers) would change what the list means. A certificate on the list is revoked
 * whatever date and reason stand beside its number.
 *
 * @throws {@link MalformedError} TEE_COLLATERAL_MALFORMED
 * @see RFC 5280 § 5.1
 */
export function parseCrl(der: Uint8Array, profile: CertificateProfile): RevocationList {
  try {
    if (der.length > CRL_BYTES_MAX)
      throw derFault(`at most ${CRL_BYTES_MAX} bytes`, `${der.length}`);
    return parseList(der, profile);
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    throw new MalformedError(
      { code: "TEE_COLLATERAL_MALFORMED" },
      `revocation list: ${cause.message}`,
      { cause },
    );
  }
}

/**
 * Verifies that `issuer` made `crl`: its name and its key. Whether it is current is not judged here.
 *
 * @throws {@link VerificationError} TEE_COLLATERAL_MALFORMED
 * @see RFC 5280 § 6.3.3
 */
export function verifyCrl(crl: RevocationList, issuer: Certificate): void {
  if (!equalBytes(crl.issuer, issuer.subject)) throw unsigned("of the certificates' issuer");
  if (!isSignedBy(crl, issuer)) throw unsigned("signed by its issuer");
}

/**
 * Refuses `certificate` when `crl` lists it.
 *
 * @throws {@link VerificationError} TEE_CERTIFICATE_REVOKED
 */
export function verifyNotRevoked(certificate: Certificate, crl: RevocationList): void {
  const serial = hex(certificate.serial);
  if (!crl.serials.has(serial)) return;
  throw new VerificationError(
    { code: "TEE_CERTIFICATE_REVOKED", serial },
    `certificate: expected one that is not revoked, got serial number ${serial}`,
  );
}

function parseList(der: Uint8Array, profile: CertificateProfile): RevocationList {
  const [tbs, outer, signature, ...rest] = parseDerElements(parseDer(der, DER.sequence).content);
  const body = expectTag(tbs, DER.sequence);
  const [version, inner, issuer, thisUpdate, nextUpdate, ...optional] = parseDerElements(
    body.content,
  );
  const algorithm = profile.signatures.find(
    ({ identifier }) => isElement(outer, identifier) && isElement(inner, identifier),
  );
  const { content } = expectTag(signature, DER.bitString);
  if (algorithm === undefined || rest.length > 0 || content[0] !== 0) {
    throw derFault("a signature of the issuer's kind", "another one");
  }
  if (!isElement(version, VERSION_2)) throw derFault("version 2", "another one");
  const entries = optional[0]?.tag === DER.sequence ? optional.shift() : undefined;
  const extensions = optional[0]?.tag === EXTENSIONS_TAG ? optional.shift() : undefined;
  if (optional.length > 0) throw derFault("entries and extensions", "other optional fields");
  if (extensions !== undefined) expectNoCritical(parseDer(extensions.content, DER.sequence));
  return {
    tbs: body.whole,
    issuer: expectTag(issuer, DER.sequence).whole,
    thisUpdateMs: parseDerTime(thisUpdate),
    nextUpdateMs: parseDerTime(nextUpdate),
    serials: entries === undefined ? new Set() : parseEntries(entries),
    algorithm,
    signature: content.subarray(1),
  };
}

/** Entries mostly have the same extension, the reason: what was found harmless before need not be read again. */
function parseEntries(entries: DerElement): ReadonlySet<string> {
  const serials = new Set<string>();
  let harmless = new Uint8Array(0);
  for (const entry of parseDerElements(entries.content)) {
    const [serial, , extensions, ...more] = parseDerElements(
      expectTag(entry, DER.sequence).content,
    );
    if (more.length > 0) throw derFault("at most three parts in an entry", `${3 + more.length}`);
    if (extensions !== undefined && !equalBytes(extensions.whole, harmless)) {
      expectNoCritical(expectTag(extensions, DER.sequence));
      harmless = new Uint8Array(extensions.whole);
    }
    serials.add(hex(expectTag(serial, DER.integer).content));
  }
  return serials;
}

/** An extension is critical when a boolean stands between its OID and its value. */
function expectNoCritical(extensions: DerElement): void {
  for (const extension of parseDerElements(extensions.content)) {
    const parts = parseDerElements(expectTag(extension, DER.sequence).content);
    if (parts.length !== 2) throw derFault("no critical extension", "one");
  }
}

function isElement(element: DerElement | undefined, bytes: Uint8Array): boolean {
  return element !== undefined && equalBytes(element.whole, bytes);
}

function unsigned(expected: string): VerificationError {
  return new VerificationError(
    { code: "TEE_COLLATERAL_MALFORMED", subject: "revocation list" },
    `revocation list: expected one ${expected}, got another one`,
  );
}
