import type { GovernanceState } from "#protocol";

import {
  declines,
  ledgerStatement,
  subjectStatement,
  type DeclineLine,
  type LedgerLine,
  type LedgerSelection,
  type Page,
  type SubjectStatement,
} from "../ledger/statements.ts";
import type { VaultContext } from "../vault-context.ts";
import { dryRun, type DraftRequest, type DryRun } from "./dry-run.ts";

/** The privacy budget as the operator sees it; each call is described at the function that it stands for. */
export interface LedgerApi {
  statement(args: Page & LedgerSelection): Promise<LedgerLine[]>;
  subjectStatement(args: Page & { readonly subject: string }): Promise<SubjectStatement>;
  declines(page: Page): Promise<DeclineLine[]>;
  dryRun(draft: DraftRequest, governance: GovernanceState): Promise<DryRun>;
}

export function ledgerOf(context: VaultContext): LedgerApi {
  return {
    statement: (args) => ledgerStatement(context, args),
    subjectStatement: (args) => subjectStatement(context, args),
    declines: (page) => declines(context, page),
    dryRun: (draft, governance) => dryRun(context, draft, governance),
  };
}
