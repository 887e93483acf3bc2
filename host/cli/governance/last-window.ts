import {
  SymphonyError,
  fromBase64,
  requireWindow,
  verifyCandidate,
  type CandidateWindow,
  type GovernanceState,
} from "#protocol";

import type { CandidatesView } from "../../http/candidate-views.ts";

/** A candidate that its Vault still stands by. */
export interface StandingCandidate {
  readonly domainId: string;
  readonly window: CandidateWindow;
  /** COSE_Sign1 of a `local-attribute-candidate`. */
  readonly signed: Uint8Array;
}

/**
 * Those of the newest window, which is one of their domain's unless `exception` allows another. Left out is what a Vault
 * handed in about epochs of its own choice, and what no active Vault has signed with its present key: it would have all
 * the others refused.
 */
export function ofLastWindow(
  state: GovernanceState,
  candidates: CandidatesView["candidates"],
  exception: string | null,
): readonly StandingCandidate[] {
  const standing = candidates
    .flatMap(({ signed }) => standingOf(state, fromBase64(signed), exception))
    .toSorted((a, b) => b.window.last_epoch - a.window.last_epoch);
  const newest = standing[0]?.window;
  return standing.filter(
    ({ window }) =>
      window.first_epoch === newest?.first_epoch && window.last_epoch === newest.last_epoch,
  );
}

function standingOf(
  state: GovernanceState,
  signed: Uint8Array,
  exception: string | null,
): StandingCandidate[] {
  try {
    const candidate = verifyCandidate(state, signed);
    const { domain_id: domainId, attribute_id: attributeId, window } = candidate;
    requireWindow(state, window, { domainId, attributeId, exception });
    return [{ domainId, window, signed }];
  } catch (error) {
    if (error instanceof SymphonyError) return [];
    throw error;
  }
}
