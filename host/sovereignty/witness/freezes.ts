import { parseCheckpoint } from "#protocol";

import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/**
 * Why a Vault is frozen: others hold a head that it signed and does not hold, or holds another of that size; or it was
 * put back from a backup, and nobody else remembers what it has spent since.
 */
export type FreezeReason = "behind" | "forked" | "restarted" | "restored";

/** Why this Vault stands still, and the head that proves it. */
export interface Freeze {
  readonly reason: FreezeReason;
  /** Signed by this Vault. */
  readonly note: string;
  readonly atMs: number;
}

/** A freeze that is new. */
export interface Fault extends Omit<Freeze, "atMs"> {
  /** Restarts of this Vault that the store does not know. */
  readonly unknown: readonly Uint8Array[];
}

/** The freeze that nobody has thawed yet. */
export async function presentFreeze(db: Reading): Promise<Freeze | undefined> {
  const row = await db
    .selectFrom("witness_freeze")
    .selectAll()
    .where("thawed_ms", "is", null)
    .orderBy("position")
    .executeTakeFirst();
  return row === undefined ? row : { reason: row.reason, note: row.note, atMs: row.at_ms };
}

/** Makes a freeze durable, with the restarts after the first `known` that it told of. */
export async function keepFreeze(
  { store, log, vaultId }: VaultContext,
  { reason, note, unknown }: Fault,
  { known, atMs }: { readonly known: number; readonly atMs: number },
): Promise<void> {
  const { size, root } = parseCheckpoint(note);
  await store.write(async (trx) => {
    await trx
      .insertInto("witness_freeze")
      .values({ reason, note, at_ms: atMs, thawed_ms: null })
      .execute();
    for (const [index, statement] of unknown.entries()) {
      const row = { vault_id: vaultId, generation: known + index + 1, statement, at_ms: atMs };
      await trx
        .insertInto("witness_restart")
        .values({ ...row, abandoned_note: null })
        .execute();
    }
    await log.append(trx, {
      type: "ledger.frozen",
      taskId: null,
      body: { reason, held_size: size, held_root: root },
    });
  });
}
