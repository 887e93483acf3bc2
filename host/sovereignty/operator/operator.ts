import { listGrants, type GrantFilter, type GrantView } from "../access/list-grants.ts";
import { importConsents, type ConsentImport, type ConsentImportReport } from "../consent/import.ts";
import type { VaultContext } from "../vault-context.ts";
import { auditTrail, type AuditFilter, type AuditPage, type AuditTrail } from "./audit.ts";
import { subjectTrail, type SubjectTrail, type SubjectTrailPage } from "./subject-trail.ts";
import { replayAuthorizations, type ReplayReport } from "./replay.ts";

/** What only a Vault's operator asks. Each call is described at the function that it stands for. */
export interface OperatorApi {
  grants(
    filter: GrantFilter,
  ): Promise<{ readonly grants: readonly GrantView[]; readonly next: string | null }>;
  importConsents(args: ConsentImport): Promise<ConsentImportReport>;
  subjectTrail(subject: string, page: SubjectTrailPage): Promise<SubjectTrail>;
  audit(filter: AuditFilter, page: AuditPage): Promise<AuditTrail>;
  replayAuthorizations(): Promise<ReplayReport>;
}

/** See {@link OperatorApi}. */
export function operatorOf(context: VaultContext): OperatorApi {
  return {
    grants: (filter) => listGrants(context, filter),
    importConsents: (args) => importConsents(context, args),
    subjectTrail: (subject, page) => subjectTrail(context, subject, page),
    audit: (filter, page) => auditTrail(context, filter, page),
    replayAuthorizations: () => replayAuthorizations(context),
  };
}
