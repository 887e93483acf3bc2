import {
  ConflictError,
  decodeCbor,
  encodeCbor,
  equalBytes,
  parseWith,
  type GovernanceState,
} from "#protocol";
import { z } from "zod";

import { applyReplenishments } from "../ledger/replenishment.ts";
import { metaOf } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

/** The head of the governance log that this Vault has accepted last; it never goes back. */
export interface GovernanceHead {
  readonly size: number;
  readonly root: Uint8Array;
}

const headSchema = z.strictObject({ size: z.int().min(0), root: z.instanceof(Uint8Array) });
const NAME = "governance_head";

/** The head accepted last, or null before the first. */
export async function governanceHead({ store }: VaultContext): Promise<GovernanceHead | null> {
  const value = await metaOf(store.db, NAME);
  return value === undefined ? null : parseWith(headSchema, decodeCbor(value), NAME);
}

/** See {@link recordGovernanceHead}. */
export interface GovernanceAdvance {
  readonly head: GovernanceHead;
  /**
   * The head that `head` was judged against; compared with the kept one in the transaction, so that of two judged at
   * once only one is kept, and only it may be signed.
   */
  readonly previous: GovernanceHead | null;
  /** What governance at `head` has given back, all of it since the genesis. */
  readonly replenishments: GovernanceState["replenishments"];
}

/**
 * Keeps `head`, which must extend `previous`, with an event of the Vault's log, and gives back what governance has
 * given back since (PB-5): in the same write, so that each is applied exactly once.
 *
 * @throws ConflictError COORDINATION_CONFLICT when another head was kept meanwhile: judge again.
 */
export async function recordGovernanceHead(
  context: VaultContext,
  args: GovernanceAdvance,
): Promise<void> {
  const { store, log } = context;
  const { head, previous, replenishments } = args;
  await store.write(async (trx) => {
    const kept = (await metaOf(trx, NAME)) ?? null;
    const judged = previous === null ? null : encodeHead(previous);
    const value = encodeHead(head);
    if (kept !== null && equalBytes(kept, value)) return;
    const unchanged = kept === null ? judged === null : judged !== null && equalBytes(kept, judged);
    if (!unchanged || (previous !== null && head.size <= previous.size)) {
      throw new ConflictError(
        { code: "COORDINATION_CONFLICT", size: head.size },
        "governance head: expected to extend the one kept",
      );
    }
    await trx
      .insertInto("vault_meta")
      .values({ name: NAME, value })
      .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
      .execute();
    await log.append(trx, {
      type: "governance_accepted",
      taskId: null,
      body: { size: head.size, root: head.root },
    });
    await applyReplenishments(context, trx, replenishments);
  });
}

function encodeHead({ size, root }: GovernanceHead): Uint8Array {
  return encodeCbor({ size, root });
}
