import { z } from "zod";

import { bytes32, bytesUpTo, identifier, microEpsilon, natural, unixMs } from "./fields.ts";
import { defineObject } from "./object.ts";
import { leafHash, merkleRoot } from "./merkle.ts";

/** A Vault's signed record of what a task cost: its ledger commit is durable before it signs (PB-1, PB-3). */
export const consumptionRecordSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  vault_id: identifier,
  record_scope: identifier,
  usage_scope: identifier,
  reservation_id: identifier,
  consumed_epsilon_micro: microEpsilon,
  reserved_epsilon_micro: microEpsilon,
  /** Set when consumption exceeds the reservation beyond the policy tolerance. */
  flagged: z.boolean(),
  epoch_id: natural,
  ledger_root: bytes32,
  ledger_size: natural,
});

export type ConsumptionRecord = z.infer<typeof consumptionRecordSchema>;
export const CONSUMPTION_RECORD = defineObject(
  "consumption-record",
  consumptionRecordSchema,
  4 * 1024,
);

/** What one actor earns or pays for one task: minor units, never negative. */
export const accountingEntrySchema = z.strictObject({
  actor_id: identifier,
  kind: z.enum(["reward", "penalty"]),
  amount_minor: natural,
  reason: identifier,
});

/** One task's place in a settled epoch. */
export const settlementEntrySchema = z.strictObject({
  task_id: identifier,
  envelope_digest: bytes32,
  epoch_id: natural,
  output_commitment: bytes32,
  /** Digest of each round's signed ExecutionResultBundle, in round order (CT-6). */
  round_bundles: z.array(bytes32).min(1).max(100),
  /** Events of the governance log under which the coordinator verified the execution; what came later changes nothing. */
  verified_governance_size: natural,
  /** Digests of the signed consumption records, in order of Vault identifier. */
  consumption: z.array(bytes32).max(64),
  accounting: z.array(accountingEntrySchema).max(256),
});

export type SettlementEntry = z.infer<typeof settlementEntrySchema>;
export const SETTLEMENT_ENTRY = defineObject("settlement-entry", settlementEntrySchema, 64 * 1024);

/**
 * The finalized outcome of an epoch, signed by the coordinator (SP-6).
 *
 * `entries_root` is the RFC 9162 root over the canonical bytes of the entries in order of task identifier, so equal
 * inputs give equal roots and one entry is proven without the others.
 */
export const settlementRootSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  epoch_id: natural,
  policy_version: identifier,
  semantic_version: identifier,
  previous_root: bytes32,
  entry_count: natural,
  entries_root: bytes32,
  reward_total_minor: natural,
  penalty_total_minor: natural,
  /** Events of the governance log as the coordinator had it; evidence with fewer could hide a challenge's approval. */
  governance_size: natural,
  finalized_ms: unixMs,
});

export type SettlementRoot = z.infer<typeof settlementRootSchema>;
export const SETTLEMENT_ROOT = defineObject("settlement-root", settlementRootSchema, 4 * 1024);

/** An instruction to the payout rail, derived from finalized accounting only (SP-5, PL-8). */
export const payoutInstructionSchema = z.strictObject({
  settlement_root: bytes32,
  actor_id: identifier,
  amount_minor: natural,
});

export type PayoutInstruction = z.infer<typeof payoutInstructionSchema>;

/** A finalized settlement as a Vault or an auditor takes it: the signed root and one entry's inclusion. */
export const settlementProofSchema = z.strictObject({
  root: bytesUpTo(8 * 1024),
  entry: bytesUpTo(64 * 1024),
  index: natural,
  proof: z.array(bytes32).max(64),
});

export type SettlementProof = z.infer<typeof settlementProofSchema>;
export const SETTLEMENT_PROOF = defineObject("settlement-proof", settlementProofSchema, 128 * 1024);

/** Root over `entries`, which must be in ascending order of task identifier. */
export function settlementEntriesRoot(entries: readonly SettlementEntry[]): Uint8Array {
  return merkleRoot(entries.map((entry) => leafHash(SETTLEMENT_ENTRY.encode(entry))));
}
