import { describe, expect, test } from "vitest";

import { CBOR_DEPTH_MAX, CBOR_ITEMS_MAX } from "../../attestation/cbor.ts";
import { decodeHardwareCbor, type HardwareValue } from "../../attestation/index.ts";
import { concat, fromHex, utf8 } from "../../protocol/index.ts";

const BYTES_MAX = 1 << 18;
const decode = (bytes: Uint8Array | string): HardwareValue =>
  decodeHardwareCbor(typeof bytes === "string" ? fromHex(bytes) : bytes, BYTES_MAX);
const malformed = expect.objectContaining({ code: "TEE_DOCUMENT_MALFORMED" });

describe("CBOR as hardware writes it is read", () => {
  test.for<readonly [string, HardwareValue]>([
    ["00", 0],
    ["17", 23],
    ["1818", 24],
    ["18ff", 255],
    ["190100", 256],
    ["19ffff", 65_535],
    ["1a00010000", 65_536],
    ["1affffffff", 4_294_967_295],
    ["1b0000000100000000", 4_294_967_296],
    ["1b001fffffffffffff", Number.MAX_SAFE_INTEGER],
    ["1b0020000000000000", 9_007_199_254_740_992n],
    ["1b0123456789abcdef", 81_985_529_216_486_895n],
    ["1bffffffffffffffff", 18_446_744_073_709_551_615n],
    ["20", -1],
    ["37", -24],
    ["3818", -25],
    ["39ffff", -65_536],
    ["3b0020000000000000", -9_007_199_254_740_993n],
    ["3bffffffffffffffff", -18_446_744_073_709_551_616n],
    ["40", new Uint8Array(0)],
    ["43010203", Uint8Array.of(1, 2, 3)],
    ["60", ""],
    ["62c3bc", "\u00fc"],
    ["64f0908591", "\u{10151}"],
    ["80", []],
    ["83010203", [1, 2, 3]],
    ["9f01820203ff", [1, [2, 3]]],
    ["a0", new Map()],
    [
      "a20120617802",
      new Map<number | string, number>([
        [1, -1],
        ["x", 2],
      ]),
    ],
    ["bf2001ff", new Map([[-1, 1]])],
    ["f4", false],
    ["f5", true],
    ["f6", null],
  ])("%s", ([text, value]) => {
    expect(decode(text)).toEqual(value);
  });

  test("strings whose length takes one, two and three octets", () => {
    for (const [head, length] of [
      ["58ff", 255],
      ["590100", 256],
      ["59ffff", 65_535],
      ["5a00010000", 65_536],
    ] as const) {
      const bytes = new Uint8Array(length).fill(7);
      expect(decode(concat(fromHex(head), bytes))).toEqual(bytes);
    }
    expect(decode(concat(fromHex("7818"), utf8("a".repeat(24))))).toBe("a".repeat(24));
  });

  test("byte strings are copies", () => {
    const bytes = fromHex("4107");
    const value = decode(bytes);
    bytes.fill(0);
    expect(value).toEqual(Uint8Array.of(7));
  });

  test("levels and items up to their limits", () => {
    const nested = (levels: number): Uint8Array =>
      concat(new Uint8Array(levels).fill(0x81), fromHex("00"));
    expect(decode(nested(CBOR_DEPTH_MAX))).toBeInstanceOf(Array);
    expect(() => decode(nested(CBOR_DEPTH_MAX + 1))).toThrow(malformed);
    const maps = (levels: number): string => `${"a100".repeat(levels)}00`;
    expect(decode(maps(CBOR_DEPTH_MAX))).toBeInstanceOf(Map);
    expect(() => decode(maps(CBOR_DEPTH_MAX + 1))).toThrow(malformed);
    const list = (items: number): Uint8Array =>
      concat(fromHex("9f"), new Uint8Array(items - 1), fromHex("ff"));
    expect(decode(list(CBOR_ITEMS_MAX))).toHaveLength(CBOR_ITEMS_MAX - 1);
    expect(() => decode(list(CBOR_ITEMS_MAX + 1))).toThrow(malformed);
  });

  test("up to the size its caller gives", () => {
    expect(decodeHardwareCbor(fromHex("820102"), 3)).toEqual([1, 2]);
    expect(() => decodeHardwareCbor(fromHex("820102"), 2)).toThrow(
      expect.objectContaining({ code: "TEE_DOCUMENT_TOO_LARGE" }),
    );
  });
});

describe("CBOR in another form is refused", () => {
  test.for([
    "",
    "1817",
    "1900ff",
    "1a0000ffff",
    "1b00000000ffffffff",
    "3817",
    "5817",
    "780161",
    "9801",
    "b800",
    "18",
    "19ff",
    "1b00",
    "4201",
    "6261",
    "8101ff",
    "0000",
    "81",
    "9f01",
    "bf01",
    "bf0102",
    "a1",
    "a101",
    "a14000",
    "a1f600",
    "a18000",
    "a201000100",
    "a2616100616100",
    "bf01000100ff",
    "a11b002000000000000000",
    "1c",
    "1d",
    "1e",
    "1f",
    "3f",
    "5f4101ff",
    "7f6161ff",
    "c000",
    "d81800",
    "e0",
    "f3",
    "f7",
    "f814",
    "f90000",
    "fa00000000",
    "fb0000000000000000",
    "ff",
    "61ff",
    "62c328",
    "9affffffff",
    "bbffffffffffffffff",
    "5bffffffffffffffff",
    "7affffffff",
  ])("%j", (text) => {
    expect(() => decode(text)).toThrow(malformed);
  });
});
