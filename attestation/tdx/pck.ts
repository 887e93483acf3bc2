import { MalformedError, equalBytes, fromBase64, fromHex, utf8Text } from "#protocol";

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
const EXTENSION_OID = fromHex(SGX_EXTENSION);
const TCB_OID = fromHex(`${SGX_EXTENSION}02`);
const PPID = 1;
const TCB = 2;
const PCE_ID = 3;
const FMSPC = 4;
/** TCB: arcs 1 to 16 are components, the next is the PCE's. */
const COMPONENTS = 16;
const PCE_SVN = COMPONENTS + 1;

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
 * configuration) is not looked at, and neither is what Intel may add under its OID.
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
  const fields = parseFields(parseDer(value, DER.sequence), EXTENSION_OID);
  const tcb = parseFields(expectTag(fields.get(TCB), DER.sequence), TCB_OID);
  return {
    ppid: octets(fields.get(PPID), 16),
    components: Array.from({ length: COMPONENTS }, (_, at) => integer(tcb.get(at + 1), 0xff)),
    pceSvn: integer(tcb.get(PCE_SVN), 0xffff),
    pceId: octets(fields.get(PCE_ID), 2),
    fmspc: octets(fields.get(FMSPC), 6),
  };
}

/** The values of a sequence of pairs whose OIDs are `parent` and one arc more, by that arc; each at most once. */
function parseFields(sequence: DerElement, parent: Uint8Array): ReadonlyMap<number, DerElement> {
  const fields = new Map<number, DerElement>();
  for (const pair of parseDerElements(sequence.content)) {
    const [oid, value, ...more] = parseDerElements(expectTag(pair, DER.sequence).content);
    if (value === undefined || more.length > 0) throw derFault("an OID and a value", "others");
    const { content } = expectTag(oid, DER.oid);
    const arc = content[parent.length];
    if (arc === undefined || !equalBytes(content.subarray(0, -1), parent)) {
      throw derFault("an OID of Intel's", "another one");
    }
    if (fields.has(arc)) throw derFault("each field once", "one repeated");
    fields.set(arc, value);
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
