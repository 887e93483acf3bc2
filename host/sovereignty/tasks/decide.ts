import {
  SEAL_INFO,
  TASK_REQUEST,
  VAULT_DECISION,
  encodeCbor,
  seal,
  shareCommitment,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
  type VaultDecision,
} from "#protocol";

import {
  judgeRequest,
  taskIdOf,
  verifyRequest,
  type AuthenticRequest,
} from "../../requests/index.ts";
import { endOverdue, reserveBudget } from "../ledger/reservations.ts";
import { asPromoted } from "../local/promote.ts";
import { decisionOf, type Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import type { DecisionPlan } from "./decision-plan.ts";
import { judge, type Admitted, type Declined, type Judgement } from "./judge.ts";

/**
 * Decides on a request by this Vault's own rules and reserves its budget (AP-1, AP-2, AP-4, DS-7).
 *
 * Asked again for the same request it gives the same bytes. Unknown subject, consent that is missing, withdrawn or
 * expired, too few subjects and exhausted budget all give one decision, `POLICY_DECLINED`. The subjects charged and
 * asked are all consenting ones of the record scope, before any predicate; for `parse`, whose the record is. A record
 * scope of more rows than the class takes is declined the same way.
 *
 * @returns A signed VaultDecision. Decision, reservation and events are durable.
 * @throws RefusedError, VerificationError, LimitError or MalformedError as `verifyRequest` and `judgeRequest`, for reasons that depend on no data subject.
 */
export async function decide(
  context: VaultContext,
  signedRequest: Uint8Array,
  governance: GovernanceState,
): Promise<Uint8Array> {
  const authentic = verifyRequest(signedRequest, governance, TASK_REQUEST);
  const { requestDigest } = authentic;
  const known = await decisionOf(context.store.db, requestDigest);
  if (known !== undefined) return known.signed;
  const request = await asPromoted(context.store.db, authentic.request);
  const { vaultId } = context;
  const nowMs = context.nowMs();
  const judging = { governance, nowMs, vaultId };
  const first = judgeRequest({ request, ...judging });
  await requireDeliveryKey(request);
  return await context.store.write(async (trx) => {
    const meanwhile = await decisionOf(trx, requestDigest);
    if (meanwhile !== undefined) return meanwhile.signed;
    // What was judged before cost no write; a column that was retired meanwhile is unknown by now.
    const understood = await asPromoted(trx, authentic.request);
    const same = understood.vault_attributes.length === request.vault_attributes.length;
    const resolution = same ? first : judgeRequest({ request: understood, ...judging });
    await endOverdue(context, trx);
    const judged = await judge(context, trx, { ...authentic, resolution, governance, nowMs });
    const policyVersion = governance.policy.policy_version_id;
    return await record(context, trx, { authentic, judged, resolution, policyVersion, nowMs });
  });
}

/**
 * Seals nothing to the request's delivery key, so that a key that takes no result is refused before it costs any budget.
 *
 * @throws MalformedError SCHEMA_MALFORMED
 */
async function requireDeliveryKey({ delivery_key: to }: TaskRequest): Promise<void> {
  const nothing = new Uint8Array(0);
  await seal({ to, info: SEAL_INFO.deliveryShare, aad: nothing, plaintext: nothing });
}

interface Recording {
  readonly authentic: AuthenticRequest;
  readonly judged: Judgement;
  readonly resolution: SemanticResolution;
  readonly policyVersion: string;
  readonly nowMs: number;
}

/** Signs the decision and makes it, its reservation and its events durable in the caller's transaction. */
async function record(context: VaultContext, trx: Writing, args: Recording): Promise<Uint8Array> {
  const { authentic, judged, policyVersion, nowMs } = args;
  const { request, requestDigest } = authentic;
  const taskId = taskIdOf(requestDigest);
  const decision: VaultDecision = {
    version: 1,
    request_digest: requestDigest,
    vault_id: context.vaultId,
    outcome:
      "code" in judged
        ? { decision: "declined", code: judged.code }
        : reservedOutcome(context, { requestDigest, policyVersion, plan: judged.plan }),
  };
  const signed = VAULT_DECISION.sign(decision, context.signingKey);
  const decision_digest = VAULT_DECISION.digest(decision);
  await context.log.append(trx, {
    type: "authorization.decided",
    taskId,
    body: {
      request_digest: requestDigest,
      actor_id: request.actor_id,
      task_class: request.task_class,
      domain_id: args.resolution.record_scope.domain_id,
      record_scope: request.record_scope,
      usage_scope: request.usage_scope,
      policy_version: policyVersion,
      judged_ms: nowMs,
      grant_id: "code" in judged ? judged.grantId : judged.plan.grant_id,
      decision: decision.outcome.decision,
      code: "code" in judged ? judged.code : null,
      decision_digest,
    },
  });
  await trx
    .insertInto("decision")
    .values({
      request_digest: requestDigest,
      task_id: taskId,
      signed,
      decision_digest,
      decided_ms: nowMs,
      plan: "code" in judged ? null : encodeCbor(judged.plan),
      policy_version: policyVersion,
    })
    .execute();
  if ("code" in judged) await keepReason(trx, args, judged);
  else await reserve(context, trx, { ...judged, taskId });
  return signed;
}

/** For the operator alone: not in the log, which auditors read. */
async function keepReason(
  trx: Writing,
  { authentic, nowMs }: Recording,
  { reason, charge }: Declined,
): Promise<void> {
  const { request, requestDigest } = authentic;
  const { actor_id, task_class, record_scope, usage_scope, epsilon_micro } = request;
  await trx
    .insertInto("decline")
    .values({
      ...{ actor_id, task_class, record_scope, usage_scope, epsilon_micro, reason },
      request_digest: requestDigest,
      task_id: taskIdOf(requestDigest),
      subjects: charge.subjects.size,
      exhausted: charge.exhausted,
      frozen: charge.frozen,
      set_digest: charge.subjects.digest,
      at_ms: nowMs,
    })
    .execute();
}

async function reserve(
  context: VaultContext,
  trx: Writing,
  { plan, charge, taskId }: Admitted & { readonly taskId: string },
): Promise<void> {
  await reserveBudget(context, trx, {
    reservationId: plan.reservation_id,
    taskId,
    recordScope: plan.record_scope,
    usageScope: plan.usage_scope,
    privacyClass: plan.privacy_class,
    subjects: charge.subjects,
    epsilonMicro: plan.epsilon_micro,
    expiresMs: plan.expires_ms,
    consentCommitment: plan.consent_commitment,
    inputCommitment: plan.input_commitment,
  });
}

function reservedOutcome(
  context: VaultContext,
  args: {
    readonly requestDigest: Uint8Array;
    readonly policyVersion: string;
    readonly plan: DecisionPlan;
  },
): VaultDecision["outcome"] {
  const { requestDigest, plan } = args;
  return {
    decision: "reserved",
    policy_version: args.policyVersion,
    grant_id: plan.grant_id,
    consent_commitment: plan.consent_commitment,
    input_commitment: plan.input_commitment,
    reservation_id: plan.reservation_id,
    epsilon_micro: plan.epsilon_micro,
    share_commitments: shareCommitmentsOf(context, plan, requestDigest),
    expires_ms: plan.expires_ms,
  };
}

/** Commitments to this Vault's noise shares of a task, one for each round. */
export function shareCommitmentsOf(
  context: VaultContext,
  { rounds, input_commitment: inputCommitment }: DecisionPlan,
  requestDigest: Uint8Array,
): Uint8Array[] {
  return Array.from({ length: rounds }, (_, round) =>
    shareCommitment(context.secrets.noiseShare({ requestDigest, inputCommitment, round })),
  );
}
