import { LimitError } from "#protocol";

import { gaussianSampler, isSmall, sampleSmallLaplace } from "./fast-samplers.ts";
import type { NoiseStream } from "./noise-stream.ts";
import { integerSquareRoot, rational, type Rational } from "./rational.ts";

const ONE = rational(1n);
const HALF = rational(1n, 2n);
/** The largest vector drawn in one call. */
const VECTOR_LENGTH_MAX = 1 << 24;
/**
 * The largest scale a vector of 32-bit noise is drawn at. At 2^26 a draw outside the 32-bit range lies
 * 32 scales out: below 2e-14 for Laplace, below 1e-220 for Gaussian noise.
 */
const VECTOR_SCALE_MAX = 1n << 26n;

/** 1 with probability `p`, else 0; `p` is in [0, 1] and in lowest terms. */
function bernoulli(stream: NoiseStream, p: Rational): boolean {
  return stream.uniformBig(p.denominator) < p.numerator;
}

/** True with probability exp(-x) for x in [0, 1]: von Neumann's alternating series (CKS 2020, Algorithm 1). */
function bernoulliExpUnit(stream: NoiseStream, x: Rational): boolean {
  let k = 1n;
  while (bernoulli(stream, rational(x.numerator, x.denominator * k))) k += 1n;
  return k % 2n === 1n;
}

/** True with probability exp(-x) for any x >= 0. */
function bernoulliExp(stream: NoiseStream, x: Rational): boolean {
  let { numerator } = x;
  while (numerator > x.denominator) {
    if (!bernoulliExpUnit(stream, ONE)) return false;
    numerator -= x.denominator;
  }
  return bernoulliExpUnit(stream, rational(numerator, x.denominator));
}

/** A magnitude with P[n] proportional to exp(-n / scale), n = 0, 1, 2, ... */
function geometric(stream: NoiseStream, scale: Rational): bigint {
  const steps = scale.numerator;
  let fine = stream.uniformBig(steps);
  while (!bernoulliExp(stream, rational(fine, steps))) fine = stream.uniformBig(steps);
  let coarse = 0n;
  while (bernoulliExpUnit(stream, ONE)) coarse += 1n;
  return (coarse * steps + fine) / scale.denominator;
}

/**
 * One exact draw of the discrete Laplace distribution, P[x] proportional to exp(-|x| / scale).
 *
 * No floating point is involved: what is drawn is the distribution the accounting speaks of.
 * Running time depends on the draw; a caller that answers a peer does so on a fixed tick.
 *
 * @param scale - Positive, in lowest terms; from {@link laplaceScaleFor}.
 * @see Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", Algorithm 2
 */
export function sampleDiscreteLaplace(stream: NoiseStream, scale: Rational): bigint {
  for (;;) {
    const negative = bernoulli(stream, HALF);
    const magnitude = geometric(stream, scale);
    if (negative && magnitude === 0n) continue;
    return negative ? -magnitude : magnitude;
  }
}

/**
 * One exact draw of the discrete Gaussian, P[x] proportional to exp(-x^2 / (2 sigma^2)).
 *
 * @param sigmaSquared - Positive, in lowest terms; from {@link gaussianScaleFor}.
 * @see Canonne, Kamath, Steinke 2020, Algorithm 3
 */
export function sampleDiscreteGaussian(stream: NoiseStream, sigmaSquared: Rational): bigint {
  const { numerator: p, denominator: q } = sigmaSquared;
  const t = integerSquareRoot(p / q) + 1n;
  const envelope = rational(t);
  for (;;) {
    const candidate = sampleDiscreteLaplace(stream, envelope);
    const magnitude = candidate < 0n ? -candidate : candidate;
    const distance = magnitude * q * t - p;
    if (bernoulliExp(stream, rational(distance * distance, 2n * p * q * t * t))) return candidate;
  }
}

function drawVector(length: number, scaleFloor: bigint, draw: () => number): Int32Array {
  if (!Number.isInteger(length) || length < 0 || length > VECTOR_LENGTH_MAX) {
    throw new LimitError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", lengthMax: VECTOR_LENGTH_MAX },
      `noise vector: expected 0 to ${VECTOR_LENGTH_MAX} entries, got ${length}`,
    );
  }
  if (scaleFloor > VECTOR_SCALE_MAX) {
    throw new LimitError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", scaleMax: Number(VECTOR_SCALE_MAX) },
      `noise vector: expected a scale of at most ${VECTOR_SCALE_MAX} in the 32-bit ring, got a larger one`,
    );
  }
  const vector = new Int32Array(length);
  for (let i = 0; i < length; i += 1) vector[i] = draw() | 0;
  return vector;
}

/**
 * `length` independent draws of discrete Laplace noise in the ring modulo 2^32.
 *
 * @throws {@link LimitError} PRIVACY_BUDGET_PARAMETER_INVALID above 2^24 entries or a scale of 2^26
 */
export function laplaceNoise(stream: NoiseStream, scale: Rational, length: number): Int32Array {
  const floor = scale.numerator / scale.denominator;
  const draw = isSmall(scale)
    ? (): number => sampleSmallLaplace(stream, scale)
    : (): number => Number(sampleDiscreteLaplace(stream, scale));
  return drawVector(length, floor, draw);
}

/**
 * `length` independent draws of discrete Gaussian noise in the ring modulo 2^32.
 *
 * @throws {@link LimitError} PRIVACY_BUDGET_PARAMETER_INVALID above 2^24 entries or a sigma of 2^26
 */
export function gaussianNoise(
  stream: NoiseStream,
  sigmaSquared: Rational,
  length: number,
): Int32Array {
  const floor = integerSquareRoot(sigmaSquared.numerator / sigmaSquared.denominator);
  const sample = gaussianSampler(sigmaSquared);
  return drawVector(length, floor, () => sample(stream));
}

/**
 * A magnitude that Gaussian noise of variance `sigmaSquared` stays within: 12 sigma, exceeded with probability
 * below 1e-32 per entry. For asking the ring's headroom before a sum.
 */
export function gaussianNoiseBound(sigmaSquared: Rational): number {
  return 12 * (Number(integerSquareRoot(sigmaSquared.numerator / sigmaSquared.denominator)) + 1);
}
