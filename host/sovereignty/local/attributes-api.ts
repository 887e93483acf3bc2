import {
  judgeVaultScoped,
  type GovernanceState,
  type LocalAttributeCandidate,
  type Precondition,
  type VaultScoped,
} from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { makeCandidate, type CandidateAsked } from "./candidate.ts";
import { lastEpochs, listPool, localIdOf, poolColumns, type PoolPage } from "./list-pool.ts";

/** Columns that map to no canonical attribute. Each call is described at the function that it stands for. */
export interface AttributesApi {
  list(recordScope: string, governance: GovernanceState): Promise<PoolPage>;
  candidate(
    asked: CandidateAsked,
  ): Promise<{ readonly candidate: LocalAttributeCandidate; readonly signed: Uint8Array }>;
  judgeVaultScoped(args: VaultScopedAsked): Promise<readonly Precondition[]>;
}

/** See {@link AttributesApi.judgeVaultScoped}. */
export interface VaultScopedAsked {
  readonly recordScope: string;
  readonly domainId: string;
  readonly column: string;
  readonly declared: VaultScoped;
  readonly governance: GovernanceState;
}

/** See {@link AttributesApi}. */
export function attributesOf(context: VaultContext): AttributesApi {
  return {
    list: (recordScope, { epoch, semantics }) =>
      listPool(context, { recordScope, epochId: epoch.epochId, semantics }),
    candidate: (asked) => makeCandidate(context, asked),
    judgeVaultScoped: (args) => judgeColumn(context, args),
  };
}

/** Judges a column of the pool; one that no source had came in no epoch. */
async function judgeColumn(
  { store, secrets }: VaultContext,
  { recordScope, domainId, column, declared, governance }: VaultScopedAsked,
): Promise<readonly Precondition[]> {
  const columns = await poolColumns(store.db, recordScope, lastEpochs(governance.epoch.epochId));
  const known = columns.find((each) => each.column === column);
  const { vault_scoped_epochs } = governance.policy.semantics.local_attributes;
  const judged = {
    localId: localIdOf(secrets.localColumnId(recordScope, column)),
    domainId,
    epochsPresent: known?.epochsPresent ?? 0,
    epochsRequired: vault_scoped_epochs,
  };
  return judgeVaultScoped(judged, declared);
}
