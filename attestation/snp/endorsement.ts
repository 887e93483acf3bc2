import { VerificationError, equalBytes, fromHex, hex } from "#protocol";

import type { Certificate } from "../certificate.ts";
import { DER, derFault, expectTag, parseDer, parseDerElements } from "../der.ts";
import { SNP_PRODUCT_LINES, type SnpProductLine } from "./product.ts";
import { encodeTcb } from "./tcb.ts";

/** What the certificates of a report's key say of it. */
export interface SnpEndorsement {
  /** From the root's name. */
  readonly productLine: SnpProductLine;
  /** The TCB version that the key was derived for, as REPORTED_TCB writes it. */
  readonly tcb: Uint8Array;
  /** Of a VCEK: the chip's id, 64 bytes, on Turin its first 8. */
  readonly hwId: Uint8Array | null;
  /** Of a VLEK: the cloud provider it was issued to. */
  readonly cspId: string | null;
}

const IA5_STRING = 0x16;
const OID_COMMON_NAME = fromHex("550403");
/** 1.3.6.1.4.1.3704.1, contents in hex; what follows names the extension (57230 Table 8). */
const OID_AMD = "2b060104019c7801";
const OID_PRODUCT_NAME = `${OID_AMD}02`;
const OID_SPL = `${OID_AMD}03`;
const OID_HW_ID = `${OID_AMD}04`;
const OID_CSP_ID = `${OID_AMD}05`;
const NAME = /^[\x21-\x7e]{1,64}$/;

/**
 * Reads what a verified path of an SEV-SNP key says: ARK, then ASK and VCEK, or ASVK and VLEK, of one product line.
 *
 * @throws {@link MalformedError} TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED when the certificates are of different product lines, or not
 * those of `signingKey`.
 * @see AMD publication 57230, VCEK certificate and KDS interface specification, § 3
 */
export function readEndorsement(
  [ark, authority, leaf]: readonly [Certificate, Certificate, Certificate],
  signingKey: "VCEK" | "VLEK",
): SnpEndorsement {
  const root = nameOf(ark);
  const productLine = SNP_PRODUCT_LINES.find((line) => root === `ARK-${line}`);
  if (productLine === undefined) throw mismatch("root", "the ARK of a known product", root);
  const authorityName = signingKey === "VCEK" ? `SEV-${productLine}` : `SEV-VLEK-${productLine}`;
  if (nameOf(authority) !== authorityName) {
    throw mismatch("authority", authorityName, nameOf(authority));
  }
  const product = text(extension(leaf, OID_PRODUCT_NAME));
  if (product.split("-")[0] !== productLine) throw mismatch("leaf product", productLine, product);
  const hwId = leaf.extensions.get(OID_HW_ID) ?? null;
  const csp = leaf.extensions.get(OID_CSP_ID);
  const cspId = csp === undefined ? null : text(csp);
  if ((signingKey === "VCEK") !== (cspId === null)) {
    throw mismatch("leaf cspID", `that of a ${signingKey}`, cspId === null ? "none" : "one");
  }
  if ((signingKey === "VCEK") !== (hwId !== null)) {
    throw mismatch("leaf hwID", `that of a ${signingKey}`, hwId === null ? "none" : "one");
  }
  const level = (component: number): number => small(extension(leaf, `${OID_SPL}0${component}`));
  return { productLine, tcb: encodeTcb(level, productLine), hwId, cspId };
}

function nameOf({ subject }: Certificate): string {
  for (const part of parseDerElements(parseDer(subject, DER.sequence).content)) {
    const [type, value] = parseDerElements(parseDer(part.content, DER.sequence).content);
    if (value !== undefined && equalBytes(expectTag(type, DER.oid).content, OID_COMMON_NAME)) {
      return Buffer.from(value.content).toString("latin1");
    }
  }
  throw derFault("a common name", "none");
}

function extension({ extensions }: Certificate, oid: string): Uint8Array {
  const value = extensions.get(oid);
  if (value === undefined) throw derFault(`extension ${oid}`, "none");
  return value;
}

function text(value: Uint8Array): string {
  const content = Buffer.from(parseDer(value, IA5_STRING).content).toString("latin1");
  if (!NAME.test(content)) throw derFault("1 to 64 visible ASCII characters", "another text");
  return content;
}

/** An INTEGER in [0, 256), in its shortest form. */
function small(value: Uint8Array): number {
  const { content } = parseDer(value, DER.integer);
  const [first = 0, last = 0] = [content[0], content[content.length - 1]];
  const isShort = content.length === 1 && first < 0x80;
  const isLong = content.length === 2 && first === 0 && last >= 0x80;
  if (!isShort && !isLong) throw derFault("an integer in [0, 256)", `0x${hex(content)}`);
  return last;
}

function mismatch(subject: string, expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "TEE_CHAIN_UNTRUSTED", subject },
    `${subject}: expected ${expected}, got ${got}`,
  );
}
