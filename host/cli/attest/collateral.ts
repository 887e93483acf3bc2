import { X509Certificate } from "node:crypto";

import { UsageError } from "#cli";
import type { Collateral } from "#attestation";
import { MalformedError, fromHex, utf8 } from "#protocol";
import { z } from "zod";

import { readBoundedFile } from "../bounded-file.ts";
import { decodePem } from "./certificate-file.ts";
import { parseJsonText, parseStrict } from "../json-file.ts";

const COLLATERAL_FILE_BYTES_MAX = 1024 * 1024;

/** One file with everything, as quote verification libraries pass it on: statements as text, lists as hex. */
const combinedSchema = z.object({
  tcb_info_issuer_chain: z.string(),
  tcb_info: z.string(),
  tcb_info_signature: z.string(),
  qe_identity_issuer_chain: z.string(),
  qe_identity: z.string(),
  qe_identity_signature: z.string(),
  root_ca_crl: z.string(),
  pck_crl: z.string(),
});

/** What the files hold so far. */
interface Parts {
  tcbInfo?: Uint8Array;
  qeIdentity?: Uint8Array;
  tcbSigningChain?: readonly Uint8Array[];
  pckCrl?: Uint8Array;
  rootCrl?: Uint8Array;
}

const NAMES: Readonly<Record<keyof Parts, string>> = {
  tcbInfo: "TCB info",
  qeIdentity: "QE identity",
  tcbSigningChain: "TCB signing certificates",
  pckCrl: "the PCK authority's revocation list",
  rootCrl: "the root's revocation list",
};

/**
 * Reads Intel's collateral from one combined JSON file, or from files as Intel's service answers: TCB info and QE
 * identity (JSON), the issuer chain (PEM, or as the header has it), and two revocation lists (DER, PEM or hex). Each is known by its
 * content. Nothing of it is verified here.
 *
 * @throws UsageError when a part is missing; {@link MalformedError} TEE_COLLATERAL_MALFORMED
 */
export async function readCollateral(paths: readonly string[]): Promise<Collateral> {
  const parts: Parts = {};
  for (const path of paths) {
    const bound = { subject: "collateral", bytesMax: COLLATERAL_FILE_BYTES_MAX };
    Object.assign(parts, partsOf(await readBoundedFile(path, bound), path));
  }
  const { tcbInfo, qeIdentity, tcbSigningChain, pckCrl, rootCrl } = parts;
  if (
    tcbInfo === undefined ||
    qeIdentity === undefined ||
    tcbSigningChain === undefined ||
    pckCrl === undefined ||
    rootCrl === undefined
  ) {
    const missing = Object.entries(NAMES).filter(([name]) => !Object.hasOwn(parts, name));
    throw new UsageError(
      `--collateral: expected ${missing.map(([, name]) => name).join(", ")} too`,
    );
  }
  return { tcbInfo, qeIdentity, tcbSigningChain, pckCrl, rootCrl };
}

function partsOf(bytes: Uint8Array, path: string): Parts {
  if (bytes[0] === 0x7b) return statementParts(bytes, path);
  const chain = chainOf(Buffer.from(bytes).toString("latin1"));
  if (chain.length > 0) return { tcbSigningChain: chain };
  return crlParts(crlBytes(bytes), path);
}

function statementParts(bytes: Uint8Array, path: string): Parts {
  const value = parseJsonText(bytes, `collateral ${path}`);
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (keys.includes("tcbInfo")) return { tcbInfo: bytes };
  if (keys.includes("enclaveIdentity")) return { qeIdentity: bytes };
  const all = parseStrict(combinedSchema, value, `collateral ${path}`);
  return {
    tcbInfo: signed("tcbInfo", all.tcb_info, all.tcb_info_signature),
    qeIdentity: signed("enclaveIdentity", all.qe_identity, all.qe_identity_signature),
    tcbSigningChain: chainOf(all.tcb_info_issuer_chain),
    pckCrl: fromHex(all.pck_crl),
    rootCrl: fromHex(all.root_ca_crl),
  };
}

/** As Intel's service writes it: the statement's text unchanged, because that text is what was signed. */
function signed(name: string, statement: string, signature: string): Uint8Array {
  return utf8(`{"${name}":${statement},"signature":${JSON.stringify(signature)}}`);
}

/** Root first. Intel's service puts the chain into a header, percent-encoded, the signer first. */
function chainOf(text: string): readonly Uint8Array[] {
  const pem = text.includes("%") ? decodeHeader(text) : text;
  const certificates = decodePem(utf8(pem), "CERTIFICATE");
  return certificates.toSorted((a, b) => Number(isRoot(b)) - Number(isRoot(a)));
}

function decodeHeader(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isRoot(der: Uint8Array): boolean {
  try {
    const { subject, issuer } = new X509Certificate(der);
    return subject === issuer;
  } catch {
    return false;
  }
}

function crlBytes(bytes: Uint8Array): Uint8Array {
  const [fromPem] = decodePem(bytes, "X509 CRL");
  if (fromPem !== undefined) return fromPem;
  const text = Buffer.from(bytes).toString("latin1").trim();
  return /^(?:[0-9a-fA-F]{2})+$/.test(text) ? fromHex(text) : bytes;
}

/** A list says who issued it; the root's names the root. */
function crlParts(bytes: Uint8Array, path: string): Parts {
  const text = Buffer.from(bytes).toString("latin1");
  if (bytes[0] === 0x30 && text.includes("Intel SGX Root CA")) return { rootCrl: bytes };
  if (bytes[0] === 0x30 && text.includes("Intel SGX PCK")) return { pckCrl: bytes };
  throw new MalformedError(
    { code: "TEE_COLLATERAL_MALFORMED" },
    `collateral ${path}: expected JSON, certificates or a revocation list of Intel's, got ${bytes.length} other bytes`,
  );
}
