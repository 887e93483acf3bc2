import { equalBytes } from "./bytes.ts";
import { VerificationError } from "./errors.ts";
import { leafHash, verifyInclusion } from "./merkle.ts";
import {
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  type SettlementEntry,
  type SettlementRoot,
} from "./settlement.ts";

/** A settled task as the coordinator finalized it. */
export interface FinalizedSettlement {
  readonly root: SettlementRoot;
  /** Digest by which deliveries and payouts name the root. */
  readonly rootDigest: Uint8Array;
  readonly entry: SettlementEntry;
}

/** The `output_commitment` of a task that settles penalties alone; no result has it, so nothing is released. */
export function noOutput(): Uint8Array {
  return new Uint8Array(32);
}

/**
 * Verifies that a finalized SettlementRoot of this network, signed by its coordinator, holds one entry.
 *
 * Whoever releases a key share compares the entry's `output_commitment` and `envelope_digest` with its own.
 *
 * @param proofBytes - Canonical bytes of a SettlementProof.
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID, GOVERNANCE_GENESIS_MISMATCH, PROOF_INCLUSION_INVALID
 * @throws MalformedError, LimitError for its shape
 */
export function verifySettlementProof(
  proofBytes: Uint8Array,
  trust: { readonly coordinatorKey: Uint8Array; readonly genesisDigest: Uint8Array },
): FinalizedSettlement {
  const proof = SETTLEMENT_PROOF.decode(proofBytes);
  const root = SETTLEMENT_ROOT.verify(proof.root, trust.coordinatorKey);
  if (!equalBytes(root.genesis_digest, trust.genesisDigest)) {
    throw new VerificationError(
      { code: "GOVERNANCE_GENESIS_MISMATCH" },
      "settlement root: expected one of this network, got another genesis",
    );
  }
  const entry = SETTLEMENT_ENTRY.decode(proof.entry);
  verifyInclusion({
    leafHash: leafHash(proof.entry),
    index: proof.index,
    size: root.entry_count,
    proof: proof.proof,
    root: root.entries_root,
  });
  return { root, rootDigest: SETTLEMENT_ROOT.digest(root), entry };
}
