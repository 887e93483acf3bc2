import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { parseNitroDocument, verifyNitroDocument } from "../../attestation/index.ts";
import { SymphonyError, concat, encodeCbor, fromHex, hex, utf8 } from "../../protocol/index.ts";
import { encodePcrs, signCose } from "../../sim/cose.ts";
import {
  ANCHOR,
  CHAIN,
  NOW,
  forgeDocument,
  forgePcrs,
  keyAt,
  type DocumentChanges,
} from "./forge.ts";

const verify = (document: Uint8Array) =>
  verifyNitroDocument(document, [ANCHOR], { mode: "live", nowMs: NOW });
const malformed = expect.objectContaining({ code: "TEE_DOCUMENT_MALFORMED" });
const null_ = fromHex("f6");

function pcrsWith(change: (pcrs: Map<number, Uint8Array>) => void): Uint8Array {
  const pcrs = forgePcrs();
  change(pcrs);
  return encodePcrs(pcrs);
}

describe("[RT-3] a simulated document is judged by the same code", () => {
  test.for<{ title: string; changes: DocumentChanges }>([
    { title: "an indefinite map", changes: {} },
    { title: "a definite map", changes: { length: "definite" } },
    { title: "an absent nonce", changes: { fields: { nonce: null } } },
    { title: "a null nonce", changes: { fields: { nonce: null_ } } },
    { title: "an empty nonce", changes: { fields: { nonce: fromHex("40") } } },
    {
      title: "fields of 1024 bytes",
      changes: { fields: { user_data: encodeCbor(new Uint8Array(1024)) } },
    },
    {
      title: "a sparse set of PCRs",
      changes: {
        fields: {
          pcrs: pcrsWith((pcrs) => {
            for (const at of [5, 6, 7, 9, 10, 11, 12, 13, 14, 15]) pcrs.delete(at);
          }),
        },
      },
    },
  ])("and accepted with $title", ({ changes }) => {
    expect(verify(forgeDocument(changes)).platform).toBe("sim");
  });

  test("and accepted with tag 18", () => {
    expect(verify(concat(Uint8Array.of(0xd2), forgeDocument())).platform).toBe("sim");
  });
});

