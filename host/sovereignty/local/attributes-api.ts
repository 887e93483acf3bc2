import type {
  ErrorCode,
  GovernanceState,
  LocalAttributeCandidate,
  VaultScopedJudgement,
} from "#protocol";

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
import {
  endShare,
  listShares,
  shareCandidate,
  waitingShares,
  type Share,
  type ShareReference,
  type WaitingShare,
} from "./share.ts";

/** Columns that map to no canonical attribute. Each call is described at the function that it stands for. */
export interface AttributesApi {
  list(recordScope: string, governance: GovernanceState): Promise<PoolPage>;
  candidate(
    asked: CandidateAsked,
  ): Promise<{ readonly candidate: LocalAttributeCandidate; readonly signed: Uint8Array }>;
  /** As `candidate`, and it is let go to the coordinator. */
  share(
    asked: CandidateAsked,
  ): Promise<{ readonly candidate: LocalAttributeCandidate; readonly signed: Uint8Array }>;
  shares(recordScope: string): Promise<readonly Share[]>;
  /** Whether anything may wait for the coordinator; costs nothing. */
  waiting(): boolean;
  waitingShares(): Promise<readonly WaitingShare[]>;
  endShare(reference: ShareReference, code: ErrorCode | null): Promise<void>;
  judgeVaultScoped(args: VaultScopedAsked): Promise<VaultScopedJudgement>;
  promote(args: VaultScopedAsked): Promise<VaultScopedJudgement>;
  retire(name: ColumnName): Promise<void>;
  promoted(recordScope: string): Promise<readonly PromotedColumn[]>;
}

/** See {@link AttributesApi}. */
export function attributesOf(context: VaultContext): AttributesApi {
  // What an earlier process let go may still wait.
  let mayWait = true;
  return {
    list: (recordScope, { epoch, semantics }) =>
      listPool(context, { recordScope, epochId: epoch.epochId, semantics }),
    candidate: (asked) => makeCandidate(context, asked),
    share: async (asked) => {
      const made = await shareCandidate(context, asked);
      mayWait = true;
      return made;
    },
    shares: (recordScope) => listShares(context, recordScope),
    waiting: () => mayWait,
    waitingShares: async () => {
      mayWait = false;
      let isKnown = false;
      try {
        const shares = await waitingShares(context);
        isKnown = shares.length === 0;
        return shares;
      } finally {
        if (!isKnown) mayWait = true;
      }
    },
    endShare: (reference, code) => endShare(context, reference, code),
    judgeVaultScoped: (args) => judgeColumn(context, args),
    promote: (args) => promoteColumn(context, args),
    retire: (name) => retireColumn(context, name),
    promoted: (recordScope) => promotedColumns(context, recordScope),
  };
}
