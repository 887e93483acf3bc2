import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  addInto,
  intersectionCount,
  requireHeadroom,
  secureSum,
  unionCount,
} from "../../aggregation/index.ts";
import { concat, sha256, utf8 } from "../../protocol/index.ts";

const token = (name: string): Uint8Array => sha256(utf8(name));
const tokens = (...names: string[]): Uint8Array => concat(...names.map(token));
const FREE = { entryBound: 1_000_000, noiseBound: 0 };

describe("[AG-1] ring sums", () => {
  const vectors = fc.integer({ min: 0, max: 9 }).chain((length) =>
    fc.array(
      fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), {
        minLength: length,
        maxLength: length,
      }),
      { minLength: 1, maxLength: 12 },
    ),
  );

  test("[AG-1] equal the plain sums, in any order of the parts", () => {
    const property = fc.property(vectors, (parts) => {
      const arrays = parts.map((part) => Int32Array.from(part));
      const expected = (parts[0] ?? []).map((_, i) =>
        parts.reduce((sum, part) => sum + (part[i] ?? 0), 0),
      );
      expect([...secureSum(arrays, FREE)]).toEqual(expected);
      expect(secureSum(arrays.toReversed(), FREE)).toEqual(secureSum(arrays, FREE));
    });
    fc.assert(property, { seed: 3 });
  });

  test("[AG-1] wrap modulo 2^32, so that masks cancel", () => {
    const masked = Int32Array.of(2 ** 31 - 1, -5, 7, 0, 9);
    const mask = Int32Array.of(123_456_789, -2_000_000_000, 2_000_000_000, -(2 ** 31), 1);
    const accumulator = Int32Array.from(masked);
    addInto(accumulator, mask);
    expect(accumulator[0]).toBe((2 ** 31 - 1 + 123_456_789) | 0);
    addInto(
      accumulator,
      mask.map((entry) => -entry | 0),
    );
    expect(accumulator).toEqual(masked);
  });

  test("[AG-1] refuse a part of another length and leave the sum as it was", () => {
    const accumulator = Int32Array.of(1, 2, 3);
    expect(() => addInto(accumulator, Int32Array.of(1))).toThrow(
      expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" }),
    );
    expect([...accumulator]).toEqual([1, 2, 3]);
  });

  test("[AG-1] enforce the cap on every entry, without saying which", () => {
    const parts = [Int32Array.of(5, 5), Int32Array.of(5, -11)];
    expect(() => secureSum(parts, { entryBound: 10, noiseBound: 0 })).toThrow(/within 10, got one/);
    expect([...secureSum(parts, { entryBound: 11, noiseBound: 0 })]).toEqual([10, -6]);
  });

  test.for([
    { title: "no parts", parts: 0, entryBound: 1, noiseBound: 0 },
    { title: "one unit too much", parts: 2, entryBound: 2 ** 30, noiseBound: 0 },
    { title: "noise that does not fit", parts: 1, entryBound: 2 ** 30, noiseBound: 2 ** 30 },
    { title: "a fraction of a part", parts: 1.5, entryBound: 1, noiseBound: 0 },
    { title: "a bound that is no number", parts: 1, entryBound: NaN, noiseBound: 0 },
    { title: "a negative bound", parts: 2, entryBound: -1, noiseBound: 0 },
    { title: "a crowd", parts: 65_537, entryBound: 1, noiseBound: 0 },
  ])("[AG-1] refuse $title before adding", ({ parts, entryBound, noiseBound }) => {
    expect(() => requireHeadroom({ parts, entryBound, noiseBound })).toThrow(
      expect.objectContaining({ code: "EXECUTION_BOUND_EXCEEDED" }),
    );
    expect(() =>
      requireHeadroom({ parts: 1, entryBound: 2 ** 31 - 1, noiseBound: 0 }),
    ).not.toThrow();
  });
});

describe("[AG-1] sets of tokens", () => {
  test("[AG-1] union and intersection count distinct tokens over Vaults", () => {
    const parts = [tokens("a", "b", "b", "c"), tokens("c", "b", "d"), tokens("b", "e", "c")];
    expect(unionCount(parts)).toBe(5);
    expect(intersectionCount(parts)).toBe(2);
    expect(unionCount(parts.toReversed())).toBe(5);
    expect(intersectionCount([...parts, new Uint8Array(0)])).toBe(0);
    expect(unionCount([])).toBe(0);
    expect(intersectionCount([])).toBe(0);
  });

  test("[AG-1] a part with half a token is refused", () => {
    const refusal = expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" });
    expect(() => unionCount([token("a").subarray(1)])).toThrow(refusal);
    expect(() => intersectionCount([tokens("a"), new Uint8Array(33)])).toThrow(refusal);
  });
});
