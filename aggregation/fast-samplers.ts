import type { NoiseStream } from "./noise-stream.ts";
import { approximate, integerSquareRoot, rational, type Rational } from "./rational.ts";

const WORD_BITS = 48;
const WORD = 2 ** WORD_BITS;
/** Integers below this, times a series index below 2^8, stay exact in doubles and below 2^48. */
const SMALL_MAX = 2n ** 40n;
/** Above this distance from the centre, in squared sigmas over two, everything is decided exactly. */
const BIAS_MAX = 1024;

/**
 * Half-width of the band around a threshold, in units of 2^-48, inside which doubles are not trusted.
 *
 * A bias takes under 16 rounded operations, so it is off by less than 2^-49 of itself, and the subtraction
 * from the centre adds less than 2^-50 of its square root: this is over ten times both.
 */
const trustedBand = (bias: number): number => (bias > BIAS_MAX ? Infinity : 8 + 4 * bias);

/** True with probability `numerator / denominator`, both integers, the latter at most 2^48. */
function bernoulli(stream: NoiseStream, numerator: number, denominator: number): boolean {
  return stream.uniform(denominator) < numerator;
}

/** True with probability exp(-numerator / denominator) for a ratio in [0, 1]; denominator at most 2^40. */
function bernoulliExp(stream: NoiseStream, numerator: number, denominator: number): boolean {
  let k = 1;
  // Reaching k = 200 has probability 1 / 200!, so the bound of 2^8 on k is never in question.
  while (bernoulli(stream, numerator, denominator * k)) k += 1;
  return k % 2 === 1;
}

/**
 * One exact draw of the discrete Laplace distribution for a scale whose numerator is at most 2^40.
 *
 * The same distribution as sampleDiscreteLaplace from other bytes of the stream: every comparison is
 * between integers below 2^53, so doubles hold them exactly.
 */
export function sampleSmallLaplace(stream: NoiseStream, scale: Rational): number {
  const steps = Number(scale.numerator);
  const divisor = Number(scale.denominator);
  for (;;) {
    const negative = stream.nextByte() >= 128;
    let fine = stream.uniform(steps);
    while (!bernoulliExp(stream, fine, steps)) fine = stream.uniform(steps);
    let coarse = 0;
    while (bernoulliExp(stream, 1, 1)) coarse += 1;
    const magnitude = Math.floor((coarse * steps + fine) / divisor);
    if (negative && magnitude === 0) continue;
    return negative ? -magnitude : magnitude;
  }
}

/** Whether {@link sampleSmallLaplace} takes this scale. */
export function isSmall(scale: Rational): boolean {
  return scale.numerator <= SMALL_MAX;
}

/**
 * True with probability `threshold`, known as a double and, when asked, exactly.
 *
 * A uniform real in [0, 1) is compared with the threshold: its first 48 bits decide, unless they lie within
 * `band` of it; then the exact value decides, with further bits while both agree on all bits so far.
 */
function lazyBernoulli(
  stream: NoiseStream,
  { threshold, exact, band }: { threshold: number; exact: () => Rational; band: number },
): boolean {
  const word = stream.uniform(WORD);
  const scaled = threshold * WORD;
  if (word < scaled - band) return true;
  if (word > scaled + band) return false;
  const { numerator, denominator } = exact();
  let rest = numerator << BigInt(WORD_BITS);
  let bits = BigInt(word);
  for (;;) {
    const digits = rest / denominator;
    if (bits !== digits) return bits < digits;
    rest = (rest % denominator) << BigInt(WORD_BITS);
    if (rest === 0n) return false;
    bits = BigInt(stream.uniform(WORD));
  }
}

/** The exponent of a Gaussian candidate's acceptance, exactly. */
interface Bias {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** True with probability exp(-bias), where `bias` is a double and `exact` says what it rounds. */
function acceptsBias(
  stream: NoiseStream,
  { bias, exact, band }: { bias: number; exact: () => Bias; band: number },
): boolean {
  // The whole part must be certain: a bias that lies next to an integer is divided exactly.
  const certain = Number.isFinite(band) && Math.abs(bias - Math.round(bias)) > 1e-9;
  const units = certain ? Math.floor(bias) : wholePart(exact());
  for (let i = 0; i < units; i += 1) if (!bernoulliExp(stream, 1, 1)) return false;
  const fraction = (k: number): Rational => {
    const { numerator, denominator } = exact();
    return {
      numerator: numerator - BigInt(units) * denominator,
      denominator: denominator * BigInt(k),
    };
  };
  let k = 1;
  const next = (): boolean =>
    lazyBernoulli(stream, { threshold: (bias - units) / k, exact: () => fraction(k), band });
  while (next()) k += 1;
  return k % 2 === 1;
}

function wholePart({ numerator, denominator }: Bias): number {
  return Number(numerator / denominator);
}

/**
 * A sampler of the discrete Gaussian whose arithmetic is in doubles as long as that is certain.
 *
 * The same distribution as sampleDiscreteGaussian, from other bytes of the stream and many times as fast.
 * Equal streams give equal draws whatever `bandOf` says: a wider band only decides more in big integers.
 *
 * @param sigmaSquared - Positive, with a square root below 2^39.
 * @param bandOf - Overrides the band in tests; infinite means that every comparison is exact.
 * @see Canonne, Kamath, Steinke 2020, Algorithm 3
 */
export function gaussianSampler(
  sigmaSquared: Rational,
  bandOf: (bias: number) => number = trustedBand,
): (stream: NoiseStream) => number {
  const { numerator: p, denominator: q } = sigmaSquared;
  const t = integerSquareRoot(p / q) + 1n;
  const envelope = rational(t);
  const variance = approximate(sigmaSquared);
  const centre = variance / Number(t);
  return (stream) => {
    for (;;) {
      const candidate = sampleSmallLaplace(stream, envelope);
      const magnitude = Math.abs(candidate);
      const bias = (magnitude - centre) ** 2 / (2 * variance);
      const exact = (): Bias => {
        const distance = BigInt(magnitude) * q * t - p;
        return { numerator: distance * distance, denominator: 2n * p * q * t * t };
      };
      if (acceptsBias(stream, { bias, exact, band: bandOf(bias) })) return candidate;
    }
  };
}
