import type { KeyObject } from "node:crypto";
import { sign } from "node:crypto";

import { concat, encodeCbor, fromHex, hex, utf8 } from "../../../../protocol/index.ts";
import { parseDerElements } from "../../../../attestation/der.ts";
import { signCose } from "../../../../sim/cose.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { CHAIN, forgeDocument, forgeFields, keyAt } from "../../../attestation/forge.ts";
import type { VectorInput } from "../schema.ts";

/** A vector to be: `document` becomes edits of the base's document, and the order gives the number. */
export interface Case extends Omit<VectorInput, "number" | "source" | "base" | "edits"> {
  readonly document?: Uint8Array;
  /** {@link SIM_BASE} unless said otherwise. */
  readonly base?: string;
  readonly source?: VectorInput["source"];
}

/** The simulator-signed document that most cases damage. */
export const SIM_BASE = "nitro-sim";
/** A genuine document of a production enclave, read from the shared folder. */
export const GENUINE_BASE = "nitro-genuine";
export const DOCUMENT = forgeDocument();

/** The order of P-384 (SEC 2 § 2.5.1). */
export const P384_ORDER = BigInt(
  "0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
);

/** Where the parts of a forged document are: `[d2] 84 44 a1013822 a0 59 nnnn payload 5860 signature`. */
export const AT = { array: 0, header: 2, unprotected: 6, payload: 10 } as const;
const SIGNATURE_BYTES = 96;

/** A forged document, or a genuine one, in two. */
export function splitDocument(document: Uint8Array): {
  payload: Uint8Array;
  signature: Uint8Array;
} {
  return {
    payload: document.slice(AT.payload, -SIGNATURE_BYTES - 2),
    signature: document.slice(-SIGNATURE_BYTES),
  };
}

/** An envelope as the platform writes it, around anything. */
export function joinDocument(payload: Uint8Array, signature: Uint8Array): Uint8Array {
  return concat(fromHex("8444a1013822a0"), encodeCbor(payload), encodeCbor(signature));
}

/** `document` with other bytes from `at` on. */
export function withBytes(document: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  const copy = document.slice();
  copy.set(bytes, at < 0 ? document.length + at : at);
  return copy;
}

/** `document` with the lowest bit of the byte at `at` flipped. */
export function flip(document: Uint8Array, at: number): Uint8Array {
  const from = at < 0 ? document.length + at : at;
  return document.with(from, (document[from] ?? 0) ^ 1);
}

/** Where `part` begins in `bytes`; it must be there. */
export function offsetOf(bytes: Uint8Array, part: Uint8Array | string): number {
  const at = Buffer.from(bytes).indexOf(typeof part === "string" ? utf8(part) : part);
  if (at < 0) throw new Error("bytes: expected them in the document, got none");
  return at;
}

/** A document whose payload has these bytes instead of those, signed anew. */
export function signedWith(from: Uint8Array | string, to: Uint8Array): Uint8Array {
  const { payload } = splitDocument(DOCUMENT);
  return signCose(replaced(payload, from, to), keyAt(4));
}

/** `bytes` with `to` in the place of `from`. */
export function replaced(bytes: Uint8Array, from: Uint8Array | string, to: Uint8Array): Uint8Array {
  const part = typeof from === "string" ? utf8(from) : from;
  const at = offsetOf(bytes, part);
  return concat(bytes.subarray(0, at), to, bytes.subarray(at + part.length));
}

/** A document with fields (names and encoded values) after its own, which may repeat them. */
export function signedWithMore(...more: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const fields = [...forgeFields(), ...more];
  const entries = fields.flatMap(([name, value]) => [encodeCbor(name), value]);
  return signCose(concat(fromHex("bf"), ...entries, fromHex("ff")), keyAt(4));
}

/** What is done to a certificate: to its whole, or to its signed part, which is then signed anew. */
export interface Surgery {
  readonly whole?: (certificate: Uint8Array) => Uint8Array;
  readonly body?: (tbs: Uint8Array) => Uint8Array;
  /** Instead of its issuer's. */
  readonly issuerKey?: KeyObject;
}

/** The chain with the certificate at `position` operated on, and its document. */
export function operated(position: number, surgery: Surgery, chain = CHAIN): Uint8Array {
  return forgeDocument({ chain: operatedChain(position, surgery, chain) });
}

/** As {@link operated}, the chain alone. */
export function operatedChain(
  position: number,
  { whole = (bytes) => bytes, body, issuerKey = keyAt(Math.max(0, position - 1)) }: Surgery,
  chain = CHAIN,
): readonly Uint8Array[] {
  return chain.map((certificate, at) => {
    if (at !== position) return certificate;
    return whole(body === undefined ? certificate : resigned(certificate, body, issuerKey));
  });
}

function resigned(
  certificate: Uint8Array,
  body: (tbs: Uint8Array) => Uint8Array,
  key: KeyObject,
): Uint8Array {
  const [tbs, algorithm] = partsOfDer(certificate);
  if (tbs === undefined || algorithm === undefined) throw new Error("certificate: expected parts");
  const changed = body(tbs);
  const signature = new Uint8Array(sign("sha384", changed, key));
  return der(0x30, changed, algorithm, der(0x03, Uint8Array.of(0), signature));
}

/** The elements within the one element `bytes`, whole. */
export function partsOfDer(bytes: Uint8Array): readonly Uint8Array[] {
  const [outer] = parseDerElements(bytes);
  return parseDerElements(outer?.content ?? bytes).map(({ whole }) => whole);
}

/** `bytes`, one element, with its inner elements changed. */
export function withParts(
  bytes: Uint8Array,
  change: (parts: readonly Uint8Array[]) => readonly Uint8Array[],
): Uint8Array {
  return der(bytes[0] ?? 0, ...change(partsOfDer(bytes)));
}

/** Bytes as the policy of a vector writes them. */
export function json(bytes: Uint8Array): { readonly $hex: string } {
  return { $hex: hex(bytes) };
}

/** An anchor of the simulator's platform that is only in this vector. */
export function anchorOf(certificate: Uint8Array | undefined, platform = "sim") {
  return { platform, certificate: `hex:${hex(certificate ?? new Uint8Array(0))}` };
}
