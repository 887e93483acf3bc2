import { MalformedError } from "#protocol";

/** An exact non-negative ratio in lowest terms; `denominator` is positive. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

function greatestCommonDivisor(left: bigint, right: bigint): bigint {
  let [a, b] = [left, right];
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

/**
 * The ratio `numerator / denominator` in lowest terms.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID when the numerator is negative or the
 *   denominator is not positive.
 */
export function rational(numerator: bigint, denominator: bigint = 1n): Rational {
  if (numerator < 0n || denominator <= 0n) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID" },
      "ratio: expected a non-negative numerator over a positive denominator, got another sign",
    );
  }
  if (numerator === 0n) return { numerator: 0n, denominator: 1n };
  const divisor = greatestCommonDivisor(numerator, denominator);
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

/** The nearest double of `ratio`; for reports and statistics, never for a decision. */
export function approximate(ratio: Rational): number {
  const whole = ratio.numerator / ratio.denominator;
  const rest = ratio.numerator % ratio.denominator;
  return Number(whole) + Number(rest) / Number(ratio.denominator);
}

/** The largest integer whose square is at most `value`; `value` is not negative. */
export function integerSquareRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let guess = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (guess + value / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
}
