import type { GovernanceState } from "#protocol";

import type { Reading, Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import type { LedgerContext } from "./reservations.ts";

/**
 * Gives budget back for each epoch that governance has decided on and this ledger has not applied (PB-5): one entry and
 * one event each, in the order of their epochs. What was applied before is skipped, and what was decided before this
 * Vault last wrote everything off: a store that was lost may have had it and spent it, whether this one knew of it or not.
 *
 * @param replenishments - As governance decided them, which allows one for each purpose and epoch, in ascending order.
 */
export async function applyReplenishments(
  { books, log, nowMs, vaultId }: LedgerContext & Pick<VaultContext, "vaultId">,
  trx: Writing,
  replenishments: GovernanceState["replenishments"],
): Promise<void> {
  const writtenOff = await writtenOffMs(trx, vaultId);
  for (const { usageScope, epochId, epsilonMicro, decidedMs } of replenishments) {
    if (epochId <= books.ledger.replenishedEpoch(usageScope) || decidedMs <= writtenOff) continue;
    await books.replenish(trx, { usageScope, epochId, epsilonMicro, atMs: nowMs() });
    await log.append(trx, {
      type: "budget.replenished",
      taskId: null,
      body: { usage_scope: usageScope, epoch_id: epochId, epsilon_micro: epsilonMicro },
    });
  }
}

/** When the latest write-off was, of a restart that this store knows of; before all time when there was none. */
async function writtenOffMs(db: Reading, vaultId: string): Promise<number> {
  const row = await db
    .selectFrom("witness_restart")
    .select("at_ms")
    .where("vault_id", "=", vaultId)
    .orderBy("at_ms", "desc")
    .executeTakeFirst();
  return row?.at_ms ?? -Infinity;
}
