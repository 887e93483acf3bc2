import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import fc from "fast-check";
import { expect, test } from "vitest";

import { FRAME_BYTES_MAX, FrameReader, concat, encodeFrame, fromHex } from "#protocol";

test("a frame is its length and its payload", () => {
  expect(encodeFrame(Uint8Array.of(7, 8))).toEqual(fromHex("000000020708"));
  expect(encodeFrame(new Uint8Array(0))).toEqual(fromHex("00000000"));
});

test("frames come out whole, however the stream is cut", () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 6 });
  fc.assert(
    fc.property(payloads, fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (sent, cuts) => {
      const stream = concat(...sent.map(encodeFrame));
      const reader = new FrameReader();
      const received: Uint8Array[] = [];
      for (let at = 0; at < stream.length;) {
        const size = cuts.next().value;
        received.push(...reader.push(stream.subarray(at, at + size)));
        at += size;
      }
      expect(received).toEqual(sent);
    }),
  );
});

/** Bytes of the heap that are in use once what is not has been given back. */
function heapUsed(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

test("a frame that comes byte by byte takes little more memory than it has bytes", () => {
  const bytes = 300_000;
  const reader = new FrameReader();
  reader.push(encodeFrame(new Uint8Array(bytes)).subarray(0, 4));
  const byte = new Uint8Array(bytes);
  const before = heapUsed();
  for (let at = 0; at < bytes - 1; at += 1) reader.push(byte.subarray(at, at + 1));
  // Each piece on its own would be an object of a hundred bytes.
  expect(heapUsed() - before).toBeLessThan(bytes * 20);
  expect(reader.push(byte.subarray(0, 1))).toEqual([byte]);
});

test("a payload is a copy that later chunks do not change", () => {
  const chunk = encodeFrame(Uint8Array.of(1, 2));
  const [payload] = new FrameReader().push(chunk);
  chunk.fill(0);
  expect(payload).toEqual(Uint8Array.of(1, 2));
});

test("an announced length over the limit is refused before its bytes arrive", () => {
  const tooLarge = expect.objectContaining({ code: "SCHEMA_TOO_LARGE" });
  expect(() => new FrameReader(10).push(fromHex("0000000b"))).toThrow(tooLarge);
  expect(new FrameReader(10).push(fromHex("0000000a"))).toEqual([]);
  expect(() => new FrameReader().push(fromHex("ffffffff"))).toThrow(tooLarge);
  expect(() => encodeFrame(new Uint8Array(FRAME_BYTES_MAX + 1))).toThrow(tooLarge);
});
