import { concat, encodeCbor, fromHex, hex } from "../../../../protocol/index.ts";
import { encodePayload, signCose } from "../../../../sim/cose.ts";
import { forgeDocument, forgeFields, keyAt } from "../../../attestation/forge.ts";
import {
  GENUINE_BASE,
  DOCUMENT,
  P384_ORDER,
  flip,
  joinDocument,
  offsetOf,
  replaced,
} from "./case.ts";
import { splitDocument, withBytes, AT, type Case } from "./case.ts";

const ORDER = fromHex(P384_ORDER.toString(16));
const INDEFINITE = 0xbf;
const malformed = { stage: "parse", code: "TEE_DOCUMENT_MALFORMED" } as const;
const forged = {
  stage: "verify",
  code: "TEE_SIGNATURE_INVALID",
  check: "document-signature",
} as const;

/** Category A on one document: the same damages on a simulated and on a genuine one. */
export function envelopeCases(document: Uint8Array, base: string): readonly Case[] {
  const { payload, signature } = splitDocument(document);
  const [r, s] = [signature.slice(0, 48), signature.slice(48)];
  const pcr0 = pcrAt(payload, 0);
  const cases: readonly Case[] = [
    { title: "the last bit of s flipped", document: flip(document, -1), ...forged },
    { title: "the last bit of r flipped", document: flip(document, -49), ...forged },
    {
      title: "a signature of zeros",
      document: withBytes(document, -96, new Uint8Array(96)),
      ...forged,
    },
    {
      title: "r and s both the order of the group",
      document: withBytes(document, -96, concat(ORDER, ORDER)),
      ...forged,
    },
    { title: "r and s exchanged", document: withBytes(document, -96, concat(s, r)), ...forged },
    {
      title: "a bit of PCR1 flipped, and a policy that wants it so",
      document: joinDocument(flip(payload, pcrAt(payload, 1).at), signature),
      policy: { measurements: [measurementOf(payload, 1)] },
      ...forged,
    },
    {
      title: "a bit of PCR0 flipped, and a policy that wants it so",
      document: joinDocument(flip(payload, pcr0.at), signature),
      policy: { measurements: [measurementOf(payload, 0)] },
      ...forged,
    },
    {
      title: "the timestamp one millisecond other",
      document: joinDocument(flip(payload, offsetOf(payload, "timestamp") + 17), signature),
      ...forged,
    },
    {
      title: "the payload's map encoded the other way",
      document: joinDocument(reencoded(payload), signature),
      ...forged,
    },
    { title: "tag 98 (COSE_Sign)", document: concat(fromHex("d862"), document), ...tagged },
    { title: "tag 18 twice", document: concat(fromHex("d2d2"), document), ...tagged },
    { title: "tag 55799 (CBOR)", document: concat(fromHex("d9d9f7"), document), ...tagged },
    { title: "a byte after the document", document: concat(document, fromHex("00")), ...trailing },
    { title: "two documents in a row", document: concat(document, document), ...trailing },
    {
      title: "algorithm -36 (ES512) in the protected header",
      document: withBytes(document, AT.header, fromHex("a1013823")),
      ...head,
    },
    {
      title: "the algorithm under label 4 in the protected header",
      document: withBytes(document, AT.header, fromHex("a1043822")),
      ...head,
    },
    {
      title: "a text for the payload",
      document: withBytes(document, AT.payload - 3, fromHex("79")),
      ...malformed,
      check: null,
    },
    {
      title: "a text for the signature",
      document: withBytes(document, -98, fromHex("7860")),
      ...signatureHead,
    },
    {
      title: "a signature of 97 announced bytes",
      document: withBytes(document, -98, fromHex("5861")),
      ...signatureHead,
    },
    { title: "an array of three", document: withBytes(document, 0, fromHex("83")), ...head },
    { title: "an array of five", document: withBytes(document, 0, fromHex("85")), ...head },
  ];
  return cases.map((each) => ({ ...each, base }));
}

const tagged = { ...malformed, check: "envelope-one-tag" };
const trailing = { ...malformed, check: "envelope-end" };
const signatureHead = { ...malformed, check: "signature-head" };
const head = { ...malformed, check: "envelope-head" };

/** Category A: damages to the envelope, or to the payload without a new signature. */
export function aEnvelope(genuine: Uint8Array | null): readonly Case[] {
  return [
    ...envelopeCases(DOCUMENT, "nitro-sim"),
    ...simulatedOnly(),
    ...structural(DOCUMENT),
    ...(genuine === null ? [] : envelopeCases(genuine, GENUINE_BASE)),
  ];
}