describe("[TT-1] a document of another shape is refused", () => {
  const mandatory = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"];
  test.for(mandatory)("without %s", (field) => {
    expect(() => verify(forgeDocument({ fields: { [field]: null } }))).toThrow(malformed);
    expect(() => verify(forgeDocument({ fields: { [field]: null_ } }))).toThrow(malformed);
  });

  test.for<{ title: string; fields: Record<string, Uint8Array> }>([
    { title: "SHA256", fields: { digest: encodeCbor("SHA256") } },
    { title: "an empty module_id", fields: { module_id: encodeCbor("") } },
    { title: "a numeric module_id", fields: { module_id: encodeCbor(7) } },
    { title: "timestamp 0", fields: { timestamp: encodeCbor(0) } },
    { title: "a float timestamp", fields: { timestamp: fromHex("fb4279f6a9cb4e0000") } },
    { title: "a timestamp of 2^63", fields: { timestamp: fromHex("1b8000000000000000") } },
    { title: "a tagged timestamp", fields: { timestamp: fromHex("c11a6348d5d2") } },
    { title: "user_data of 1025 bytes", fields: { user_data: encodeCbor(new Uint8Array(1025)) } },
    { title: "a text nonce", fields: { nonce: encodeCbor("nonce") } },
    { title: "an unknown field", fields: { extra: null_ } },
    { title: "nitrotpm_pcrs", fields: { nitrotpm_pcrs: encodePcrs(forgePcrs()) } },
    { title: "no PCRs", fields: { pcrs: fromHex("a0") } },
    { title: "PCR 32", fields: { pcrs: pcrsWith((pcrs) => pcrs.set(32, new Uint8Array(48))) } },
    { title: "PCR -1", fields: { pcrs: pcrsWith((pcrs) => pcrs.set(-1, new Uint8Array(48))) } },
    { title: "PCR of 32 bytes", fields: { pcrs: pcrsWith((p) => p.set(0, new Uint8Array(32))) } },
    { title: "PCR of 47 bytes", fields: { pcrs: pcrsWith((p) => p.set(0, new Uint8Array(47))) } },
    { title: "PCR of 49 bytes", fields: { pcrs: pcrsWith((p) => p.set(9, new Uint8Array(49))) } },
    { title: "PCR of 0 bytes", fields: { pcrs: pcrsWith((p) => p.set(9, new Uint8Array(0))) } },
    { title: 'PCR "0"', fields: { pcrs: encodeCbor({ "0": new Uint8Array(48) }) } },
    {
      title: "PCR 0 twice",
      fields: { pcrs: concat(fromHex("a2"), ...[1, 2].map((n) => pcrEntry(fromHex("00"), n))) },
    },
    {
      title: "PCR 0 twice, once longer",
      fields: {
        pcrs: concat(fromHex("a2"), pcrEntry(fromHex("00"), 1), pcrEntry(fromHex("1800"), 2)),
      },
    },
    { title: "an empty cabundle", fields: { cabundle: encodeCbor([]) } },
    { title: "the root alone", fields: { cabundle: encodeCbor(CHAIN.slice(0, 1)) } },
    {
      title: "20 certificates",
      fields: { cabundle: encodeCbor(Array.from({ length: 20 }, () => CHAIN[0] ?? null)) },
    },
    { title: "a long certificate", fields: { certificate: encodeCbor(new Uint8Array(1025)) } },
    { title: "depth 20 000", fields: { nonce: new Uint8Array(6000).fill(0x81) } },
    { title: "an array of 2^32-1 items", fields: { nonce: fromHex("9affffffff") } },
    { title: "an indefinite byte string", fields: { nonce: fromHex("5f4101ff") } },
    { title: "undefined", fields: { nonce: fromHex("f7") } },
  ])("with $title", ({ fields }) => {
    expect(() => verify(forgeDocument({ fields }))).toThrow(malformed);
  });

  test("with a field twice", () => {
    const document = forgeDocument();
    const { payload } = parseNitroDocument(document);
    const nonce = concat(encodeCbor("nonce"), null_);
    const twice = concat(payload.subarray(0, -1), nonce, fromHex("ff"));
    expect(() => verify(signCose(twice, keyAt(4)))).toThrow("each map key once");
  });

  test("with text that is not UTF-8", () => {
    const fields = { module_id: fromHex("62c328") };
    expect(() => verify(forgeDocument({ fields }))).toThrow("UTF-8");
  });

  test.for<{ title: string; damage: (document: Uint8Array) => Uint8Array }>([
    { title: "no bytes", damage: () => new Uint8Array(0) },
    { title: "a byte left over", damage: (document) => concat(document, fromHex("00")) },
    { title: "two documents", damage: (document) => concat(document, document) },
    { title: "the last byte missing", damage: (document) => document.subarray(0, -1) },
    { title: "tag 18 twice", damage: (document) => concat(fromHex("d2d2"), document) },
    { title: "tag 98", damage: (document) => concat(fromHex("d862"), document) },
    { title: "an array of five", damage: (document) => document.with(0, 0x85) },
    { title: "ES256", damage: (document) => document.with(4, 0x26) },
    { title: "a null unprotected header", damage: (document) => document.with(6, 0xf6) },
    { title: "an indefinite outer array", damage: (document) => document.with(0, 0x9f) },
  ])("with $title", ({ damage }) => {
    expect(() => verify(damage(forgeDocument()))).toThrow(malformed);
  });

  test("above 12 288 bytes", () => {
    expect(() => verify(new Uint8Array(12_289))).toThrow(
      expect.objectContaining({ code: "TEE_DOCUMENT_TOO_LARGE" }),
    );
  });

  test("[TT-1] gives claims or a SymphonyError for any damage to one byte, and no other claims", () => {
    const document = forgeDocument();
    const genuine = hex(parseNitroDocument(document).payload);
    const position = fc.nat({ max: document.length - 1 });
    fc.assert(
      fc.property(position, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        try {
          const changed = document.with(at, (document[at] ?? 0) ^ flip);
          return hex(parseNitroDocument(verify(changed).document).payload) === genuine;
        } catch (error) {
          return error instanceof SymphonyError;
        }
      }),
      { numRuns: 300 },
    );
    expect(verify(document).nonce).toEqual(utf8("a nonce of this session"));
  });
});

function pcrEntry(key: Uint8Array, value: number): Uint8Array {
  return concat(key, encodeCbor(new Uint8Array(48).fill(value)));
}
