import { RESTART_STATEMENT, parseCheckpoint, parseCose } from "#protocol";

import type { Reading } from "../queries.ts";
import type { Head } from "./restarts.ts";

/** Two heads of one log that its Vault signed and that cannot both be of it. */
export interface ForkEvidence {
  readonly vault_id: string;
  /** Restarts that the Vault had declared. */
  readonly generation: number;
  readonly held: Head;
  readonly other: Head;
  /** The signed checkpoints: whoever has the Vault's key verifies both. */
  readonly notes: readonly [held: string, other: string];
  readonly at_ms: number;
}

/** What a Vault declared when it went on from an older copy. */
export interface RestartEvidence {
  readonly vault_id: string;
  readonly generation: number;
  /** The head given up, and the one that its log goes on from. */
  readonly abandoned: Head;
  readonly restarted: Head;
  readonly at_ms: number;
}

/** Proven forks of other Vaults' logs; one for each Vault and generation at most. */
export async function forkEvidence(db: Reading): Promise<ForkEvidence[]> {
  const rows = await db
    .selectFrom("witness_fork")
    .selectAll()
    .orderBy("vault_id")
    .orderBy("generation")
    .execute();
  return rows.map(({ held, other, ...row }) => ({
    ...row,
    held: headOf(held),
    other: headOf(other),
    notes: [held, other],
  }));
}

/** Accepted restarts of Vaults other than `vaultId`; 16 for each at most. */
export async function restartEvidence(db: Reading, vaultId: string): Promise<RestartEvidence[]> {
  const rows = await db
    .selectFrom("witness_restart")
    .select(["vault_id", "generation", "statement", "at_ms"])
    .where("vault_id", "!=", vaultId)
    .orderBy("vault_id")
    .orderBy("generation")
    .execute();
  return rows.map(({ statement, ...row }) => {
    const { abandoned, restarted } = RESTART_STATEMENT.decode(parseCose(statement).payload);
    return { ...row, abandoned, restarted };
  });
}

function headOf(note: string): Head {
  const { size, root } = parseCheckpoint(note);
  return { size, root };
}
