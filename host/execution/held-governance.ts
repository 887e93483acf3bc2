import { RefusedError, VerificationError, type GovernanceState } from "#protocol";
import type { AcceptedGovernance } from "../governance/index.ts";

/** The newest governance that a node knows, of all it has accepted or cosigned since it started. Never goes back. */
export class HeldGovernance {
  #newest: GovernanceState;
  #leaves: readonly Uint8Array[] = [];

  constructor(genesis: GovernanceState) {
    this.#newest = genesis;
  }

  get newest(): GovernanceState {
    return this.#newest;
  }

  /** Leaf hashes of the log that the newest state is of; none before this node has learned anything. */
  get leaves(): readonly Uint8Array[] {
    return this.#leaves;
  }

  /** @param args - Verified, and an extension of what this node has accepted before. */
  learn({ state, leaves }: Pick<AcceptedGovernance, "state" | "leaves">): void {
    if (state.sequence <= this.#newest.sequence) return;
    this.#newest = state;
    this.#leaves = leaves;
  }
}

/**
 * Refuses to order work under `older` governance when `newest` has withdrawn something since: an enclave that is handed
 * the older would still accept what was revoked in between.
 *
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID
 */
export function requireNothingWithdrawn(older: GovernanceState, newest: GovernanceState): void {
  const expected = withdrawn(newest);
  const actual = withdrawn(older);
  if (actual >= expected) return;
  throw new VerificationError(
    { code: "PROOF_CONSISTENCY_INVALID", expected, actual },
    `governance: expected all ${expected} revocations and suspensions that this node knows, got ${actual}`,
  );
}

/**
 * Refuses to admit a task under `older` governance when another policy version or another version of the semantic
 * registry has become active since: what has been succeeded admits nothing new (PV-2, CA-4).
 *
 * @throws {@link RefusedError} POLICY_NOT_ACTIVE, DERIVATION_UNRESOLVED
 */
export function requireActiveVersions(older: GovernanceState, newest: GovernanceState): void {
  if (older.sequence >= newest.sequence) return;
  const { policy_version_id: actual } = older.policy;
  const { policy_version_id: expected } = newest.policy;
  if (actual !== expected) {
    throw new RefusedError(
      { code: "POLICY_NOT_ACTIVE", expected, actual },
      `governance: expected policy version ${expected}, which is active, got ${actual}`,
    );
  }
  const { semantic_version: meant } = older.semantics;
  const { semantic_version: active } = newest.semantics;
  if (meant === active) return;
  throw new RefusedError(
    { code: "DERIVATION_UNRESOLVED", expected: active, actual: meant },
    `governance: expected semantic version ${active}, which is active, got ${meant}`,
  );
}

/** Revocations, and what was withdrawn from actors that execute; the log takes none of it back. */
function withdrawn({
  revokedMeasurements,
  revokedModuleIds,
  withdrawals,
}: GovernanceState): number {
  return revokedMeasurements.length + revokedModuleIds.length + withdrawals;
}
