import { decodeCbor, encodeCbor, parseWith } from "#protocol";
import { z } from "zod";

import { metaOf } from "./queries.ts";
import type { VaultContext } from "./vault-context.ts";

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

/** Keeps `head` when it is ahead of the one kept, with an event of the Vault's log. */
export async function recordGovernanceHead(
  { store, log }: VaultContext,
  head: GovernanceHead,
): Promise<void> {
  await store.write(async (trx) => {
    const known = await metaOf(trx, NAME);
    const knownSize =
      known === undefined ? -1 : parseWith(headSchema, decodeCbor(known), NAME).size;
    if (head.size <= knownSize) return;
    const value = encodeCbor({ size: head.size, root: head.root });
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
  });
}
