/** A slice that a round goes on without, and why. The reason stays inside the enclave. */
export interface DroppedSlice {
  readonly vaultId: string;
  readonly reason: unknown;
}

/**
 * Verifies each Vault's part by itself: what one Vault or one slice got wrong costs the round that slice and no other
 * (MV-3, MV-4). Whether enough are left is the caller's question.
 *
 * @param verify - Throws for a part that is not to be taken, whatever it throws.
 */
export async function judgeEach<T extends { readonly vault_id: string }, V>(
  parts: readonly T[],
  verify: (part: T) => Promise<V>,
): Promise<{ readonly kept: readonly V[]; readonly dropped: readonly DroppedSlice[] }> {
  const kept: V[] = [];
  const dropped: DroppedSlice[] = [];
  const judged = await Promise.allSettled(parts.map(async (part) => verify(part)));
  judged.forEach((outcome, index) => {
    if (outcome.status === "fulfilled") kept.push(outcome.value);
    else dropped.push({ vaultId: parts[index]?.vault_id ?? "", reason: outcome.reason });
  });
  return { kept, dropped };
}
