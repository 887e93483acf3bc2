import { sign, type KeyObject } from "node:crypto";

import { concat, encodeCbor, fromHex, utf8, type CborValue } from "#protocol";

/** The fields of a document to sign. Values are written as given: tests write wrong ones on purpose. */
export interface PayloadSpec {
  /** In the order to write. */
  readonly fields: readonly (readonly [string, Uint8Array])[];
  readonly length: "definite" | "indefinite";
}

const PROTECTED_HEADER = fromHex("a1013822");

/** CBOR of a map with integer keys, in the order given. */
export function encodePcrs(pcrs: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const entries = [...pcrs].flatMap(([index, pcr]) => [encodeCbor(index), encodeCbor(pcr)]);
  return concat(head(5, pcrs.size), ...entries);
}

/** CBOR of an attestation document's payload; AWS has written indefinite-length maps since 2025. */
export function encodePayload({ fields, length }: PayloadSpec): Uint8Array {
  const entries = fields.flatMap(([key, value]) => [encodeCbor(key), value]);
  if (length === "definite") return concat(head(5, fields.length), ...entries);
  return concat(fromHex("bf"), ...entries, fromHex("ff"));
}

/** An untagged COSE_Sign1 with ES384 (RFC 9052 § 4.2), as an NSM writes it. */
export function signCose(payload: Uint8Array, key: KeyObject): Uint8Array {
  const signed: CborValue = ["Signature1", PROTECTED_HEADER, utf8(""), payload];
  const signature = sign("sha384", encodeCbor(signed), { key, dsaEncoding: "ieee-p1363" });
  return concat(
    fromHex("8444a1013822a0"),
    encodeCbor(payload),
    encodeCbor(new Uint8Array(signature)),
  );
}

function head(major: number, argument: number): Uint8Array {
  if (argument < 24) return Uint8Array.of((major << 5) | argument);
  return Uint8Array.of((major << 5) | 24, argument);
}
