import type { GovernanceState } from "#protocol";

import type { Writing } from "../queries.ts";
import type { LedgerContext } from "./reservations.ts";

/**
 * Gives budget back for each epoch that governance has decided on and this ledger has not applied (PB-5): one entry and
 * one event each, in the order of their epochs. What was applied before is skipped.
 *
 * @param replenishments - As governance decided them, which allows one for each purpose and epoch, in ascending order.
 */
export async function applyReplenishments(
  { books, log, nowMs }: LedgerContext,
  trx: Writing,
  replenishments: GovernanceState["replenishments"],
): Promise<void> {
  for (const { usageScope, epochId, epsilonMicro } of replenishments) {
    if (epochId <= books.ledger.replenishedEpoch(usageScope)) continue;
    await books.replenish(trx, { usageScope, epochId, epsilonMicro, atMs: nowMs() });
    await log.append(trx, {
      type: "budget.replenished",
      taskId: null,
      body: { usage_scope: usageScope, epoch_id: epochId, epsilon_micro: epsilonMicro },
    });
  }
}
