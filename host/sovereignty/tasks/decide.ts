import {
  RefusedError,
  VAULT_DECISION,
  bytes32,
  bytesOf,
  bytesUpTo,
  decodeCbor,
  encodeCbor,
  hex,
  hmacSha256,
  identifier,
  inputCommitment,
  microEpsilon,
  natural,
  parseWith,
  shareCommitment,
  unixMs,
  usageScope,
  type GovernanceState,
  type SemanticResolution,
  type VaultDecision,
} from "#protocol";
import { z } from "zod";

import { findGrant } from "../access/grants.ts";
import { batchesOf, decisionOf, findRecord, type StoredBatch, type Writing } from "../queries.ts";
import {
  requireAdmissible,
  requireDeliveryKey,
  roundsOfRequest,
  taskIdOf,
  verifyRequest,
  type AuthenticRequest,
} from "./request-rules.ts";
import { endOverdue, reserveBudget } from "../ledger/reservations.ts";
import { ordinalsOf, setBit, subjectSetOf, type SubjectSet } from "../ledger/subject-set.ts";
import type { VaultContext } from "../vault-context.ts";

/** Bounds of a sealed order: batches, and bytes of the consent bitmap. protocol/work-order.ts */
const BATCHES_MAX = 4096;
const BITMAP_BYTES_MAX = 1024 * 1024;
const PLAN_BYTES_MAX = 2 * 1024 * 1024;

const decisionPlanSchema = z.strictObject({
  grant_id: identifier,
  usage_scope: usageScope,
  record_scope: identifier,
  domain_id: identifier,
  reservation_id: identifier,
  epsilon_micro: microEpsilon,
  rounds: natural,
  tolerance_micro: microEpsilon,
  privacy_class: natural,
  input_commitment: bytes32,
  consent_commitment: bytes32,
  consent_bitmap: bytesUpTo(BITMAP_BYTES_MAX),
  batch_ids: z.array(bytesOf(16)).max(BATCHES_MAX),
  expires_ms: unixMs,
});

/** What the Vault keeps of a request that it admitted. The consent bitmap leaves it only sealed to an enclave. */
export type DecisionPlan = z.infer<typeof decisionPlanSchema>;

/** Reads a stored plan. @throws MalformedError */
export function decodePlan(bytes: Uint8Array): DecisionPlan {
  return parseWith(decisionPlanSchema, decodeCbor(bytes, PLAN_BYTES_MAX), "decision plan");
}

/** Names the reservation of a request. */
export function reservationIdOf(requestDigest: Uint8Array): string {
  return `r-${hex(requestDigest).slice(0, 32)}`;
}

/**
 * Decides on a request by this Vault's own rules and reserves its budget (AP-1, AP-2, AP-4, DS-7).
 *
 * Asked again for the same request it gives the same bytes. Unknown subject, consent that is missing, withdrawn or
 * expired, too few subjects and exhausted budget all give one decision, `POLICY_DECLINED`. The subjects charged and
 * asked are all consenting ones of the record scope, before any predicate; for `parse`, whose the record is. A record
 * scope of more rows than the class takes is declined the same way.
 *
 * @returns A signed VaultDecision. Decision, reservation and events are durable.
 * @throws RefusedError, VerificationError, LimitError or MalformedError as `verifyRequest` and `requireAdmissible`,
 * for reasons that depend on no data subject.
 */
export async function decide(
  context: VaultContext,
  signedRequest: Uint8Array,
  governance: GovernanceState,
): Promise<Uint8Array> {
  const authentic = verifyRequest(signedRequest, governance);
  const { request, requestDigest } = authentic;
  const known = await decisionOf(context.store.db, requestDigest);
  if (known !== undefined) return known.signed;
  const { vaultId } = context;
  const nowMs = context.nowMs();
  const resolution = requireAdmissible(request, governance, { vaultId, nowMs });
  await requireDeliveryKey(request);
  return await context.store.write(async (trx) => {
    const meanwhile = await decisionOf(trx, requestDigest);
    if (meanwhile !== undefined) return meanwhile.signed;
    await endOverdue(context, trx);
    const judged = await judge(context, trx, { authentic, resolution, governance, nowMs });
    return await record(context, trx, { authentic, judged, resolution, nowMs });
  });
}

type Judgement =
  | { readonly code: "AUTH_GRANT_MISSING" | "POLICY_DECLINED"; readonly grantId: string | null }
  | Admitted;

interface Admitted {
  readonly plan: DecisionPlan;
  readonly subjects: SubjectSet;
}

interface Judging {
  readonly authentic: AuthenticRequest;
  readonly resolution: SemanticResolution;
  readonly governance: GovernanceState;
  readonly nowMs: number;
}

