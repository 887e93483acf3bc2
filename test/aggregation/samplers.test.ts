import { describe, expect, test } from "vitest";
import { z } from "zod";

import {
  NoiseStream,
  approximate,
  gaussianNoise,
  gaussianScaleFor,
  laplaceNoise,
  laplaceScaleFor,
  noiseStream,
  rational,
  sampleDiscreteGaussian,
  sampleDiscreteLaplace,
} from "../../aggregation/index.ts";
import { gaussianSampler, sampleSmallLaplace } from "../../aggregation/fast-samplers.ts";
import { sha256, utf8 } from "../../protocol/index.ts";
import { vectorCases, vectorsPresent } from "./vectors.ts";

const katSchema = z.object({
  rows: z.array(
    z.object({
      fn: z.string(),
      param: z.string(),
      seed_ascii: z.string(),
      samples: z.array(z.int()),
      bytes_used: z.int(),
    }),
  ),
});

/** Made once with the known answers of dp.json agreeing; here so that a clone without them still compares. */
const OWN_ANSWERS = [
  { fn: "laplace", scale: rational(7n, 3n), sum: -9165, bytes: 4828 },
  { fn: "gaussian", scale: rational(81n, 4n), sum: 6513, bytes: 8506 },
] as const;

function draw(fn: string, stream: NoiseStream, scale: ReturnType<typeof rational>): number {
  const sample =
    fn.startsWith("dgauss") || fn === "gaussian" ? sampleDiscreteGaussian : sampleDiscreteLaplace;
  return Number(sample(stream, scale));
}

function moments(values: Int32Array): { mean: number; variance: number; fourth: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const at = (p: number): number =>
    values.reduce((sum, x) => sum + (x - mean) ** p, 0) / values.length;
  return { mean, variance: at(2), fourth: at(4) };
}

const KEY = sha256(utf8("a fixed key for statistics"));

describe("known answers", () => {
  const rows = vectorCases("sampler-kat", katSchema).flatMap((entry) => entry.rows);

  test.skipIf(!vectorsPresent)(
    "the reference's integers and bytes come out (needs dp.json)",
    () => {
      expect(rows.length).toBeGreaterThanOrEqual(8);
      for (const row of rows) {
        const stream = new NoiseStream(utf8(row.seed_ascii));
        const [numerator = "1", denominator = "1"] = row.param.split("/");
        const scale = rational(BigInt(numerator), BigInt(denominator));
        const drawn = row.samples.map(() => draw(row.fn, stream, scale));
        expect(drawn, row.seed_ascii).toEqual(row.samples);
        expect(stream.bytesUsed, row.seed_ascii).toBe(row.bytes_used);
      }
    },
  );

  test.for(OWN_ANSWERS)("$fn draws stay what they were", ({ fn, scale, sum, bytes }) => {
    const stream = noiseStream(KEY, `kat/${fn}`);
    const drawn = Array.from({ length: 500 }, (_, i) => (i + 1) * draw(fn, stream, scale));
    expect([drawn.reduce((a, b) => a + b, 0), stream.bytesUsed]).toEqual([sum, bytes]);
  });
});

describe("streams", () => {
  test("equal keys and labels give equal noise, another label or key gives other noise", () => {
    const scale = rational(1000n);
    const of = (key: Uint8Array, label: string): string =>
      laplaceNoise(noiseStream(key, label), scale, 16).join();
    expect(of(KEY, "a")).toBe(of(KEY, "a"));
    expect(of(KEY, "a")).not.toBe(of(KEY, "b"));
    expect(of(KEY, "a")).not.toBe(of(sha256(KEY), "a"));
  });

  test("bytes are the SHA-256 counter stream", () => {
    const seed = utf8("seed");
    const stream = new NoiseStream(seed);
    const block = (i: number): Uint8Array => sha256(seed, new Uint8Array(7), Uint8Array.of(i));
    const expected = [...block(0), ...block(1), ...block(2)];
    expect(expected.map(() => stream.nextByte())).toEqual(expected);
  });

  test.for([2, 3, 255, 256, 257, 65_537, 2 ** 31, 2 ** 31 + 1, 2 ** 32, 2 ** 32 + 1, 2 ** 48])(
    "uniform(%i) agrees with the big-integer form and stays below its bound",
    (bound) => {
      const small = noiseStream(KEY, "uniform");
      const big = noiseStream(KEY, "uniform");
      // A bound above 2^48 takes the other path; this compares the two on the same bytes.
      const bits = (BigInt(bound) - 1n).toString(2).length;
      for (let i = 0; i < 50; i += 1) {
        const value = small.uniform(bound);
        expect(value).toBeLessThan(bound);
        let expected = bound;
        while (expected >= bound) {
          let word = 0n;
          for (let b = 0; b < Math.ceil(bits / 8); b += 1)
            word = (word << 8n) | BigInt(big.nextByte());
          expected = Number(BigInt.asUintN(bits, word));
        }
        expect(value).toBe(expected);
      }
    },
  );

  test.for([
    { title: "a short key", key: new Uint8Array(31), label: "x" },
    { title: "no label", key: KEY, label: "" },
  ])("refuses $title", ({ key, label }) => {
    const attempt = (): NoiseStream => noiseStream(key, label);
    expect(attempt).toThrow(expect.objectContaining({ code: "PRIVACY_BUDGET_PARAMETER_INVALID" }));
  });
});

