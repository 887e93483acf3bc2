import fc from "fast-check";
import { expect, test } from "vitest";

import {
  ATTRIBUTE_TEXT_MAX,
  commitRecord,
  decodeCbor,
  fromHex,
  hex,
  parseRecord,
  serializeRecord,
  sha256,
  type CanonicalRecord,
} from "#protocol";

const record: CanonicalRecord = {
  schema: "census",
  subject_id: new Uint8Array(32).fill(7),
  attributes: { age: 39, name: "Zo\u00eb", photo: Uint8Array.of(1, 2), income: null },
  salt: new Uint8Array(16).fill(9),
};

/** Written by hand from RFC 8949: keys by length of their encoding, then bytewise. */
const SERIALIZED =
  "a4" +
  `6473616c74${"50"}${"09".repeat(16)}` +
  "66736368656d61" +
  "6663656e737573" +
  "6a61747472696275746573" +
  "a4" +
  "63616765" +
  "1827" +
  "646e616d65" +
  "645a6fc3ab" +
  "6570686f746f" +
  "420102" +
  "66696e636f6d65" +
  "f6" +
  "6a7375626a6563745f6964" +
  `5820${"07".repeat(32)}`;

test("[DT-1] Serialize(CR) is one byte string, whatever the order of the fields", () => {
  expect(hex(serializeRecord(record))).toBe(SERIALIZED);
  const { attributes, ...rest } = record;
  const reordered = Object.fromEntries(Object.entries(attributes).reverse());
  expect(hex(serializeRecord({ ...rest, attributes: reordered }))).toBe(SERIALIZED);
  expect(parseRecord(decodeCbor(fromHex(SERIALIZED)))).toEqual(record);
});

test("[DS-1] Commitment = SHA256(Serialize(CR))", () => {
  expect(commitRecord(record)).toEqual(sha256(fromHex(SERIALIZED)));
});

test("[DS-1] each field, the salt too, changes the commitment", () => {
  const others: CanonicalRecord[] = [
    { ...record, schema: "other" },
    { ...record, subject_id: new Uint8Array(32) },
    { ...record, salt: record.salt.with(0, 1) },
    { ...record, attributes: { ...record.attributes, age: 40 } },
    { ...record, attributes: { ...record.attributes, income: 0 } },
    { ...record, attributes: { age: 39 } },
  ];
  const commitments = [record, ...others].map((each) => hex(commitRecord(each)));
  expect(new Set(commitments).size).toBe(commitments.length);
});

test.for<{ title: string; wrong: { readonly [field: string]: unknown } }>([
  { title: "another field", wrong: { owner: "x" } },
  { title: "a schema with a space", wrong: { schema: "a b" } },
  { title: "no schema", wrong: { schema: undefined } },
  { title: "a short subject id", wrong: { subject_id: new Uint8Array(31) } },
  { title: "a subject id in text", wrong: { subject_id: "7" } },
  { title: "a short salt", wrong: { salt: new Uint8Array(15) } },
  { title: "no salt", wrong: { salt: new Uint8Array(0) } },
  { title: "a float", wrong: { attributes: { age: 39.5 } } },
  { title: "a nested value", wrong: { attributes: { age: [39] } } },
  { title: "true", wrong: { attributes: { member: true } } },
  { title: "a name with a space", wrong: { attributes: { "my age": 1 } } },
  { title: "long text", wrong: { attributes: { a: "x".repeat(ATTRIBUTE_TEXT_MAX + 1) } } },
  {
    title: "257 attributes",
    wrong: {
      attributes: Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`a${at}`, 1])),
    },
  },
])("parses no record with $title", ({ wrong }) => {
  expect(() => parseRecord({ ...record, ...wrong })).toThrow(
    expect.objectContaining({ class: "malformed", code: "SCHEMA_MALFORMED" }),
  );
});

test("[AP-7] a refusal never repeats a value", () => {
  const planted = fc.string({ minLength: 8, maxLength: 20 });
  fc.assert(
    fc.property(planted, fc.constantFrom("salt", "subject_id", "schema"), (canary, field) => {
      const values = [
        { ...record, [field]: `#${canary}` },
        { ...record, attributes: { a: [canary] } },
      ];
      for (const value of values) {
        let shown = "";
        try {
          parseRecord(value);
        } catch (error) {
          shown = `${String(error)} ${JSON.stringify(error)}`;
        }
        expect(shown).toContain("SCHEMA_MALFORMED");
        expect(shown).not.toContain(canary);
      }
    }),
  );
});

test("text that is not NFC has no serialization", () => {
  const decomposed = { ...record, attributes: { name: "Zoe\u0308" } };
  expect(() => serializeRecord(decomposed)).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
});
