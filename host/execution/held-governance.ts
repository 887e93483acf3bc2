import { VerificationError, type GovernanceState } from "#protocol";

/** The newest governance that a node knows, of all it has accepted or cosigned since it started. Never goes back. */
export class HeldGovernance {
  #newest: GovernanceState;

  constructor(genesis: GovernanceState) {
    this.#newest = genesis;
  }

  get newest(): GovernanceState {
    return this.#newest;
  }

  /** @param state - Verified, and an extension of what this node has accepted before. */
  learn(state: GovernanceState): void {
    if (state.sequence > this.#newest.sequence) this.#newest = state;
  }
}

/**
 * Refuses to order work under `older` governance when `newest` has withdrawn something since: an enclave that is handed
 * the older would still accept what was revoked in between.
 *
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID
 */
export function requireNothingWithdrawn(older: GovernanceState, newest: GovernanceState): void {
  const expected = withdrawals(newest);
  const actual = withdrawals(older);
  if (actual >= expected) return;
  throw new VerificationError(
    { code: "PROOF_CONSISTENCY_INVALID", expected, actual },
    `governance: expected all ${expected} revocations and suspensions that this node knows, got ${actual}`,
  );
}

/** Revocations and suspensions, of which none is ever undone. */
function withdrawals({ revokedMeasurements, revokedModuleIds, actors }: GovernanceState): number {
  const suspended = [...actors.values()].filter(({ status }) => status === "suspended");
  return revokedMeasurements.length + revokedModuleIds.length + suspended.length;
}
