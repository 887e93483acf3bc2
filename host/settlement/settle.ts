import {
  CONSUMPTION_RECORD,
  ConflictError,
  MerkleTree,
  SETTLEMENT_ENTRY,
  leafHash,
  type ConsumptionRecord,
  type GovernanceState,
  type SettlementEntry,
  type SettlementRoot,
} from "#protocol";

import { accountTask, type AccountingEntry } from "./accounting.ts";
import type { VerifiedExecution } from "./verification.ts";

/** What an epoch's settlement is composed of. */
export interface SettlementInput {
  readonly state: GovernanceState;
  readonly epochId: number;
  /** Digest of the root before; 32 zero bytes for the first. */
  readonly previousRoot: Uint8Array;
  /** In any order; each task once. */
  readonly entries: readonly SettlementEntry[];
  readonly finalizedMs: number;
}

/** One entry's place under the root. */
export interface ComposedEntry {
  readonly entry: SettlementEntry;
  readonly bytes: Uint8Array;
  readonly index: number;
  readonly proof: Uint8Array[];
}

/** A settlement that is not signed yet. */
export interface ComposedSettlement {
  readonly root: SettlementRoot;
  /** In order of task identifier. */
  readonly entries: readonly ComposedEntry[];
}

/**
 * Composes the SettlementRoot of an epoch. Pure and independent of the order of `entries`: equal inputs give equal
 * roots (SP-9).
 *
 * @throws {@link ConflictError} SETTLEMENT_INVALID when a task is there twice.
 */
export function composeSettlement(input: SettlementInput): ComposedSettlement {
  const { state } = input;
  const sorted = input.entries.toSorted((a, b) => (a.task_id < b.task_id ? -1 : 1));
  if (new Set(sorted.map((entry) => entry.task_id)).size !== sorted.length) {
    throw new ConflictError(
      { code: "SETTLEMENT_INVALID", epoch_id: input.epochId },
      `settlement of epoch ${input.epochId}: expected each task once, got one twice`,
    );
  }
  const encoded = sorted.map((entry) => SETTLEMENT_ENTRY.encode(entry));
  const tree = new MerkleTree();
  for (const bytes of encoded) tree.append(leafHash(bytes));
  const lines = sorted.flatMap((entry) => entry.accounting);
  const root: SettlementRoot = {
    version: 1,
    genesis_digest: state.genesisDigest,
    epoch_id: input.epochId,
    policy_version: state.policy.policy_version_id,
    semantic_version: state.semantics.semantic_version,
    previous_root: input.previousRoot,
    entry_count: sorted.length,
    entries_root: tree.root(),
    reward_total_minor: totalOf(lines, "reward"),
    penalty_total_minor: totalOf(lines, "penalty"),
    governance_size: state.sequence,
    finalized_ms: input.finalizedMs,
  };
  return {
    root,
    entries: sorted.map((entry, index) => ({
      entry,
      bytes: encoded[index] ?? new Uint8Array(0),
      index,
      proof: tree.inclusionProof(index),
    })),
  };
}

/**
 * The entry of one verified task, as if nobody challenged it; see `applyChallenge`. Accounting follows from the
 * governance state of the verification, so that it stays the same whatever governance decides later.
 */
export function composeEntry(args: {
  readonly execution: VerifiedExecution;
  readonly consumption: readonly ConsumptionRecord[];
}): SettlementEntry {
  const { execution, consumption } = args;
  const { envelope, bundles, governance } = execution;
  return {
    task_id: envelope.task_id,
    envelope_digest: execution.envelopeDigest,
    epoch_id: envelope.epoch_id,
    output_commitment: execution.outputCommitment,
    round_bundles: [...execution.bundleDigests],
    verified_governance_size: governance.sequence,
    consumption: consumption.map((record) => CONSUMPTION_RECORD.digest(record)),
    accounting: accountTask({
      envelope,
      policy: governance.policy,
      actors: governance.actors,
      bundles,
      consumption,
    }),
  };
}

function totalOf(lines: readonly AccountingEntry[], kind: AccountingEntry["kind"]): number {
  return lines
    .filter((line) => line.kind === kind)
    .reduce((sum, line) => sum + line.amount_minor, 0);
}
