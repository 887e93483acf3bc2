import type { ConsentPurpose } from "#protocol";

import type { BudgetSummary } from "../ledger/ledger.ts";
import { exhaustedSets } from "../ledger/statements.ts";
import { subjectCount } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import type { WitnessApi, WitnessStatus } from "../witness/witness.ts";

/** For the Vault's operator only: these numbers are about private data. */
export interface VaultStatus {
  readonly vault_id: string;
  readonly records: number;
  readonly batches: number;
  /** Files of batches that this store does not know, which lie in `batches-set-aside`: it may be an older copy. */
  readonly batches_set_aside: number;
  readonly subjects: number;
  readonly consents: readonly { readonly usageScope: ConsentPurpose; readonly granted: number }[];
  readonly budgets: readonly BudgetSummary[];
  readonly reservations: { readonly reserved: number; readonly executing: number };
  /** Tasks that consumed more than they reserved and policy tolerates (PB-3). */
  readonly flagged: number;
  /** Sets of subjects that requests were declined for, a budget of theirs being exhausted; 100 stands for more. */
  readonly exhausted_sets: number;
  /** Ingests that are not published; at most 64. */
  readonly open_ingests: number;
  /** Grants that are not revoked. */
  readonly grants: number;
  readonly witness: WitnessStatus;
  readonly log: { readonly size: number; readonly root: Uint8Array };
}

/** What the Vault holds, and how its budgets stand. */
export async function statusOf(
  { vaultId, store, books, files, log, nowMs }: VaultContext,
  witness: WitnessApi,
): Promise<VaultStatus> {
  const totals = await store.db
    .selectFrom("batch")
    .select((select) => [
      select.fn.countAll<number>().as("batches"),
      select.fn.sum<number | null>("record_count").as("records"),
    ])
    .where("published", "=", 1)
    .executeTakeFirst();
  const flagged = store.db
    .selectFrom("budget_flag")
    .select((select) => select.fn.countAll<number>().as("count"));
  const grants = store.db
    .selectFrom("access_grant")
    .select((select) => select.fn.countAll<number>().as("count"))
    .where("revoked_ms", "is", null);
  const ingests = store.db
    .selectFrom("ingest_run")
    .select((select) => select.fn.countAll<number>().as("count"));
  const open = books.ledger.open();
  return {
    vault_id: vaultId,
    records: totals?.records ?? 0,
    batches: totals?.batches ?? 0,
    batches_set_aside: files.setAside,
    subjects: await subjectCount(store.db),
    consents: books.consents.counts(nowMs()),
    budgets: books.ledger.summary(),
    reservations: {
      reserved: open.filter(({ state }) => state === "reserved").length,
      executing: open.filter(({ state }) => state === "executing").length,
    },
    flagged: await countOf(flagged),
    exhausted_sets: await exhaustedSets({ store }),
    open_ingests: await countOf(ingests),
    grants: await countOf(grants),
    witness: await witness.status(),
    log: { size: log.size, root: log.root() },
  };
}

async function countOf(query: {
  executeTakeFirst(): Promise<{ readonly count: number } | undefined>;
}): Promise<number> {
  return (await query.executeTakeFirst())?.count ?? 0;
}