async function judge(context: VaultContext, trx: Writing, args: Judging): Promise<Judgement> {
  const { authentic, resolution, governance, nowMs } = args;
  const { request, requestDigest } = authentic;
  const domainId = resolution.record_scope.domain_id;
  const grantId = await findGrant(trx, { request, domainId, nowMs });
  if (grantId === undefined) return { code: "AUTH_GRANT_MISSING", grantId: null };
  const selection = await select(context, trx, args);
  const { privacy } = governance.policy;
  const rounds = roundsOfRequest(request);
  const budget = privacy.budgets.find((each) => each.usage_scope === request.usage_scope);
  const fits = context.books.ledger.fits({
    usageScope: request.usage_scope,
    subjects: selection.subjects,
    epsilonMicro: request.epsilon_micro,
    allowanceMicro: budget?.epsilon_micro ?? 0,
  });
  if (!selection.enough || !fits) return { code: "POLICY_DECLINED", grantId };
  const { admission } = governance.policy;
  const plan: DecisionPlan = {
    grant_id: grantId,
    usage_scope: request.usage_scope,
    record_scope: request.record_scope,
    domain_id: domainId,
    reservation_id: reservationIdOf(requestDigest),
    epsilon_micro: request.epsilon_micro,
    rounds,
    tolerance_micro: privacy.tolerance_micro,
    privacy_class: resolution.combined_privacy_class,
    input_commitment: inputCommitment(selection.batches.map((batch) => batch.root)),
    consent_commitment: hmacSha256(context.secrets.consentKey(requestDigest), selection.bitmap),
    consent_bitmap: selection.bitmap,
    batch_ids: selection.batches.map((batch) => batch.batch_id),
    expires_ms: nowMs + admission.resolving_timeout_ms + request.task_timeout_ms,
  };
  return { plan, subjects: selection.subjects };
}

/** The input of a task: batches in order, whose rows may be used, and the subjects behind those. */
interface Selection {
  readonly batches: readonly StoredBatch[];
  readonly bitmap: Uint8Array;
  readonly subjects: SubjectSet;
  readonly enough: boolean;
}

async function select(context: VaultContext, trx: Writing, args: Judging): Promise<Selection> {
  const { parameters, record_scope, usage_scope } = args.authentic.request;
  const isGranted = (ordinal: number): boolean =>
    context.books.consents.stateOf(usage_scope, ordinal, args.nowMs) === "granted";
  if (parameters.task_class === "parse") {
    return selectRecord(
      await findRecord(trx, record_scope, parameters.record_commitment),
      isGranted,
    );
  }
  const batches = await batchesOf(trx, record_scope);
  const rows = batches.reduce((sum, batch) => sum + batch.record_count, 0);
  const bitmap = new Uint8Array(Math.ceil(rows / 8));
  if (batches.length > BATCHES_MAX || bitmap.length > BITMAP_BYTES_MAX) throw tooMuch(record_scope);
  const consenting = new Set<number>();
  let row = 0;
  for (const batch of batches) {
    for (const ordinal of ordinalsOf(batch.ordinals)) {
      if (isGranted(ordinal)) {
        setBit(bitmap, row);
        consenting.add(ordinal);
      }
      row += 1;
    }
  }
  const subjects = subjectSetOf(consenting);
  const least = Math.max(1, args.governance.policy.privacy.minimum_local_cardinality);
  // An enclave pads its output to the class' bound, so more rows than that could not run.
  const rowsMax = args.governance.policy.classes[parameters.task_class].rows_max;
  return { batches, bitmap, subjects, enough: subjects.size >= least && rows <= rowsMax };
}

function selectRecord(
  found: { readonly batch: StoredBatch; readonly row: number } | undefined,
  isGranted: (ordinal: number) => boolean,
): Selection {
  const none = {
    batches: [],
    bitmap: new Uint8Array(0),
    subjects: subjectSetOf([]),
    enough: false,
  };
  if (found === undefined) return none;
  const { batch, row } = found;
  const ordinal = ordinalsOf(batch.ordinals)[row];
  if (ordinal === undefined || !isGranted(ordinal)) return none;
  const bitmap = new Uint8Array(Math.ceil(batch.record_count / 8));
  setBit(bitmap, row);
  return { batches: [batch], bitmap, subjects: subjectSetOf([ordinal]), enough: true };
}

interface Recording {
  readonly authentic: AuthenticRequest;
  readonly judged: Judgement;
  readonly resolution: SemanticResolution;
  readonly nowMs: number;
}

/** Signs the decision and makes it, its reservation and its events durable in the caller's transaction. */
async function record(context: VaultContext, trx: Writing, args: Recording): Promise<Uint8Array> {
  const { authentic, judged, nowMs } = args;
  const { request, requestDigest } = authentic;
  const taskId = taskIdOf(requestDigest);
  const decision: VaultDecision = {
    version: 1,
    request_digest: requestDigest,
    vault_id: context.vaultId,
    outcome:
      "code" in judged
        ? { decision: "declined", code: judged.code }
        : reservedOutcome(context, requestDigest, judged.plan),
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
    })
    .execute();
  if (!("code" in judged)) await reserve(context, trx, { ...judged, taskId });
  return signed;
}

async function reserve(
  context: VaultContext,
  trx: Writing,
  { plan, subjects, taskId }: Admitted & { readonly taskId: string },
): Promise<void> {
  await reserveBudget(context, trx, {
    reservationId: plan.reservation_id,
    taskId,
    recordScope: plan.record_scope,
    usageScope: plan.usage_scope,
    privacyClass: plan.privacy_class,
    subjects,
    epsilonMicro: plan.epsilon_micro,
    expiresMs: plan.expires_ms,
    consentCommitment: plan.consent_commitment,
    inputCommitment: plan.input_commitment,
  });
}

function reservedOutcome(
  context: VaultContext,
  requestDigest: Uint8Array,
  plan: DecisionPlan,
): VaultDecision["outcome"] {
  return {
    decision: "reserved",
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

function tooMuch(recordScope: string): RefusedError {
  return new RefusedError(
    { code: "POLICY_LIMIT_EXCEEDED", record_scope: recordScope },
    `record scope ${recordScope}: expected at most ${BATCHES_MAX} batches and ${BITMAP_BYTES_MAX * 8} records`,
  );
}
