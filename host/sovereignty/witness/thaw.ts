import {
  ConflictError,
  LimitError,
  RESTARTS_MAX,
  RESTART_STATEMENT,
  UnavailableError,
  parseCheckpoint,
  type GovernanceState,
} from "#protocol";

import type { Writing } from "../queries.ts";
import { governanceHead } from "../tasks/governance-head.ts";
import type { VaultContext } from "../vault-context.ts";
import { RESTORED, type OwnHead } from "./own-head.ts";

/** What a thaw gave up. */
export interface Thawed {
  /** Counts the restarts of this Vault from 1. */
  readonly generation: number;
  /** Events of the newest head known, which this store may not hold. */
  readonly abandoned_size: number;
  readonly log_size: number;
}

/**
 * Ends a freeze by giving everything up that the lost log may have spent: the whole budget of every purpose, of the
 * subjects known and to come and of every record scope, with what governance had given back. The log goes on from this
 * store and says so, and a signed statement tells the witnesses; all of it in one write. So too where nobody has frozen
 * it and too few others confirm it, since some have forgotten what they cosigned: what it may lack then is as much.
 *
 * The Vault is unconfirmed afterwards. What it cosigned for others after the copy was made it has forgotten: it vouches
 * for nobody's head until it is asked to cosign it again.
 *
 * @throws {@link ConflictError} PRIVACY_BUDGET_STATE_CONFLICT when it is confirmed; {@link LimitError}
 * POLICY_LIMIT_EXCEEDED after {@link RESTARTS_MAX} restarts; {@link UnavailableError} COORDINATION_UNAVAILABLE while
 * less of governance is known than this store has seen.
 */
export async function thaw(
  context: VaultContext,
  own: OwnHead,
  governance: GovernanceState,
): Promise<Thawed> {
  if (own.standing === "confirmed") {
    throw new ConflictError(
      { code: "PRIVACY_BUDGET_STATE_CONFLICT", standing: own.standing },
      "thaw: expected a Vault that is frozen or that others do not confirm, got one confirmed",
    );
  }
  const abandoned = own.frozen?.note ?? context.log.checkpoint();
  const generation = own.restarts.length + 1;
  if (generation > RESTARTS_MAX) {
    throw new LimitError(
      { code: "POLICY_LIMIT_EXCEEDED", max: RESTARTS_MAX },
      `thaw: expected at most ${RESTARTS_MAX} restarts of a Vault, got one more`,
    );
  }
  const known = (await governanceHead(context))?.size ?? 0;
  if (governance.sequence < known) {
    throw new UnavailableError(
      { code: "COORDINATION_UNAVAILABLE", expected: known, actual: governance.sequence },
      `thaw: expected at least ${known} governance events, got ${governance.sequence}`,
    );
  }
  const thawed = await context.store.write(async (trx) => {
    await writeOff(context, trx, governance);
    return restart(context, trx, { abandoned, generation, governance });
  });
  await own.restarted();
  return thawed;
}

/** What governance gave back goes first: it may have been spent as well, and is not given again. */
async function writeOff(
  { books, nowMs }: VaultContext,
  trx: Writing,
  { policy, replenishments }: GovernanceState,
): Promise<void> {
  const atMs = nowMs();
  for (const { usageScope, epochId, epsilonMicro } of replenishments) {
    if (epochId <= books.ledger.replenishedEpoch(usageScope)) continue;
    await books.replenish(trx, { usageScope, epochId, epsilonMicro, atMs });
  }
  for (const { usage_scope, epsilon_micro, record_scope_epsilon_micro } of policy.privacy.budgets) {
    await books.writeOff(trx, {
      usageScope: usage_scope,
      epsilonMicro: epsilon_micro,
      recordScopeMicro: record_scope_epsilon_micro ?? 0,
      atMs,
    });
  }
}

async function restart(
  { log, nowMs, signingKey, vaultId }: VaultContext,
  trx: Writing,
  args: {
    /** The newest head known, signed by this Vault. */
    readonly abandoned: string;
    readonly generation: number;
    readonly governance: GovernanceState;
  },
): Promise<Thawed> {
  const { abandoned, generation, governance } = args;
  const { size, root } = parseCheckpoint(abandoned);
  const atMs = nowMs();
  const governance_size = governance.sequence;
  const restarted = await log.append(trx, {
    type: "ledger.restarted",
    taskId: null,
    body: { generation, abandoned_size: size, abandoned_root: root, governance_size },
  });
  const statement = RESTART_STATEMENT.sign(
    {
      version: 1,
      genesis_digest: governance.genesisDigest,
      vault_id: vaultId,
      generation,
      abandoned: { size, root },
      restarted: { size: restarted.size, root: restarted.root },
      governance_size,
      at_ms: atMs,
    },
    signingKey,
  );
  await trx
    .insertInto("witness_restart")
    .values({
      ...{ vault_id: vaultId, generation, statement },
      ...{ abandoned_note: abandoned, at_ms: atMs },
    })
    .execute();
  await trx.updateTable("witness_head").set({ stale: 1 }).execute();
  await trx.deleteFrom("vault_meta").where("name", "=", RESTORED).execute();
  await trx
    .updateTable("witness_freeze")
    .set({ thawed_ms: atMs })
    .where("thawed_ms", "is", null)
    .execute();
  return { generation, abandoned_size: size, log_size: restarted.size };
}
