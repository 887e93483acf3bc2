import { parseNitroDocument } from "../../../attestation/index.ts";
import { concat, encodeCbor, fromHex, utf8 } from "../../../protocol/index.ts";
import { encodePcrs } from "../../../sim/cose.ts";
import {
  forgeChain,
  forgeDocument,
  forgePcrs,
  NOW,
  type DocumentChanges,
} from "../../attestation/forge.ts";

/** A document signed by the simulator, with its payload. */
export function signedDocument(changes: DocumentChanges = {}): {
  readonly document: Uint8Array;
  readonly payload: Uint8Array;
} {
  const document = forgeDocument(changes);
  return { document, payload: parseNitroDocument(document).payload };
}

const HOUR = 3_600_000;

/** Signed documents that differ in what real ones differ in, and some with one certificate out of date. */
export function signedDocuments(): readonly Uint8Array[] {
  const pcrs = forgePcrs();
  const sparse = new Map([...pcrs].filter(([index]) => index < 5 || index === 8));
  const late = { notBeforeMs: NOW + HOUR, notAfterMs: NOW + 2 * HOUR };
  return [
    {},
    { length: "definite" } as const,
    { fields: { nonce: null, user_data: null, public_key: null } },
    { fields: { nonce: fromHex("f6"), user_data: encodeCbor(new Uint8Array(1024)) } },
    { fields: { pcrs: encodePcrs(sparse) } },
    { fields: { module_id: encodeCbor("i-0-enc0") } },
    { fields: { user_data: encodeCbor(utf8("")) } },
    { chain: forgeChain({ 2: { notAfterMs: NOW - HOUR } }) },
    { chain: forgeChain({ 4: late }) },
  ].map((changes: DocumentChanges) => forgeDocument(changes));
}

/** `payload` in the only envelope that is accepted, with a signature of zeros unless given. */
export function envelope(
  payload: Uint8Array,
  signature: Uint8Array = new Uint8Array(96),
): Uint8Array {
  const head =
    payload.length < 256
      ? Uint8Array.of(0x58, payload.length)
      : Uint8Array.of(0x59, payload.length >> 8, payload.length & 0xff);
  return concat(fromHex("8444a1013822a0"), head, payload, fromHex("5860"), signature);
}