describe("samplers in doubles", () => {
  const variances = [
    rational(1n, 4n),
    rational(1n),
    rational(81n, 4n),
    rational(80_909_092n, 1021n),
    rational(1n << 40n),
  ];

  test.for([0, 1, 2, 3, 4])(
    "draw the same integers when everything is decided exactly (%i)",
    (i) => {
      const variance = variances[i] ?? rational(1n);
      const of = (bandOf?: (bias: number) => number): number[] => {
        const stream = noiseStream(KEY, `band/${i}`);
        const sample = gaussianSampler(variance, bandOf);
        const drawn = Array.from({ length: 600 }, () => sample(stream));
        return [...drawn, stream.bytesUsed];
      };
      const trusted = of();
      expect(of(() => Infinity)).toEqual(trusted);
      expect(of(() => 2 ** 46)).toEqual(trusted);
    },
  );

  /** Pearson's statistic of draws in [-reach, reach] against weights, tails pooled into the ends. */
  function chiSquared(
    draws: readonly number[],
    weight: (x: number) => number,
    reach: number,
  ): number {
    const held = (x: number): number => Math.min(Math.max(x, -reach), reach);
    const expected = new Map<number, number>();
    for (let x = -60 * reach; x <= 60 * reach; x += 1) {
      expected.set(held(x), (expected.get(held(x)) ?? 0) + weight(x));
    }
    const total = [...expected.values()].reduce((sum, w) => sum + w, 0);
    const observed = new Map<number, number>();
    for (const x of draws) observed.set(held(x), (observed.get(held(x)) ?? 0) + 1);
    return [...expected].reduce((sum, [x, w]) => {
      const mean = (draws.length * w) / total;
      return sum + ((observed.get(x) ?? 0) - mean) ** 2 / mean;
    }, 0);
  }

  test("follow the distributions, bin by bin", () => {
    const stream = noiseStream(KEY, "bins");
    const gaussian = gaussianSampler(rational(25n, 4n));
    const normal = Array.from({ length: 8000 }, () => gaussian(stream));
    const laplace = Array.from({ length: 8000 }, () =>
      sampleSmallLaplace(stream, rational(5n, 2n)),
    );
    // 13 and 17 bins: the statistic exceeds 40 with probability below 1e-3 for either.
    expect(chiSquared(normal, (x) => Math.exp((-x * x * 4) / 50), 6)).toBeLessThan(40);
    expect(chiSquared(laplace, (x) => Math.exp(-Math.abs(x) / 2.5), 8)).toBeLessThan(40);
    // The test itself can tell: a scale a tenth larger is refused.
    expect(chiSquared(laplace, (x) => Math.exp(-Math.abs(x) / 2.75), 8)).toBeGreaterThan(40);
  });
});

describe("the noise that is released", () => {
  const COUNT = 4000;

  test.for([
    { epsilonMicro: 1_000_000, sensitivity: 1, rounds: 1 },
    { epsilonMicro: 250_000, sensitivity: 3, rounds: 2 },
    { epsilonMicro: 3_000_000, sensitivity: 1, rounds: 1 },
  ])("[PB-6] has the Laplace variance its charge buys: %o", (charge) => {
    const scale = laplaceScaleFor(charge);
    const noise = laplaceNoise(noiseStream(KEY, JSON.stringify(charge)), scale, COUNT);
    const { mean, variance, fourth } = moments(noise);
    // Variance of the discrete Laplace: 2q / (1 - q)^2 with q = exp(-1/b).
    const q = Math.exp(-1 / approximate(scale));
    const expected = (2 * q) / (1 - q) ** 2;
    expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(expected / COUNT));
    expect(Math.abs(variance - expected)).toBeLessThan(4 * Math.sqrt(fourth / COUNT));
  });

  test.for([
    { epsilonMicro: 1_000_000, deltaPico: 1_000_000, sensitivity: 1, rounds: 1 },
    { epsilonMicro: 8_000_000, deltaPico: 1_000_000, sensitivity: 40_000, rounds: 5 },
    { epsilonMicro: 4_000_000, deltaPico: 10_000_000, sensitivity: 7, rounds: 15 },
  ])("has the Gaussian variance its charge buys: %o", (charge) => {
    const variance = gaussianScaleFor(charge);
    const noise = gaussianNoise(noiseStream(KEY, JSON.stringify(charge)), variance, COUNT);
    const measured = moments(noise);
    const expected = approximate(variance);
    expect(Math.abs(measured.mean)).toBeLessThan(4 * Math.sqrt(expected / COUNT));
    expect(Math.abs(measured.variance / expected - 1)).toBeLessThan(4 * Math.sqrt(2 / COUNT));
    expect(measured.fourth / measured.variance ** 2).toBeCloseTo(3, 0);
  });

  test("vectors refuse a scale that the ring cannot hold and a length beyond reason", () => {
    const stream = noiseStream(KEY, "limits");
    expect(() => gaussianNoise(stream, rational(1n << 60n), 1)).toThrow(/at most 67108864/);
    expect(() => laplaceNoise(stream, rational(1n << 27n), 1)).toThrow(/at most 67108864/);
    expect(() => laplaceNoise(stream, rational(1n), 2 ** 25)).toThrow(/entries/);
  });
});
