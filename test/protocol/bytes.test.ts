import fc from "fast-check";
import { expect, test } from "vitest";

import {
  base64,
  compareBytes,
  concat,
  digestOf,
  digestOfBytes,
  encodeCbor,
  equalBytes,
  fromBase64,
  fromHex,
  hex,
  hkdf,
  hmacSha256,
  sha256,
  sha384,
  utf8,
  utf8Text,
} from "#protocol";

const anyBytes = fc.uint8Array({ maxLength: 100 });

test("hex and base64 give every byte string back, views included", () => {
  fc.assert(
    fc.property(anyBytes, fc.nat(5), (bytes, skip) => {
      const view = concat(new Uint8Array(skip), bytes).subarray(skip);
      expect(fromHex(hex(view))).toEqual(bytes);
      expect(fromBase64(base64(view))).toEqual(bytes);
    }),
  );
});

test.for(["a", "abc", "zz", "0x00", " 00"])("refuses hex %j", (text) => {
  expect(() => fromHex(text)).toThrow(expect.objectContaining({ code: "SCHEMA_MALFORMED" }));
});

test.for(["A", "AA", "AA=", "AB==", "AA==\n", "_-==", "AA==AA=="])("refuses base64 %j", (text) => {
  expect(() => fromBase64(text)).toThrow(expect.objectContaining({ code: "SCHEMA_MALFORMED" }));
});

test("text is UTF-8, and other bytes are refused", () => {
  expect(utf8("\u00e9\u{1f3bb}")).toEqual(fromHex("c3a9f09f8ebb"));
  expect(utf8Text(fromHex("c3a9"))).toBe("\u00e9");
  expect(() => utf8Text(fromHex("c3"))).toThrow(TypeError);
});

test("bytes are joined in order, compared bytewise and then by length", () => {
  expect(concat(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3))).toEqual(
    Uint8Array.of(1, 2, 3),
  );
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(1))).toBe(true);
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(2))).toBe(false);
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBe(false);
  const sorted = ["01", "0100", "02"].map(fromHex);
  expect([...sorted].reverse().sort(compareBytes)).toEqual(sorted);
});

test("hashes are those of FIPS 180-4, RFC 4231 and RFC 5869", () => {
  const abc = [utf8("a"), utf8("bc")] as const;
  expect(hex(sha256(...abc))).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  expect(hex(sha384(...abc))).toBe(
    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed" +
      "8086072ba1e7cc2358baeca134c825a7",
  );
  expect(hex(hmacSha256(utf8("Jefe"), utf8("what do ya want for nothing?")))).toBe(
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  // RFC 5869, test case 3: no salt, no info.
  const okm = hkdf(new Uint8Array(22).fill(0x0b), new Uint8Array(0), 42);
  expect(hex(okm)).toBe(
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
  );
});

test("[DT-1] digests of equal values are equal, and of other kinds or values other", () => {
  const value = { b: 1, a: [2, "x"] };
  expect(digestOf("order", value)).toEqual(digestOf("order", { a: [2, "x"], b: 1 }));
  expect(digestOf("order", value)).toEqual(digestOfBytes("order", encodeCbor(value)));
  expect(digestOf("order", value)).not.toEqual(digestOf("offer", value));
  expect(digestOf("order", value)).not.toEqual(digestOf("order", { a: [2, "y"], b: 1 }));
  const domain = utf8("symphony/order/v1\0");
  expect(digestOf("order", value)).toEqual(sha256(concat(domain, encodeCbor(value))));
});
