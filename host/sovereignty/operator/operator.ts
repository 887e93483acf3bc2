import { listGrants, type GrantFilter, type GrantView } from "../access/list-grants.ts";
import type { VaultContext } from "../vault-context.ts";
import { auditTrail, type AuditFilter, type AuditPage, type AuditTrail } from "./audit.ts";
import { replayAuthorizations, type ReplayReport } from "./replay.ts";

/** What only a Vault's operator asks. Each call is described at the function that it stands for. */
export interface OperatorApi {
  grants(
    filter: GrantFilter,
  ): Promise<{ readonly grants: readonly GrantView[]; readonly next: string | null }>;
  audit(filter: AuditFilter, page: AuditPage): Promise<AuditTrail>;
  replayAuthorizations(): Promise<ReplayReport>;
}

/** See {@link OperatorApi}. */
export function operatorOf(context: VaultContext): OperatorApi {
  return {
    grants: (filter) => listGrants(context, filter),
    audit: (filter, page) => auditTrail(context, filter, page),
    replayAuthorizations: () => replayAuthorizations(context),
  };
}
