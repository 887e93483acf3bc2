import fc from "fast-check";
import { expect, test } from "vitest";

import { BER_DEPTH_MAX, parseBer } from "../../../enclave/adapters/ber.ts";
import { SymphonyError, concat, fromHex, hex } from "../../../protocol/index.ts";
import { der } from "../../../host/sovereignty/custody/cms.ts";

const MALFORMED = expect.objectContaining({ code: "TEE_KMS_MALFORMED" });
const END = fromHex("0000");

function nested(levels: number, end: Uint8Array): Uint8Array {
  const head = end.length > 0 ? fromHex("3080") : null;
  let inner = fromHex("0500");
  for (let level = 0; level < levels; level++) {
    inner = head === null ? der(0x30, inner) : concat(head, inner, end);
  }
  return inner;
}

test("reads primitive and constructed elements, definite and indefinite alike", () => {
  const leaf = fromHex("0402cafe");
  for (const bytes of [der(0x30, leaf, leaf), concat(fromHex("3080"), leaf, leaf, END)]) {
    const { tag, content, parts } = parseBer(bytes);
    expect([tag, content.length, parts.length]).toEqual([0x30, 0, 2]);
    expect(parts.map((part) => [part.tag, hex(part.content), part.parts.length])).toEqual([
      [0x04, "cafe", 0],
      [0x04, "cafe", 0],
    ]);
  }
  expect(parseBer(fromHex("3000")).parts).toEqual([]);
  expect(parseBer(fromHex("30800000")).parts).toEqual([]);
});

test("reads every length in its shortest form, and in no other", () => {
  for (const length of [0, 1, 126, 127, 128, 129, 254, 255, 256, 257, 0xfffe, 0xffff]) {
    const bytes = der(0x04, new Uint8Array(length));
    expect(parseBer(bytes).content).toHaveLength(length);
    const octets = length < 0x100 ? [0x82, 0, length] : [0x83, 0, length >> 8, length & 0xff];
    const long = concat(Uint8Array.of(0x04, ...octets), new Uint8Array(length));
    expect(() => parseBer(long)).toThrow("cms: expected the shortest length");
  }
  for (const length of [0x10000, 0x10001, 0xffffff, 0x1000000]) {
    const octets = length.toString(16).padStart(length < 0x1000000 ? 6 : 8, "0");
    const head = fromHex(`04${(0x80 + octets.length / 2).toString(16)}${octets}`);
    expect(parseBer(concat(head, new Uint8Array(length))).content).toHaveLength(length);
  }
  for (const length of [0, 1, 126, 127]) {
    const long = concat(Uint8Array.of(0x04, 0x81, length), new Uint8Array(length));
    expect(() => parseBer(long)).toThrow("cms: expected the shortest length");
  }
});

test.for([
  { title: "no bytes", bytes: "" },
  { title: "an identifier alone", bytes: "04" },
  { title: "half a length", bytes: "0482ff" },
  { title: "content cut short", bytes: "0403cafe" },
  { title: "a byte more", bytes: "0402cafe00" },
  { title: "a part that ends after its whole", bytes: "30030402cafe" },
  { title: "a part whose length is outside its whole", bytes: "30010400" },
  { title: "a primitive element of indefinite length", bytes: "0480cafe0000" },
  { title: "an indefinite length without its end", bytes: "30800402cafe" },
  { title: "half an end", bytes: "30800402cafe00" },
  { title: "an end with a length", bytes: "30800402cafe0001" },
  { title: "an end outside the whole that holds it", bytes: "300430800500" + "0000" },
  { title: "half an end within its whole, half outside", bytes: "30053080050000" + "00" },
  { title: "a length of 2^64", bytes: `0488${"ff".repeat(8)}00` },
  { title: "a length of 127 octets", bytes: `04ff${"01".repeat(127)}00` },
])("refuses $title", ({ bytes }) => {
  expect(() => parseBer(fromHex(bytes))).toThrow(MALFORMED);
});

test("goes no deeper than it says, however the levels are written", () => {
  for (const end of [END, new Uint8Array(0)]) {
    expect(parseBer(nested(BER_DEPTH_MAX, end)).parts).toHaveLength(1);
    expect(() => parseBer(nested(BER_DEPTH_MAX + 1, end))).toThrow("at most 16 levels");
  }
  expect(() => parseBer(nested(8000, END))).toThrow("at most 16 levels");
});

test("gives elements or TEE_KMS_MALFORMED for any bytes, and content that is in them", () => {
  const octets = fc.array(
    fc.oneof(fc.constantFrom(0x30, 0x31, 0x80, 0x00, 0xa0, 0x04, 0x02, 0x81), fc.nat({ max: 255 })),
    { maxLength: 60 },
  );
  const isBounded = (given: readonly number[]): boolean => {
    const bytes = Uint8Array.from(given);
    try {
      return sizeOf(parseBer(bytes)) <= bytes.length;
    } catch (error) {
      return error instanceof SymphonyError && error.code === "TEE_KMS_MALFORMED";
    }
  };
  const run = fc.check(fc.property(octets, isBounded), { numRuns: 2000 });
  expect(run).toMatchObject({ failed: false });
});

function sizeOf({ content, parts }: ReturnType<typeof parseBer>): number {
  return 2 + content.length + parts.reduce((sum, part) => sum + sizeOf(part), 0);
}
