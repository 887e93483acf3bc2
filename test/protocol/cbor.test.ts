import fc from "fast-check";
import { expect, test } from "vitest";

import {
  SymphonyError,
  decodeCbor,
  decodeCborHeader,
  encodeCbor,
  encodeCborHeader,
  fromHex,
  hex,
  type CborValue,
} from "#protocol";

const nfc = fc.string({ unit: "binary" }).map((text) => text.normalize("NFC"));
const { value: anyValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    nfc,
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(
      nfc.filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 4 },
    ),
  ),
}));

/** RFC 8949, appendix A, as far as our values go; and § 4.2.1 for the order of keys. */
test.for<{ value: CborValue; encoded: string }>([
  { value: 0, encoded: "00" },
  { value: 23, encoded: "17" },
  { value: 24, encoded: "1818" },
  { value: 1000000, encoded: "1a000f4240" },
  { value: 1000000000000, encoded: "1b000000e8d4a51000" },
  { value: 18446744073709551615n, encoded: "1bffffffffffffffff" },
  { value: -18446744073709551616n, encoded: "3bffffffffffffffff" },
  { value: -1000, encoded: "3903e7" },
  { value: null, encoded: "f6" },
  { value: true, encoded: "f5" },
  { value: Uint8Array.of(1, 2, 3, 4), encoded: "4401020304" },
  { value: "\u6c34", encoded: "63e6b0b4" },
  { value: [1, [2, 3]], encoded: "8201820203" },
  { value: { a: 1, b: [2, 3] }, encoded: "a26161016162820203" },
  { value: { bb: 1, c: 2, a: 3 }, encoded: "a361610361630262626201" },
])("[DT-1] encodes $encoded as RFC 8949 does", ({ value, encoded }) => {
  expect(hex(encodeCbor(value))).toBe(encoded);
  expect(decodeCbor(fromHex(encoded))).toEqual(value);
});

test("[DT-1] a value survives, and the order of its keys does not matter", () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const encoded = encodeCbor(value);
      expect(decodeCbor(encoded)).toEqual(value);
      expect(encodeCbor(reversed(value))).toEqual(encoded);
    }),
  );
});

function reversed(value: CborValue): CborValue {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(reversed);
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([key, item]) => [key, reversed(item)]));
}

test.for<{ title: string; value: CborValue }>([
  { title: "a float", value: 1.5 },
  { title: "a float within", value: { a: [0, 0.1] } },
  { title: "an unsafe integer", value: 2 ** 53 },
  { title: "NaN", value: Number.NaN },
  { title: "infinity", value: Number.POSITIVE_INFINITY },
  { title: "65 bits", value: 2n ** 64n },
  { title: "text that is not NFC", value: "e\u0301" },
  { title: "a key that is not NFC", value: { "e\u0301": 1 } },
  { title: "a lone surrogate", value: "\ud800" },
  { title: "too many levels", value: nested(65) },
])("[DT-1] does not encode $title", ({ value }) => {
  expect(() => encodeCbor(value)).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
});

/** What the type forbids and JavaScript does not. */
test.for<{ title: string; value: unknown }>([
  { title: "undefined", value: undefined },
  { title: "undefined within", value: { a: undefined } },
  { title: "a Map", value: new Map([["a", 1]]) },
  { title: "a Date", value: new Date(0) },
  { title: "a function", value: () => 1 },
  { title: "a hole", value: [1, , 2] }, // eslint-disable-line no-sparse-arrays
])("[DT-1] does not encode $title", ({ value }) => {
  const encodeAny: (value: never) => Uint8Array = encodeCbor;
  expect(() => Reflect.apply(encodeAny, undefined, [value])).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
});

test("says where the fault is, and not the value", () => {
  expect(() => encodeCbor({ a: [0, { b: 1.25 }] })).toThrow(
    "$.a.1.b: expected a safe integer, got another number",
  );
});

test.for([
  { title: "nothing", encoded: "" },
  { title: "a trailing byte", encoded: "0000" },
  { title: "a missing byte", encoded: "4401" },
  { title: "a longer head", encoded: "1801" },
  { title: "a longer length", encoded: "580101" },
  { title: "a float that is an integer", encoded: "f93c00" },
  { title: "a float", encoded: "f93e00" },
  { title: "undefined", encoded: "f7" },
  { title: "an indefinite array", encoded: "9f01ff" },
  { title: "indefinite bytes", encoded: "5f4101ff" },
  { title: "keys out of order", encoded: "a2616201616102" },
  { title: "a key twice", encoded: "a2616101616102" },
  { title: "an integer key", encoded: "a10102" },
  { title: "a tag", encoded: "c100" },
  { title: "a bignum", encoded: "c249010000000000000000" },
  { title: "bytes that are not UTF-8", encoded: "61ff" },
  { title: "text that is not NFC", encoded: "6365cc81" },
  { title: "a key called __proto__", encoded: "a1695f5f70726f746f5f5fa1616101" },
  { title: "a length bomb", encoded: "9bffffffffffffffff" },
  { title: "a depth bomb", encoded: "81".repeat(100_000) + "00" },
])("[DT-1] does not decode $title", ({ encoded }) => {
  expect(() => decodeCbor(fromHex(encoded))).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
});

test("judges the size first", () => {
  expect(() => decodeCbor(new Uint8Array(11), 10)).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
});

test("any bytes decode canonically or are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const decodeAny of [decodeCbor, decodeCborHeader]) {
        const refusal = refusalOf(() => decodeAny(bytes));
        expect(refusal === null || refusal instanceof SymphonyError).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

function refusalOf(run: () => unknown): unknown {
  try {
    run();
    return null;
  } catch (error) {
    return error;
  }
}

test("headers have integer labels in deterministic order", () => {
  const header = new Map<number, CborValue>([
    [4, Uint8Array.of(9)],
    [-1, "x"],
    [1, -8],
  ]);
  const encoded = encodeCborHeader(header);
  expect(hex(encoded)).toBe("a30127044109206178");
  expect(decodeCborHeader(encoded)).toEqual(header);
});

test.for([
  { title: "text labels", encoded: "a1616101" },
  { title: "labels out of order", encoded: "a204010127" },
  { title: "a label twice", encoded: "a201270127" },
  { title: "no map", encoded: "80" },
  { title: "a float", encoded: "a101f93e00" },
  { title: "a longer head", encoded: "a1180100" },
  { title: "nothing", encoded: "" },
])("does not decode a header with $title", ({ encoded }) => {
  expect(() => decodeCborHeader(fromHex(encoded))).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
});

function nested(levels: number): CborValue {
  return levels === 0 ? 0 : [nested(levels - 1)];
}
