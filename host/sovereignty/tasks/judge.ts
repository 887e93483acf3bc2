import {
  allowanceMicro,
  hmacSha256,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";

import { firstFault, roundsOfRequest } from "../../requests/index.ts";
import { findGrant } from "../access/grants.ts";
import { subjectSetOf, type SubjectSet } from "../ledger/subject-set.ts";
import type { Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { reservationIdOf, type DecisionPlan } from "./decision-plan.ts";
import { select, type Selection, type SelectionFault } from "./selection.ts";

/** Why a request is declined. For the operator: the submitter learns the code alone. */
export type DeclineReason =
  | SelectionFault
  | "grant_missing"
  | "budget_exhausted"
  | "budget_frozen"
  | "record_scope_exhausted";

/** What a request is judged by. */
export interface Judging {
  readonly request: TaskRequest;
  readonly requestDigest: Uint8Array;
  readonly resolution: SemanticResolution;
  readonly governance: GovernanceState;
  readonly nowMs: number;
}

/** The subjects that a request would charge, and how many of them could not pay. */
export interface Charge {
  readonly subjects: SubjectSet;
  readonly records: number;
  readonly exhausted: number;
  readonly frozen: number;
}

/** A request that this Vault admits, before anything is written. */
export interface Admitted {
  readonly plan: DecisionPlan;
  readonly charge: Charge;
}

/** A request that it does not. */
export interface Declined {
  readonly code: "AUTH_GRANT_MISSING" | "POLICY_DECLINED";
  readonly reason: DeclineReason;
  readonly grantId: string | null;
  readonly charge: Charge;
}

export type Judgement = Admitted | Declined;

const NOBODY: Charge = { subjects: subjectSetOf([]), records: 0, exhausted: 0, frozen: 0 };

/**
 * Judges a request by grant, consent and budget. Changes nothing; what overdue reservations hold counts as held.
 *
 * Everything about subjects is found out whatever the outcome, so that the work done says nothing about the reason.
 *
 * @throws As `select`.
 */
export async function judge(
  context: VaultContext,
  trx: Writing,
  args: Judging,
): Promise<Judgement> {
  const { request, resolution, governance, nowMs } = args;
  const domainId = resolution.record_scope.domain_id;
  const grantId = await findGrant(trx, { request, domainId, nowMs });
  if (grantId === undefined) {
    return { code: "AUTH_GRANT_MISSING", reason: "grant_missing", grantId: null, charge: NOBODY };
  }
  const selection = await select(context, trx, { request, governance, nowMs });
  const { shortfall, charge } = priced(context, args, selection);
  const reason = firstFault({ consent: selection.fault, budget: shortfall });
  if (reason !== null) return { code: "POLICY_DECLINED", reason, grantId, charge };
  return { plan: planOf(context, args, { selection, grantId, domainId }), charge };
}

function priced(
  { books }: VaultContext,
  { request, resolution, governance }: Judging,
  { subjects, records }: Selection,
): { readonly shortfall: DeclineReason | null; readonly charge: Charge } {
  const { policy } = governance;
  const privacyClass = resolution.combined_privacy_class;
  const budget = policy.privacy.budgets.find((each) => each.usage_scope === request.usage_scope);
  const { exhausted, frozen, recordScope } = books.ledger.shortfall({
    usageScope: request.usage_scope,
    recordScope: request.record_scope,
    subjects,
    epsilonMicro: request.epsilon_micro,
    allowanceMicro: allowanceMicro(policy, request.usage_scope, privacyClass),
    recordScopeAllowanceMicro: budget?.record_scope_epsilon_micro ?? null,
  });
  const charge = { subjects, records, exhausted, frozen };
  if (frozen > 0) return { shortfall: "budget_frozen", charge };
  if (recordScope) return { shortfall: "record_scope_exhausted", charge };
  return { shortfall: exhausted > 0 ? "budget_exhausted" : null, charge };
}

function planOf(
  { secrets }: VaultContext,
  { request, requestDigest, resolution, governance, nowMs }: Judging,
  args: { readonly selection: Selection; readonly grantId: string; readonly domainId: string },
): DecisionPlan {
  const { selection, grantId, domainId } = args;
  const { admission, privacy } = governance.policy;
  return {
    grant_id: grantId,
    usage_scope: request.usage_scope,
    record_scope: request.record_scope,
    domain_id: domainId,
    reservation_id: reservationIdOf(requestDigest),
    epsilon_micro: request.epsilon_micro,
    rounds: roundsOfRequest(request),
    tolerance_micro: privacy.tolerance_micro,
    privacy_class: resolution.combined_privacy_class,
    input_commitment: selection.inputCommitment,
    consent_commitment: hmacSha256(secrets.consentKey(requestDigest), selection.bitmap),
    consent_bitmap: selection.bitmap,
    batch_ids: selection.batches.map((batch) => batch.batch_id),
    expires_ms: nowMs + admission.resolving_timeout_ms + request.task_timeout_ms,
  };
}
