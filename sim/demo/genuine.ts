import { UsageError } from "#host";
import type { DemoPlan } from "../network/plan.ts";

/** The demo on the genuine sets. */
export function genuinePlan(folder: string): DemoPlan {
  throw new UsageError(`--data: expected the genuine sets in ${folder}`);
}
