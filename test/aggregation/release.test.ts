import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";

import {
  laplaceNoise,
  laplaceScaleFor,
  noiseStream,
  padTo,
  releaseCount,
  releaseMargin,
  unpad,
} from "../../aggregation/index.ts";
import { SymphonyError, sha256, utf8 } from "../../protocol/index.ts";
import { vectorCases, vectorsPresent } from "./vectors.ts";

const PRICE = { epsilonMicro: 1_000_000, deltaPico: 1_000_000, sensitivity: 1 };
const K = 20;
const MARGIN = releaseMargin(PRICE);
const KEY = sha256(utf8("release"));

/** P[discrete Laplace noise of scale 1/epsilon >= t], by summing. */
function tail(epsilon: number, t: number): number {
  const q = Math.exp(-epsilon);
  let sum = 0;
  for (let x = t; x < t + 5000; x += 1) sum += ((1 - q) / (1 + q)) * q ** Math.abs(x);
  return sum;
}

describe("the release rule", () => {
  test.for([
    { exact: K, noisy: K + MARGIN, released: true },
    { exact: K - 1, noisy: K + MARGIN + 1000, released: false },
    { exact: K + 1000, noisy: K + MARGIN - 1, released: false },
    { exact: 0, noisy: 0, released: false },
  ])("[XP-12] exact $exact, noisy $noisy: released $released", ({ exact, noisy, released }) => {
    const outcome = releaseCount({ exact, noisy, k: K, ...PRICE });
    expect(outcome).toEqual(released ? { released, value: noisy } : { released, value: null });
  });

  test("[XP-4] what is released is the noisy value, never the exact one", () => {
    const outcome = releaseCount({ exact: 1000, noisy: 1003, k: K, ...PRICE });
    expect(outcome).toEqual({ released: true, value: 1003 });
  });

  test("[XP-4] the threshold on the aggregate holds for every k", () => {
    const counts = fc.record({
      exact: fc.integer({ min: 0, max: 100 }),
      noise: fc.integer({ min: -60, max: 60 }),
      k: fc.integer({ min: 1, max: 100 }),
    });
    const property = fc.property(counts, ({ exact, noise, k }) => {
      const { released } = releaseCount({ exact, noisy: exact + noise, k, ...PRICE });
      expect(released).toBe(exact >= k && exact + noise >= k + MARGIN);
    });
    fc.assert(property, { seed: 5 });
  });

  test("[PB-6] the decision betrays one subject with probability at most delta, and barely less", () => {
    for (const epsilonMicro of [200_000, 1_000_000, 3_000_000]) {
      for (const deltaPico of [1_000_000, 100_000_000, 10_000_000_000]) {
        const margin = releaseMargin({ epsilonMicro, deltaPico, sensitivity: 1 });
        expect(tail(epsilonMicro / 1e6, margin)).toBeLessThanOrEqual(deltaPico / 1e12);
        expect(tail(epsilonMicro / 1e6, margin - 1)).toBeGreaterThan(deltaPico / 1e12);
      }
    }
  });

  test("[PB-6] at the threshold a subject's presence is released as rarely as promised", () => {
    const deltaPico = 10_000_000_000;
    const scale = laplaceScaleFor({ epsilonMicro: 500_000, sensitivity: 1, rounds: 1 });
    const noise = laplaceNoise(noiseStream(KEY, "presence"), scale, 20_000);
    const price = { epsilonMicro: 500_000, deltaPico, sensitivity: 1 };
    const released = [...noise].filter(
      (x) => releaseCount({ exact: K, noisy: K + x, k: K, ...price }).released,
    );
    const without = [...noise].filter(
      (x) => releaseCount({ exact: K - 1, noisy: K - 1 + x, k: K, ...price }).released,
    );
    expect(without).toHaveLength(0);
    expect(released.length / noise.length).toBeLessThan(0.013);
    expect(released.length).toBeGreaterThan(0);
  });

  test("a subject who moves the count by more needs a wider margin", () => {
    expect(releaseMargin({ ...PRICE, sensitivity: 4 })).toBeGreaterThan(4 * MARGIN - 8);
    expect(() => releaseMargin({ ...PRICE, deltaPico: 0 })).toThrow(SymphonyError);
    expect(() => releaseMargin({ ...PRICE, deltaPico: 10_000_000_001 })).toThrow(SymphonyError);
  });

  test.for([
    { exact: -1, noisy: 0, k: 1 },
    { exact: 1.5, noisy: 0, k: 1 },
    { exact: 1, noisy: NaN, k: 1 },
    { exact: 1, noisy: 0, k: 0 },
  ])("refuses %o", (count) => {
    expect(() => releaseCount({ ...count, ...PRICE })).toThrow(
      expect.objectContaining({ code: "PRIVACY_BUDGET_PARAMETER_INVALID" }),
    );
  });

  const thresholdSchema = z.object({
    l0: z.number(),
    linf: z.int(),
    epsilon: z.string(),
    delta: z.number(),
    threshold: z.number(),
  });

  test.skipIf(!vectorsPresent)("lies just above the published thresholds (needs dp.json)", () => {
    const id = "laplace-partition-threshold (min-cardinality)";
    // Ours is for one count, so rows of one partition, and for deltas that a policy may name.
    const rows = vectorCases(id, thresholdSchema).filter(
      ({ l0, delta }) => l0 === 1 && delta < 0.01 && delta >= 1e-12,
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { epsilon, delta, linf, threshold } of rows) {
      const factor = Number(epsilon.replace("ln3", "") || "1");
      const price = {
        // Rounded up, so that ours may not gain from the rounding.
        epsilonMicro: Math.ceil(factor * Math.log(3) * 1e6),
        deltaPico: Math.round(delta * 1e12),
        sensitivity: linf,
      };
      // The published threshold is for a partition that one subject lifts from 0 to 1.
      expect(releaseMargin(price) + linf).toBeGreaterThanOrEqual(threshold - 0.01);
      expect(releaseMargin(price) + linf).toBeLessThan(threshold + 2);
    }
  });
});

describe("padding", () => {
  test("[XP-12] suppressed and released messages have equal size and open to what was put in", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 96 }), (content) => {
      const padded = padTo(content, 100);
      expect(padded).toHaveLength(100);
      expect(unpad(padded)).toEqual(Uint8Array.from(content));
    });
    fc.assert(property, { seed: 9 });
  });

  test("refuses content that does not fit, and padding that was not written here", () => {
    expect(() => padTo(new Uint8Array(97), 100)).toThrow(
      expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
    );
    const padded = padTo(utf8("content"), 32);
    for (const damaged of [
      padded.with(31, 1),
      padded.with(0, 1),
      padded.with(3, 40),
      padded.with(3, 3),
      padded.subarray(0, 3),
      new Uint8Array(0),
    ]) {
      expect(() => unpad(damaged)).toThrow(expect.objectContaining({ code: "SCHEMA_MALFORMED" }));
    }
  });
});
