import {
  VerificationError,
  equalBytes,
  leafHash,
  merkleRoot,
  verifyGovernanceForCosigning,
  verifyGovernanceSnapshot,
  type FoldedLog,
  type GovernanceSnapshot,
  type GovernanceState,
} from "#protocol";

/** A head of the governance log that a relying party has accepted and keeps durably. */
export interface GovernanceHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** The state a snapshot gives, and the head to keep as `previous` of the next one. */
export interface AcceptedGovernance extends GovernanceHead {
  readonly state: GovernanceState;
  /** Leaf hashes of the log, one for each event. */
  readonly leaves: readonly Uint8Array[];
}

/**
 * Accepts governance as a Vault does: against the pinned genesis, cosigned, and never going back.
 *
 * The snapshot carries every event, so that the prefix is recomputed and no consistency proof is needed.
 *
 * @param args.previous - What this party accepted last; null only before its first snapshot.
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID for a shorter log or one with another past; and as
 * `verifyGovernanceSnapshot`.
 */
export function acceptSnapshot(args: {
  readonly snapshot: GovernanceSnapshot;
  readonly pinnedGenesisDigest: Uint8Array;
  readonly previous: GovernanceHead | null;
  /** The newest log that this party has verified, so that only what is new is folded. */
  readonly known?: FoldedLog;
}): AcceptedGovernance {
  const { snapshot, previous, known } = args;
  const state = verifyGovernanceSnapshot(snapshot, args.pinnedGenesisDigest, known);
  const leaves = snapshot.events.map((event) => leafHash(event));
  if (previous !== null) requirePrefix(leaves, previous);
  return { state, leaves, size: leaves.length, root: merkleRoot(leaves) };
}

/**
 * Accepts governance that work carries and that is older than the newest this party knows: work was under way when the log
 * grew, as it does with each epoch. Only as a prefix of what is known, and cosigned as ever; whether what came since
 * may be left out is for the caller to judge.
 *
 * @param args.known - Leaf hashes of the newest log that this party has accepted or cosigned.
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID for what is no prefix of it; and as
 * `verifyGovernanceSnapshot`.
 */
export function acceptOlder(args: {
  readonly snapshot: GovernanceSnapshot;
  readonly pinnedGenesisDigest: Uint8Array;
  readonly known: readonly Uint8Array[];
}): AcceptedGovernance {
  const { snapshot, known } = args;
  const state = verifyGovernanceSnapshot(snapshot, args.pinnedGenesisDigest);
  const leaves = snapshot.events.map((event) => leafHash(event));
  const accepted = { state, leaves, size: leaves.length, root: merkleRoot(leaves) };
  requirePrefix(known, accepted);
  return accepted;
}

/**
 * A snapshot that this party is asked to cosign: every event approved, the log's own signature, and the known past
 * unchanged. Says nothing of what other Vaults have seen: of its state only what was withdrawn may be acted on.
 *
 * @throws {@link VerificationError} as {@link acceptSnapshot}
 */
export function extendHead(args: {
  readonly snapshot: GovernanceSnapshot;
  readonly pinnedGenesisDigest: Uint8Array;
  readonly previous: GovernanceHead | null;
  readonly known?: FoldedLog;
}): AcceptedGovernance {
  const { snapshot, previous, known } = args;
  const state = verifyGovernanceForCosigning(snapshot, args.pinnedGenesisDigest, known);
  const leaves = snapshot.events.map((event) => leafHash(event));
  if (previous !== null) requirePrefix(leaves, previous);
  return { state, leaves, size: leaves.length, root: merkleRoot(leaves) };
}

function requirePrefix(leaves: readonly Uint8Array[], previous: GovernanceHead): void {
  if (leaves.length < previous.size) {
    throw new VerificationError(
      { code: "PROOF_CONSISTENCY_INVALID", expected: previous.size, actual: leaves.length },
      `governance log: expected at least ${previous.size} events, got ${leaves.length}`,
    );
  }
  if (equalBytes(merkleRoot(leaves.slice(0, previous.size)), previous.root)) return;
  throw new VerificationError(
    { code: "PROOF_CONSISTENCY_INVALID", size: previous.size },
    `governance log: expected the same first ${previous.size} events as before, got others`,
  );
}
