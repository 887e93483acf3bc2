import { MalformedError } from "#protocol";

import { approximate, rational, type Rational } from "./rational.ts";

/** The largest epsilon one release may be charged: 50. Beyond it the word privacy means nothing. */
export const EPSILON_MICRO_MAX = 50_000_000;
/** Delta is an integer number of 1e-12; at most 0.01. */
export const DELTA_PICO_MAX = 10_000_000_000;
/** The largest sensitivity, in units of the released integer. */
export const SENSITIVITY_MAX = 2 ** 40;
/** The most rounds one charge may be spread over. */
export const ROUNDS_MAX = 10_000;

/** The Renyi orders a ledger vector is kept at. Any subset gives a valid, perhaps looser, epsilon. */
export const RDP_ORDERS: readonly number[] = [
  ...Array.from({ length: 99 }, (_, i) => 1 + (i + 1) / 10),
  ...Array.from({ length: 53 }, (_, i) => 11 + i),
  80,
  96,
  128,
  192,
  256,
  384,
  512,
  1024,
];

/** What is charged and how far one subject moves the released integers. */
export interface GaussianCharge {
  /** Total over all rounds, micro-epsilon; [1, 50 000 000]. */
  readonly epsilonMicro: number;
  /** Total over all rounds, units of 1e-12; [1, 10 000 000 000]. */
  readonly deltaPico: number;
  /** L2 sensitivity of one round's release, rounded up to an integer; [1, 2^40]. */
  readonly sensitivity: number;
  /** How many releases share the charge; [1, 10 000]. */
  readonly rounds: number;
}

/** As {@link GaussianCharge} for pure epsilon; `sensitivity` is L1. */
export type LaplaceCharge = Omit<GaussianCharge, "deltaPico">;

function requireParameter(name: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > max) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", parameter: name, max },
      `${name}: expected an integer in [1, ${max}], got ${value}`,
    );
  }
}

function requireCharge(charge: LaplaceCharge): void {
  requireParameter("epsilon_micro", charge.epsilonMicro, EPSILON_MICRO_MAX);
  requireParameter("sensitivity", charge.sensitivity, SENSITIVITY_MAX);
  requireParameter("rounds", charge.rounds, ROUNDS_MAX);
}

/** RDP at `order` of Gaussian noise, discrete or not, with `ratio` = sensitivity / sigma (CKS 2020, Proposition 5). */
export function rdpGaussian(order: number, ratio: number): number {
  return (order * ratio * ratio) / 2;
}

/**
 * RDP at `order` > 1 of discrete Laplace noise of scale `scale` on integers that one subject moves by `sensitivity`.
 *
 * Exact: the three geometric sums left of, between and right of the two centres.
 */
export function rdpLaplace(order: number, scale: number, sensitivity: number): number {
  const a = 1 / scale;
  const shift = sensitivity * a;
  const q = Math.exp(-a);
  const centre = -Math.expm1(-a) / (1 + q);
  const tail = 1 / (1 + q);
  // Everything is divided by exp((order - 1) * shift), so that large orders do not overflow.
  const left = tail;
  const right = tail * Math.exp(-shift - 2 * (order - 1) * shift);
  const step = a * (2 * order - 1);
  const terms = sensitivity - 1;
  const between =
    terms < 1 ? 0 : (centre * Math.exp(-step) * Math.expm1(-step * terms)) / Math.expm1(-step);
  return shift + Math.log(left + between + right) / (order - 1);
}

/** The sum of RDP vectors over {@link RDP_ORDERS}: composition over releases, adaptive or not. */
export function composeRdp(vectors: readonly (readonly number[])[]): readonly number[] {
  return RDP_ORDERS.map((_, i) =>
    vectors.reduce((sum, vector) => sum + (vector[i] ?? Infinity), 0),
  );
}

/** Epsilon at `delta` that RDP `value` at `order` implies. @see Canonne, Kamath, Steinke 2020, Proposition 12 */
function epsilonAt(order: number, value: number, delta: number): number {
  return value + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1);
}

/**
 * The epsilon at `delta` of an RDP vector over {@link RDP_ORDERS}; never below 0.
 *
 * @param delta - In (0, 1).
 */
