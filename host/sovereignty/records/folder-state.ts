import { equalBytes } from "#protocol";

import { metaOf, type Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";

const TOKEN_BYTES = 16;

/** Name in `vault_meta` of the token that the store and the folder of batches share. */
const TOKEN = "batch_folder_state";

/**
 * Whether the store is the one that last published into this folder: then files that it does not know are what a crash
 * left. False for an older copy of the store, or of the folder, and when a crash leaves it open.
 */
export async function isLatestStore({ store, files }: VaultContext): Promise<boolean> {
  const own = await metaOf(store.db, TOKEN);
  const noted = files.readState();
  return own !== undefined && noted !== null && equalBytes(noted, own);
}

/**
 * Takes note, in the store and beside the files, that what is published changes with this write. The file is durable
 * before the write is: a crash between the two makes {@link isLatestStore} false, and nothing is removed.
 *
 * @throws UnavailableError INTERNAL_STORE_UNAVAILABLE
 */
export async function noteChange({ files, random }: VaultContext, trx: Writing): Promise<void> {
  const value = random(TOKEN_BYTES);
  files.writeState(value);
  await trx
    .insertInto("vault_meta")
    .values({ name: TOKEN, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
}
