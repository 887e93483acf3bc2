import fc from "fast-check";
import { expect, test } from "vitest";

import { modelChangeMicro } from "../../../enclave/workloads/train/index.ts";

const weights = (length: number) =>
  fc.int32Array({ minLength: length, maxLength: length, min: -(2 ** 30), max: 2 ** 30 });

test.for([
  { title: "none", before: [5, -7], after: [5, -7], fractionBits: 16, micro: 0 },
  { title: "3 and 4", before: [256, 0], after: [1024, -1024], fractionBits: 8, micro: 5_000_000 },
  { title: "one unit of 8 bits", before: [0], after: [1], fractionBits: 8, micro: 3_907 },
  { title: "one unit of 24 bits", before: [0], after: [-1], fractionBits: 24, micro: 1 },
])("[TC-5] a change of $title", ({ before, after, fractionBits, micro }) => {
  const change = { before: Int32Array.from(before), after: Int32Array.from(after), fractionBits };
  expect(modelChangeMicro(change)).toBe(micro);
});

test("[TC-5] the greatest change of the most weights is an exact integer still", () => {
  const before = new Int32Array(257).fill(-(2 ** 30));
  const after = new Int32Array(257).fill(2 ** 30);
  const change = modelChangeMicro({ before, after, fractionBits: 8 });
  expect(Number.isSafeInteger(change)).toBe(true);
  expect(change / 1e6).toBeCloseTo(2 ** 23 * Math.sqrt(257), 5);
});

test("[TC-5] is the least integer not below the norm, whatever the weights and their order", () => {
  const cases = fc.integer({ min: 1, max: 12 }).chain((length) =>
    fc.record({
      before: weights(length),
      after: weights(length),
      fractionBits: fc.integer({ min: 8, max: 24 }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ before, after, fractionBits }) => {
      const change = BigInt(modelChangeMicro({ before, after, fractionBits }));
      const turned = { before: before.toReversed(), after: after.toReversed(), fractionBits };
      expect(BigInt(modelChangeMicro(turned))).toBe(change);
      let wanted = 0n;
      before.forEach((weight, i) => (wanted += BigInt((after[i] ?? 0) - weight) ** 2n));
      wanted *= 10n ** 12n;
      const squared = (norm: bigint): bigint => norm ** 2n * 4n ** BigInt(fractionBits);
      expect(squared(change) >= wanted).toBe(true);
      expect(change === 0n || squared(change - 1n) < wanted).toBe(true);
    }),
    { seed: 34, numRuns: 200 },
  );
});