export function epsilonOfRdp(vector: readonly number[], delta: number): number {
  const candidates = RDP_ORDERS.map((order, i) => epsilonAt(order, vector[i] ?? Infinity, delta));
  return Math.max(0, Math.min(...candidates));
}

/**
 * The epsilon at `delta` of zero-concentrated privacy `rho`, minimised over real orders.
 *
 * Every order is a valid bound, so a search that stops early errs to the safe side.
 *
 * @see Canonne, Kamath, Steinke 2020, Corollary 13
 */
export function epsilonOfZcdp(rho: number, delta: number): number {
  // The bound is convex in log(order - 1) around its only minimum; golden sections close in on it.
  let [low, high] = [-14, 14 + Math.max(0, -Math.log(rho))];
  const at = (x: number): number => {
    const order = 1 + Math.exp(x);
    return epsilonAt(order, order * rho, delta);
  };
  for (let i = 0; i < 120; i += 1) {
    const left = low + (high - low) * 0.382;
    const right = low + (high - low) * 0.618;
    if (at(left) < at(right)) high = right;
    else low = left;
  }
  return Math.max(0, at((low + high) / 2));
}

const SCALE_DENOMINATOR = 2 ** 20;
/** Float error of the search is far below this; it goes to the side of more noise. */
const SAFETY = 1 + 1e-9;

/**
 * The variance sigma^2 of the discrete Gaussian noise that a charge buys, for each of `rounds` releases.
 *
 * With it, the composition of all rounds costs one subject at most (epsilon, delta). Rounded up, to a
 * multiple of rounds * sensitivity^2 / 2^20. This and {@link laplaceScaleFor} are the only places where a
 * privacy charge becomes an amount of noise.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID for any parameter out of its range
 * @see Canonne, Kamath, Steinke 2020, Proposition 5 and Corollary 13
 */
export function gaussianScaleFor(charge: GaussianCharge): Rational {
  requireCharge(charge);
  requireParameter("delta_pico", charge.deltaPico, DELTA_PICO_MAX);
  const epsilon = charge.epsilonMicro / 1e6;
  const delta = charge.deltaPico / 1e12;
  // rho is found by bisection on a log scale; `low` always satisfies the bound.
  let [low, high] = [Math.log(1e-20), Math.log(100)];
  for (let i = 0; i < 100; i += 1) {
    const middle = (low + high) / 2;
    if (epsilonOfZcdp(Math.exp(middle), delta) <= epsilon / SAFETY) low = middle;
    else high = middle;
  }
  const varianceUnit = (SAFETY * SCALE_DENOMINATOR) / (2 * Math.exp(low));
  const sensitivity = BigInt(charge.sensitivity);
  return rational(
    BigInt(Math.ceil(varianceUnit)) * BigInt(charge.rounds) * sensitivity * sensitivity,
    BigInt(SCALE_DENOMINATOR),
  );
}

/**
 * The scale of the discrete Laplace noise that a pure-epsilon charge buys, for each of `rounds` releases:
 * exactly sensitivity * rounds / epsilon.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID for any parameter out of its range
 */
export function laplaceScaleFor(charge: LaplaceCharge): Rational {
  requireCharge(charge);
  return rational(
    BigInt(charge.sensitivity) * BigInt(charge.rounds) * 1_000_000n,
    BigInt(charge.epsilonMicro),
  );
}

/**
 * What `rounds` releases with discrete Gaussian noise of variance `sigmaSquared` cost, in micro-epsilon,
 * rounded up: the inverse of {@link gaussianScaleFor}, for reporting actual consumption.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID for any parameter out of its range
 */
export function gaussianEpsilonMicro(
  sigmaSquared: Rational,
  charge: Omit<GaussianCharge, "epsilonMicro">,
): number {
  requireCharge({ ...charge, epsilonMicro: 1 });
  requireParameter("delta_pico", charge.deltaPico, DELTA_PICO_MAX);
  const variance = approximate(sigmaSquared);
  const rho = (charge.rounds * charge.sensitivity ** 2) / (2 * variance);
  return Math.ceil(epsilonOfZcdp(rho, charge.deltaPico / 1e12) * 1e6);
}