/** Values that only a document of our own can be made to have. */
function simulatedOnly(): readonly Case[] {
  const { payload, signature } = splitDocument(DOCUMENT);
  const other = forgeDocument({ fields: { nonce: encodeCbor(fromHex("00")) } });
  return [
    {
      title: "the payload of another document",
      document: joinDocument(splitDocument(other).payload, signature),
      policy: { nonce: { equals: { $hex: "00" } } },
      ...forged,
    },
    {
      title: "a definite map signed, an indefinite one sent",
      document: joinDocument(
        payload,
        splitDocument(forgeDocument({ length: "definite" })).signature,
      ),
      ...forged,
    },
    {
      title: "a bit of the nonce flipped, and a policy that wants it so",
      document: joinDocument(replaced(payload, "a nonce", Buffer.from("a mince")), signature),
      policy: { nonce: { equals: { $hex: hex(Buffer.from("a mince of this session")) } } },
      ...forged,
    },
    {
      title: "fields in another order than was signed",
      document: joinDocument(reordered(), signature),
      ...forged,
    },
  ];
}

/** What no one removal would make acceptable: kept as cases, not counted. */
function structural(document: Uint8Array): readonly Case[] {
  const { payload, signature } = splitDocument(document);
  const at = AT.payload;
  const around = (item: string): Uint8Array =>
    concat(fromHex("8444a1013822a0"), fromHex(item), fromHex("5860"), signature);
  const cases: readonly Omit<Case, "check" | "stage" | "code">[] = [
    { title: "no bytes", document: new Uint8Array(0) },
    { title: "the first byte only", document: document.slice(0, 1) },
    { title: "the last byte missing", document: document.slice(0, -1) },
    { title: "the signature missing", document: document.slice(0, -98) },
    { title: "a signature of 95 bytes", document: joinDocument(payload, signature.slice(1)) },
    {
      title: "a signature of 97 bytes",
      document: joinDocument(payload, concat(signature, fromHex("00"))),
    },
    { title: "a signature of no bytes", document: joinDocument(payload, new Uint8Array(0)) },
    { title: "an empty payload", document: around("40") },
    { title: "a null payload (detached)", document: around("f6") },
    { title: "a payload of 23 bytes", document: around(`57${"00".repeat(23)}`) },
    {
      title: "a payload with a long length",
      document: concat(
        document.subarray(0, at - 3),
        fromHex(`5a0000${hex(document.subarray(at - 2, at))}`),
        document.subarray(at),
      ),
    },
    { title: "a payload of 2^32 - 1 bytes", document: around("5affffffff") },
    { title: "a payload of 2^63 bytes", document: around("5b8000000000000000") },
    {
      title: "an empty protected header",
      document: concat(fromHex("8440a0"), document.subarray(at - 3)),
    },
    {
      title: "algorithm -7 (ES256) in the protected header",
      document: concat(fromHex("8443a10126a0"), document.subarray(at - 3)),
    },
    {
      title: "the protected header in a longer encoding",
      document: concat(
        fromHex("844aa1013b0000000000000022a0").with(1, 0x4b),
        document.subarray(at - 3),
      ),
    },
    {
      title: "the algorithm only in the unprotected header",
      document: concat(fromHex("8440a1013822"), document.subarray(at - 3)),
    },
    {
      title: "20 000 arrays within each other",
      document: joinDocument(new Uint8Array(12_000).fill(0x81), signature),
    },
    { title: "a payload that is text", document: signCose(encodeCbor("a".repeat(300)), keyAt(4)) },
    {
      title: "a payload that is an array",
      document: signCose(encodeCbor(Array.from({ length: 300 }, () => 0)), keyAt(4)),
    },
    { title: "text for the document", document: Buffer.from("attestation") },
  ];
  return cases.map((each) => ({ ...each, ...malformed, check: null }));
}

/** The map's head and end exchanged for the other form of nine entries. */
function reencoded(payload: Uint8Array): Uint8Array {
  if (payload[0] === INDEFINITE) return concat(fromHex("a9"), payload.subarray(1, -1));
  return concat(fromHex("bf"), payload.subarray(1), fromHex("ff"));
}

function reordered(): Uint8Array {
  return encodePayload({ fields: [...forgeFields()].reverse(), length: "indefinite" });
}

/** A PCR in an encoded payload: the map's values are `index 58 30 value`. */
function pcrAt(payload: Uint8Array, index: number): { at: number; value: Uint8Array } {
  const pcrs = offsetOf(payload, "pcrs") + 4;
  const at = offsetOf(payload.subarray(pcrs), Uint8Array.of(index, 0x58, 0x30)) + pcrs + 3;
  return { at, value: payload.slice(at, at + 48) };
}

/** The measurement of `payload` with the first byte of one PCR changed as {@link flip} does. */
function measurementOf(payload: Uint8Array, changed: number) {
  const pcr = (index: number): string => {
    const { value } = pcrAt(payload, index);
    return hex(index === changed ? flip(value, 0) : value);
  };
  const [pcr0, pcr1, pcr2] = [pcr(0), pcr(1), pcr(2)];
  return { pcr0, pcr1, pcr2, validFromMs: 0, validUntilMs: 8_000_000_000_000 };
}
