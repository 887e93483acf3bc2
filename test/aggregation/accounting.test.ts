import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";

import {
  RDP_ORDERS,
  approximate,
  composeRdp,
  compositionPrice,
  epsilonOfRdp,
  epsilonOfZcdp,
  gaussianEpsilonMicro,
  gaussianScaleFor,
  laplaceScaleFor,
  rdpGaussian,
  rdpLaplace,
} from "../../aggregation/index.ts";
import { SymphonyError } from "../../protocol/index.ts";
import { vectorCases, vectorsPresent } from "./vectors.ts";

const sigmaSchema = z.object({
  rows: z.array(z.object({ epsilon: z.number(), delta: z.number(), sigma_google: z.number() })),
});
const zcdpSchema = z.object({
  rows: z.array(z.object({ rho: z.number(), delta: z.number(), cdp_eps: z.number() })),
});
const gridSchema = z.object({
  rows: z.array(
    z.object({
      noise_multiplier: z.number(),
      q: z.number(),
      steps: z.int(),
      delta: z.number(),
      eps_pld: z.number(),
      eps_rdp: z.number(),
    }),
  ),
});
const gaussianRdpSchema = z.object({
  alpha: z.number(),
  sigma: z.number(),
  rdp: z.number(),
  tol: z.number(),
});
const discreteSigmaSchema = z.object({
  sensitivity: z.int(),
  epsilon: z.number(),
  delta: z.number(),
  sigma: z.number(),
});

const CHARGE = { epsilonMicro: 1_000_000, deltaPico: 10_000_000, sensitivity: 1, rounds: 1 };

/** delta(epsilon) of one-dimensional discrete Gaussian noise, by summing the two distributions. */
function discreteGaussianDelta(sigmaSquared: number, shift: number, epsilon: number): number {
  const reach = Math.ceil(40 * Math.sqrt(sigmaSquared)) + shift;
  const weight = (x: number): number => Math.exp(-(x * x) / (2 * sigmaSquared));
  let [total, excess] = [0, 0];
  for (let x = -reach; x <= reach; x += 1) {
    total += weight(x);
    excess += Math.max(0, weight(x) - Math.exp(epsilon) * weight(x - shift));
  }
  return excess / total;
}

describe("published and computed answers", () => {
  test.skipIf(!vectorsPresent)("zCDP converts as the reference does (needs dp.json)", () => {
    const rows = vectorCases("zcdp-to-adp", zcdpSchema).flatMap((entry) => entry.rows);
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      expect(epsilonOfZcdp(row.rho, row.delta) / row.cdp_eps).toBeCloseTo(1, 9);
    }
  });

  test.skipIf(!vectorsPresent)("sigma is never below the exact Gaussian's (needs dp.json)", () => {
    const rows = vectorCases("analytic-gaussian-sigma", sigmaSchema).flatMap((entry) => entry.rows);
    expect(rows.length).toBeGreaterThan(10);
    for (const { epsilon, delta, sigma_google: exact } of rows) {
      const charge = {
        epsilonMicro: Math.round(epsilon * 1e6),
        deltaPico: Math.round(delta * 1e12),
        sensitivity: 1,
        rounds: 1,
      };
      const ratio = Math.sqrt(approximate(gaussianScaleFor(charge))) / exact;
      expect(ratio).toBeGreaterThan(1);
      expect(ratio).toBeLessThan(1.12);
    }
  });

  test.skipIf(!vectorsPresent)("sigma is never below the discrete one's (needs dp.json)", () => {
    const rows = vectorCases("discrete-gaussian-sigma", discreteSigmaSchema);
    expect(rows.length).toBe(3);
    for (const { sensitivity, epsilon, delta, sigma } of rows.filter((row) => row.delta < 0.01)) {
      const charge = {
        epsilonMicro: epsilon * 1e6,
        deltaPico: delta * 1e12,
        sensitivity,
        rounds: 1,
      };
      expect(Math.sqrt(approximate(gaussianScaleFor(charge)))).toBeGreaterThan(sigma);
    }
  });

  test.skipIf(!vectorsPresent)(
    "RDP of composed Gaussians is the reference's (needs dp.json)",
    () => {
      for (const { alpha, sigma, rdp, tol } of vectorCases("rdp-gaussian", gaussianRdpSchema)) {
        expect(Math.abs(rdpGaussian(alpha, 1 / sigma) - rdp)).toBeLessThan(tol);
      }
      const rows = vectorCases("dpsgd-grid", gridSchema).flatMap((entry) => entry.rows);
      const full = rows.filter(({ q }) => q === 1);
      expect(full.length).toBe(4);
      for (const row of full) {
        const one = RDP_ORDERS.map((order) => rdpGaussian(order, 1 / row.noise_multiplier));
        const epsilon = epsilonOfRdp(
          composeRdp(Array.from({ length: row.steps }, () => one)),
          row.delta,
        );
        expect(epsilon / row.eps_rdp).toBeCloseTo(1, 6);
        expect(epsilon).toBeGreaterThan(row.eps_pld);
      }
    },
  );
});

