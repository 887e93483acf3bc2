import { MalformedError, fromBase64, hex, utf8Text } from "#protocol";

import type { Certificate } from "../certificate.ts";
import { DER, derFault, expectTag, parseDer, parseDerElements, type DerElement } from "../der.ts";

/** What Intel says in a PCK certificate about the platform that holds the key. */
export interface PckExtension {
  /** Names the platform; 16 bytes. */
  readonly ppid: Uint8Array;
  /** SVNs of the 16 SGX TCB components, each in [0, 256). */
  readonly components: readonly number[];
  readonly pceSvn: number;
  /** 2 bytes. */
  readonly pceId: Uint8Array;
  /** Family, model, stepping, platform type and customised SKU; 6 bytes. */
  readonly fmspc: Uint8Array;
}

/** Certificates in a PCK chain: the PCK, its issuer, the root (SGX PCK certificate specification, § 1.2). */
const CHAIN_LENGTH = 3;
const BEGIN = "-----BEGIN CERTIFICATE-----\n";
const END = "-----END CERTIFICATE-----\n";

/** 1.2.840.113741.1.13.1, contents in hex. */
export const SGX_EXTENSION = "2a864886f84d010d01";
const PPID = `${SGX_EXTENSION}01`;
const TCB = `${SGX_EXTENSION}02`;
const PCE_ID = `${SGX_EXTENSION}03`;
const FMSPC = `${SGX_EXTENSION}04`;
const PCE_SVN = `${TCB}11`;
const COMPONENTS = 16;

/**
 * Reads the certificates of a quote: PEM text, PCK first, root last.
 *
 * Exactly three, with nothing between them but line ends and nothing after them but one zero byte, which Intel's
 * quoting library writes.
 *
 * @returns DER, root first.
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @see RFC 7468 § 3
 */
export function parsePckChain(pem: Uint8Array): readonly Uint8Array[] {
  const blocks = textOf(pem).split(END);
  const rest = blocks.pop();
  if (rest !== "" && rest !== "\0") throw derFault("nothing after the certificates", "other text");
  if (blocks.length !== CHAIN_LENGTH) {
    throw derFault(`${CHAIN_LENGTH} certificates in PEM`, `${blocks.length}`);
  }
  return blocks.map(parseBlock).toReversed();
}

function parseBlock(block: string): Uint8Array {
  if (!block.startsWith(BEGIN)) throw derFault("a certificate in PEM", "another text");
  try {
    return fromBase64(block.slice(BEGIN.length).replaceAll("\n", ""));
  } catch (cause) {
    throw malformedText(cause);
  }
}

function textOf(pem: Uint8Array): string {
  try {
    return utf8Text(pem);
  } catch (cause) {
    throw malformedText(cause);
  }
}

function malformedText(cause: unknown): MalformedError {
  return new MalformedError(
    { code: "TEE_CHAIN_MALFORMED" },
    "certificate: expected base64 in PEM, got another text",
    { cause },
  );
}

/**
 * Reads Intel's extension of a PCK certificate. What Symphony has no use for (CPUSVN, SGX type, platform instance,
 * configuration) is not looked at, and neither is what Intel may add.
 *
 *     SEQUENCE
 *         SEQUENCE { .1 PPID, OCTET STRING (16) }
 *         SEQUENCE { .2 TCB, SEQUENCE of
 *             SEQUENCE { .2.1 to .2.16 component SVN, INTEGER }
 *             SEQUENCE { .2.17 PCESVN, INTEGER }, ... }
 *         SEQUENCE { .3 PCE-ID, OCTET STRING (2) }
 *         SEQUENCE { .4 FMSPC, OCTET STRING (6) }, ...
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED, also when the certificate has no such extension.
 * @see Intel SGX PCK certificate and CRL profile specification, § 1.3.5 (1.2.840.113741.1.13.1)
 */
export function parsePckExtension({ extensions }: Certificate): PckExtension {
  const value = extensions.get(SGX_EXTENSION);
  if (value === undefined) throw derFault("a PCK certificate", "one without the SGX extension");
  const fields = parseFields(parseDer(value, DER.sequence));
  const tcb = parseFields(expectTag(fields.get(TCB), DER.sequence));
  return {
    ppid: octets(fields.get(PPID), 16),
    components: Array.from({ length: COMPONENTS }, (_, index) =>
      integer(tcb.get(`${TCB}${(index + 1).toString(16).padStart(2, "0")}`), 0xff),
    ),
    pceSvn: integer(tcb.get(PCE_SVN), 0xffff),
    pceId: octets(fields.get(PCE_ID), 2),
    fmspc: octets(fields.get(FMSPC), 6),
  };
}

/** The values of a sequence of pairs, by OID contents in hex; each at most once. */
function parseFields(sequence: DerElement): ReadonlyMap<string, DerElement> {
  const fields = new Map<string, DerElement>();
  for (const pair of parseDerElements(sequence.content)) {
    const [oid, value, ...more] = parseDerElements(expectTag(pair, DER.sequence).content);
    if (value === undefined || more.length > 0) throw derFault("an OID and a value", "others");
    const name = hex(expectTag(oid, DER.oid).content);
    if (fields.has(name)) throw derFault("each field once", "one repeated");
    fields.set(name, value);
  }
  return fields;
}

function octets(element: DerElement | undefined, size: number): Uint8Array {
  const { content } = expectTag(element, DER.octetString);
  if (content.length !== size) throw derFault(`${size} octets`, `${content.length}`);
  return content;
}

function integer(element: DerElement | undefined, max: number): number {
  const { content } = expectTag(element, DER.integer);
  const [first = 0x80] = content;
  const value = content.reduce((sum, octet) => sum * 0x100 + octet, 0);
  if (first >= 0x80 || value > max) {
    throw derFault(`an integer in [0, ${max}]`, "another value");
  }
  return value;
}
