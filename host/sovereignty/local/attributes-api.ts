import type { GovernanceState, LocalAttributeCandidate, VaultScopedJudgement } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { makeCandidate, type CandidateAsked } from "./candidate.ts";
import { listPool, type PoolPage } from "./list-pool.ts";
import {
  judgeColumn,
  promoteColumn,
  promotedColumns,
  retireColumn,
  type ColumnName,
  type PromotedColumn,
  type VaultScopedAsked,
} from "./promote.ts";

/** Columns that map to no canonical attribute. Each call is described at the function that it stands for. */
export interface AttributesApi {
  list(recordScope: string, governance: GovernanceState): Promise<PoolPage>;
  candidate(
    asked: CandidateAsked,
  ): Promise<{ readonly candidate: LocalAttributeCandidate; readonly signed: Uint8Array }>;
  judgeVaultScoped(args: VaultScopedAsked): Promise<VaultScopedJudgement>;
  promote(args: VaultScopedAsked): Promise<VaultScopedJudgement>;
  retire(name: ColumnName): Promise<void>;
  promoted(recordScope: string): Promise<readonly PromotedColumn[]>;
}

/** See {@link AttributesApi}. */
export function attributesOf(context: VaultContext): AttributesApi {
  return {
    list: (recordScope, { epoch, semantics }) =>
      listPool(context, { recordScope, epochId: epoch.epochId, semantics }),
    candidate: (asked) => makeCandidate(context, asked),
    judgeVaultScoped: (args) => judgeColumn(context, args),
    promote: (args) => promoteColumn(context, args),
    retire: (name) => retireColumn(context, name),
    promoted: (recordScope) => promotedColumns(context, recordScope),
  };
}