describe("an amount of noise for a charge", () => {
  test("the discrete Gaussian it names keeps delta, computed from the distribution itself", () => {
    for (const epsilon of [0.2, 0.5, 1, 2, 4, 8]) {
      for (const sensitivity of [1, 2, 5]) {
        const charge = { ...CHARGE, epsilonMicro: epsilon * 1e6, sensitivity };
        const variance = approximate(gaussianScaleFor(charge));
        expect(discreteGaussianDelta(variance, sensitivity, epsilon)).toBeLessThan(1e-5);
      }
    }
  });

  test("it is the inverse of what the noise costs, never on the cheap side", () => {
    const parameters = fc.record({
      epsilonMicro: fc.integer({ min: 1000, max: 50_000_000 }),
      deltaPico: fc.integer({ min: 1, max: 10_000_000_000 }),
      sensitivity: fc.integer({ min: 1, max: 2 ** 30 }),
      rounds: fc.integer({ min: 1, max: 1000 }),
    });
    const property = fc.property(parameters, (charge) => {
      const spent = gaussianEpsilonMicro(gaussianScaleFor(charge), charge);
      expect(spent).toBeLessThanOrEqual(charge.epsilonMicro);
      expect(spent).toBeGreaterThan(charge.epsilonMicro * 0.99 - 2);
    });
    fc.assert(property, { numRuns: 60, seed: 7 });
  });

  test("more rounds, more sensitivity, less epsilon or less delta give more noise", () => {
    const base = approximate(gaussianScaleFor(CHARGE));
    const dearer = [
      { rounds: 2 },
      { sensitivity: 2 },
      { epsilonMicro: 999_000 },
      { deltaPico: 9_000_000 },
    ];
    for (const change of dearer) {
      expect(approximate(gaussianScaleFor({ ...CHARGE, ...change }))).toBeGreaterThan(base);
    }
    const laplace = laplaceScaleFor({ epsilonMicro: 300_000, sensitivity: 2, rounds: 5 });
    expect(laplace).toEqual({ numerator: 100n, denominator: 3n });
  });

  test.for([0, -1, 1.5, NaN, Infinity, 2 ** 53])("refuses %d for every parameter", (bad) => {
    const refusal = expect.objectContaining({ code: "PRIVACY_BUDGET_PARAMETER_INVALID" });
    for (const name of ["epsilonMicro", "deltaPico", "sensitivity", "rounds"]) {
      expect(() => gaussianScaleFor({ ...CHARGE, [name]: bad })).toThrow(refusal);
    }
    for (const name of ["epsilonMicro", "sensitivity", "rounds"]) {
      expect(() => laplaceScaleFor({ ...CHARGE, [name]: bad })).toThrow(refusal);
    }
  });
});

describe("RDP of discrete Laplace noise", () => {
  test("is what summing the distribution gives", () => {
    for (const [scale, shift] of [
      [0.7, 1],
      [1, 1],
      [3, 4],
      [10, 3],
    ] as const) {
      const q = Math.exp(-1 / scale);
      const log = (x: number): number => Math.log((1 - q) / (1 + q)) - Math.abs(x) / scale;
      for (const order of [1.1, 2, 7.5, 32]) {
        let sum = 0;
        for (let x = -400; x <= 400; x += 1) {
          sum += Math.exp(order * log(x) + (1 - order) * log(x - shift));
        }
        expect(rdpLaplace(order, scale, shift)).toBeCloseTo(Math.log(sum) / (order - 1), 8);
      }
    }
  });

  test("composes below the plain sum of epsilons for many small releases", () => {
    const one = RDP_ORDERS.map((order) => rdpLaplace(order, 100, 1));
    const epsilon = epsilonOfRdp(composeRdp(Array.from({ length: 1000 }, () => one)), 1e-6);
    expect(epsilon).toBeLessThan(1.6);
    expect(epsilon).toBeGreaterThan(1.3);
  });
});

describe("[AC-4] the price of a composition", () => {
  const price = (operator: "AND" | "OR" | "NOT" | "FILTER" | "JOIN", operands: number[]): number =>
    compositionPrice({ operator, operandEpsilonsMicro: operands });

  test("[AC-4] is at least the most expensive operand and charged once, not per operand", () => {
    const operands = fc.array(fc.integer({ min: 1, max: 100_000 }), {
      minLength: 1,
      maxLength: 64,
    });
    const operator = fc.constantFrom("AND", "OR", "FILTER", "JOIN");
    const property = fc.property(operator, operands, (kind, epsilons) => {
      expect(price(kind, epsilons)).toBeGreaterThanOrEqual(Math.max(...epsilons));
      expect(price(kind, epsilons)).toBe(price(kind, epsilons.toReversed()));
    });
    fc.assert(property, { seed: 11 });
    expect(price("AND", [100_000, 100_000, 100_000])).toBe(120_000);
    expect(price("AND", [100_000])).toBe(100_000);
  });

  test("[AC-4] depends on the operator and on the number of operands", () => {
    expect(price("AND", [300_000, 100_000])).toBe(330_000);
    expect(price("AND", [300_000, 100_000, 1])).toBe(360_000);
    expect(price("OR", [300_000, 100_000])).toBe(315_000);
    expect(price("JOIN", [300_000, 100_000])).toBe(450_000);
    expect(price("NOT", [300_000])).toBe(330_000);
    expect(price("FILTER", [7, 3])).toBe(8);
  });

  test.for([
    { title: "no operand", operands: [] },
    { title: "65 operands", operands: Array.from({ length: 65 }, () => 1) },
    { title: "an operand of zero", operands: [1, 0] },
    { title: "a negative operand", operands: [-1] },
    { title: "a fraction", operands: [1.5] },
    { title: "a price beyond epsilon 50", operands: [49_000_000, 1, 1, 1] },
  ])("[AC-4] refuses $title", ({ operands }) => {
    expect(() => price("AND", operands)).toThrow(SymphonyError);
  });
});
