import { LimitError, MalformedError } from "#protocol";

import { EPSILON_MICRO_MAX } from "./accounting.ts";

/** The operators of an attribute composition (SCP core spec, Attribute Composition Semantics). */
export const COMPOSITION_OPERATORS = ["AND", "OR", "NOT", "FILTER", "JOIN"] as const;

/** One of {@link COMPOSITION_OPERATORS}. */
export type CompositionOperator = (typeof COMPOSITION_OPERATORS)[number];

/**
 * What one operand beyond the first adds to the price, in thousandths of the most expensive operand.
 *
 * Narrowing operators cost more than widening ones, and a join, which links records, costs most: the
 * narrower the set, the more one answer says about one person. The figures are this project's choice;
 * the specification asks only that the price depend on operator and operand count.
 */
const SURCHARGE_PERMILLE: Readonly<Record<CompositionOperator, number>> = {
  OR: 50,
  AND: 100,
  NOT: 100,
  FILTER: 100,
  JOIN: 500,
};

/** The most operands one composition names. */
export const OPERANDS_MAX = 64;

/** A composition, reduced to what its price depends on. */
export interface PricedComposition {
  readonly operator: CompositionOperator;
  /** The registry epsilon of each operand, micro-epsilon; 1 to 64 of them, each in [1, 50 000 000]. */
  readonly operandEpsilonsMicro: readonly number[];
}

/**
 * The price of one execution of a composition, in micro-epsilon: charged once, not per operand.
 *
 * It is the most expensive operand's epsilon plus a surcharge for every further operand, rounded up; NOT
 * counts the implied universe as an operand. A repeat is a new execution and pays again.
 *
 * @throws {@link MalformedError} PRIVACY_BUDGET_PARAMETER_INVALID for no operand, too many, or one out of range
 * @throws {@link LimitError} PRIVACY_BUDGET_PARAMETER_INVALID when the price itself exceeds epsilon 50
 */
export function compositionPrice({ operator, operandEpsilonsMicro }: PricedComposition): number {
  const count = operandEpsilonsMicro.length;
  const inRange = operandEpsilonsMicro.every(
    (epsilon) => Number.isSafeInteger(epsilon) && epsilon >= 1 && epsilon <= EPSILON_MICRO_MAX,
  );
  if (count < 1 || count > OPERANDS_MAX || !inRange) {
    throw new MalformedError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", operands: count },
      `composition: expected 1 to ${OPERANDS_MAX} operands with epsilons in [1, ${EPSILON_MICRO_MAX}], ` +
        `got ${count} operands or an epsilon out of range`,
    );
  }
  const dearest = Math.max(...operandEpsilonsMicro);
  const further = operator === "NOT" ? count : count - 1;
  const price = dearest + Math.ceil((dearest * SURCHARGE_PERMILLE[operator] * further) / 1000);
  if (price > EPSILON_MICRO_MAX) {
    throw new LimitError(
      { code: "PRIVACY_BUDGET_PARAMETER_INVALID", price, priceMax: EPSILON_MICRO_MAX },
      `composition: expected a price of at most ${EPSILON_MICRO_MAX} micro-epsilon, got ${price}`,
    );
  }
  return price;
}
