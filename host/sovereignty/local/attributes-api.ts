import type { GovernanceState, LocalAttributeCandidate } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { makeCandidate, type CandidateAsked } from "./candidate.ts";
import { listPool, type PoolPage } from "./list-pool.ts";

/** Columns that map to no canonical attribute. Each call is described at the function that it stands for. */
export interface AttributesApi {
  list(recordScope: string, governance: GovernanceState): Promise<PoolPage>;
  candidate(
    asked: CandidateAsked,
  ): Promise<{ readonly candidate: LocalAttributeCandidate; readonly signed: Uint8Array }>;
}

/** See {@link AttributesApi}. */
export function attributesOf(context: VaultContext): AttributesApi {
  return {
    list: (recordScope, { epoch, semantics }) =>
      listPool(context, { recordScope, epochId: epoch.epochId, semantics }),
    candidate: (asked) => makeCandidate(context, asked),
  };
}
