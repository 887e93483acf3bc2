import { budgetOf } from "../../../sim/network/policy.ts";
import type { Policy } from "../../../protocol/index.ts";

/** What one request costs, and how many the budget is for. */
export const RACE_COST_MICRO = 8_000_000;
export const RACE_ADMITTED = 40;

/** Marketing budget for {@link RACE_ADMITTED} requests. */
export function raceBudget(policy: Policy): Policy {
  const budgets = [budgetOf("marketing", RACE_COST_MICRO * RACE_ADMITTED)];
  return { ...policy, privacy: { ...policy.privacy, budgets } };
}
