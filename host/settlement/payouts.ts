import type { PayoutInstruction, SettlementEntry } from "#protocol";

/**
 * Instructions to the payout rail for one finalized root: what each actor earned. A penalty was taken from its stake, by the
 * governance log, and is not taken twice.
 *
 * Follows from finalized entries alone, so that it can be derived again whatever the rail says (PL-8).
 *
 * @param settlementRoot - Digest of the finalized root.
 * @returns In order of actor.
 */
export function payoutsOf(
  settlementRoot: Uint8Array,
  entries: readonly SettlementEntry[],
): PayoutInstruction[] {
  const balances = new Map<string, number>();
  for (const { actor_id, kind, amount_minor } of entries.flatMap((entry) => entry.accounting)) {
    if (kind !== "reward") continue;
    balances.set(actor_id, (balances.get(actor_id) ?? 0) + amount_minor);
  }
  return [...balances]
    .filter(([, amount]) => amount > 0)
    .map(([actor_id, amount_minor]) => ({
      settlement_root: settlementRoot,
      actor_id,
      amount_minor,
    }))
    .sort((a, b) => (a.actor_id < b.actor_id ? -1 : 1));
}
