const MICRO_SQUARED = 10n ** 12n;

/**
 * How far one round moved the model: the L2 norm of the change of its weights, in millionths of a weight, rounded up.
 *
 * Exact: the least natural n with n^2 * 2^(2 * fractionBits) >= 10^12 * sum((after - before)^2), in integers alone, so no
 * machine and no order of sums says otherwise. Rounded up, a change above a threshold never reads as one that meets it.
 *
 * Both models are noised, and the charge of the task pays for the release of each round's: a function of the two tells
 * no more of anybody than they do, and costs nothing besides (post-processing).
 *
 * @param before - Fixed-point weights as {@link applyAverage} takes and gives them; so is `after`, of equal length.
 * @returns At most 2^31 * sqrt(weights) * 10^6 / 2^fractionBits, which 257 weights of 8 bits keep below 2^53.
 *
 * @see Dwork and Roth 2014, The Algorithmic Foundations of Differential Privacy, proposition 2.1
 */
export function modelChangeMicro({
  before,
  after,
  fractionBits,
}: {
  readonly before: Int32Array;
  readonly after: Int32Array;
  readonly fractionBits: number;
}): number {
  let squares = 0n;
  for (const [index, weight] of before.entries()) {
    const change = BigInt((after[index] ?? 0) - weight);
    squares += change * change;
  }
  const wanted = squares * MICRO_SQUARED;
  const unitSquared = 1n << BigInt(2 * fractionBits);
  let [low, high] = [0n, BigInt(Number.MAX_SAFE_INTEGER)];
  while (low < high) {
    const middle = (low + high) / 2n;
    if (middle * middle * unitSquared >= wanted) high = middle;
    else low = middle + 1n;
  }
  return Number(low);
}
