import {
  CONSUMPTION_RECORD,
  ConflictError,
  EXECUTION_RESULT_BUNDLE,
  TASK_ENVELOPE,
  VerificationError,
  concat,
  equalBytes,
  parseCose,
  type ConsumptionRecord,
  type ExecutionResultBundle,
  type TaskEnvelope,
} from "#protocol";

import { decodePlan, type DecisionPlan } from "./decision-plan.ts";
import { requireSameEnvelope } from "./dispatch.ts";
import { decisionOf, executionsOf, settledOf, type Writing } from "../queries.ts";
import {
  commitReservation,
  estimateMicro,
  releaseReservation,
  type LogPosition,
} from "../ledger/reservations.ts";
import type { VaultContext } from "../vault-context.ts";

const BUNDLE_BYTES_MAX = 128 * 1024;
const BUNDLES_MAX = 100;

type Execution = Awaited<ReturnType<typeof executionsOf>>[number];

/** A round's bundle that this Vault has verified and is part of. */
interface OwnRound {
  readonly bundle: ExecutionResultBundle;
  readonly digest: Uint8Array;
  readonly epsilonMicro: number;
}

/**
 * Commits what a task really consumed and signs it (PB-3): each round that began at what its verified bundle says of
 * this Vault's slice, or at its estimate when there is no such bundle. Asked again it gives the same bytes.
 *
 * @param signedBundles - One for each round, in any order; empty when the task failed.
 * @returns A signed ConsumptionRecord; the ledger commit is durable.
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID for a bundle that the recorded enclave did not sign;
 * PROOF_COMMITMENT_MISMATCH for one over another order of this Vault; EXECUTION_ORDER_MISMATCH for another envelope.
 * @throws {@link ConflictError} PRIVACY_BUDGET_UNKNOWN_RESERVATION for a task that this Vault did not admit.
 */
export async function settle(
  context: VaultContext,
  envelope: TaskEnvelope,
  signedBundles: readonly Uint8Array[],
): Promise<Uint8Array> {
  const requestDigest = envelope.caller_context.request_digest;
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  return await context.store.write(async (trx) => {
    const settled = await settledOf(trx, requestDigest);
    if (settled !== undefined) {
      requireSameEnvelope(envelopeDigest, settled.envelope_digest);
      return settled.record;
    }
    const plan = await requirePlan(context, trx, envelope);
    const executions = await executionsOf(trx, requestDigest);
    for (const each of executions) requireSameEnvelope(envelopeDigest, each.envelope_digest);
    const { executed } = await context.books.reservation(trx, plan.reservation_id);
    const rounds = executions.map((execution) => ({
      execution,
      own: ownRound(context, { execution, envelope, signedBundles }),
    }));
    const actualMicro = rounds.reduce(
      (sum, { execution, own }) => sum + (own?.epsilonMicro ?? executed.get(execution.round) ?? 0),
      0,
    );
    const overrun = rounds.some(
      ({ execution, own }) =>
        (own?.epsilonMicro ?? 0) > (executed.get(execution.round) ?? 0) + plan.tolerance_micro,
    );
    const charge = { plan, envelope, envelopeDigest, actualMicro, overrun };
    const record = await commit(context, trx, charge);
    const owned = rounds.flatMap(({ own }) => (own === undefined ? [] : [own]));
    const final = owned.find(({ bundle }) => bundle.final);
    const signed = CONSUMPTION_RECORD.sign(record, context.signingKey);
    await trx
      .insertInto("settled")
      .values({
        request_digest: requestDigest,
        envelope_digest: envelopeDigest,
        record: signed,
        record_digest: CONSUMPTION_RECORD.digest(record),
        output_commitment: final?.bundle.output_commitment ?? null,
        bundles: concat(...owned.map(({ digest }) => digest)),
        at_ms: context.nowMs(),
      })
      .execute();
    return signed;
  });
}

/**
 * The task ended without a result: gives back what never executed, commits the estimate of what did (PB-4). Does
 * nothing when the reservation has ended or never was.
 */
export async function abort(
  context: VaultContext,
  args: { readonly envelopeDigest: Uint8Array; readonly requestDigest: Uint8Array },
): Promise<void> {
  await context.store.write(async (trx) => {
    const decided = await decisionOf(trx, args.requestDigest);
    if (decided?.plan === undefined || decided.plan === null) return;
    const { reservation_id: reservationId } = decodePlan(decided.plan);
    const reservation = await context.books.reservation(trx, reservationId);
    const { state } = reservation;
    if (state === "reserved") {
      await releaseReservation(context, trx, { reservationId, reason: "aborted" });
    }
    if (state === "executing") {
      const epsilonMicro = estimateMicro(reservation);
      const rest = { epochId: null, flagged: false, reason: "aborted" } as const;
      await commitReservation(context, trx, { reservationId, epsilonMicro, ...rest });
    }
  });
}

/**
 * Verifies the bundle of a round that this Vault took part in: signed by the enclave that its order named, for this
 * envelope, round and attempt, over this Vault's own order.
 *
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID, PROOF_COMMITMENT_MISMATCH
 * @throws {@link ConflictError} PRIVACY_BUDGET_STATE_CONFLICT when the round did not begin here.
 */
export async function verifyRound(
  context: VaultContext,
  envelope: TaskEnvelope,
  signedBundle: Uint8Array,
): Promise<ExecutionResultBundle> {
  const { round } = claimedBundle(signedBundle);
  const executions = await executionsOf(context.store.db, envelope.caller_context.request_digest);
  const execution = executions.find((each) => each.round === round);
  if (execution === undefined) {
    throw new ConflictError(
      { code: "PRIVACY_BUDGET_STATE_CONFLICT", round },
      `round ${round}: expected one that began in this Vault`,
    );
  }
  requireSameEnvelope(TASK_ENVELOPE.digest(envelope), execution.envelope_digest);
  const own = verifyOwnRound(context, execution, envelope, signedBundle);
  if (own === undefined) throw mismatch("slices", "this Vault among them");
  return own.bundle;
}

function ownRound(
  context: VaultContext,
  args: {
    readonly execution: Execution;
    readonly envelope: TaskEnvelope;
    readonly signedBundles: readonly Uint8Array[];
  },
): OwnRound | undefined {
  const { execution, envelope, signedBundles } = args;
  const signed = signedBundles.slice(0, BUNDLES_MAX).find((each) => {
    const claimed = claimedBundle(each);
    return claimed.round === execution.round && claimed.attempt === execution.attempt;
  });
  return signed === undefined ? undefined : verifyOwnRound(context, execution, envelope, signed);
}

/** The verified bundle of a round; undefined when the round closed without this Vault's slice. */
function verifyOwnRound(
  { vaultId }: VaultContext,
  execution: Execution,
  envelope: TaskEnvelope,
  signed: Uint8Array,
): OwnRound | undefined {
  const bundle = EXECUTION_RESULT_BUNDLE.verify(signed, execution.result_signing_key);
  const { envelope_digest, executor_manifest, order_digest, round, attempt } = execution;
  const last = (envelope.iteration_policy?.maximum_rounds ?? 1) - 1;
  requireBytes("envelope_digest", bundle.envelope_digest, envelope_digest);
  requireBytes("enclave_manifest", bundle.enclave_manifest, executor_manifest);
  if (bundle.round !== round || bundle.attempt !== attempt) throw mismatch("round", `${round}`);
  if (bundle.final !== (round === last)) throw mismatch("final", `it in round ${last} alone`);
  const [slice] = bundle.slices.filter((each) => each.vault_id === vaultId);
  if (slice === undefined) return undefined;
  requireBytes("order_digest", slice.order_digest, order_digest);
  const digest = EXECUTION_RESULT_BUNDLE.digest(bundle);
  return { bundle, digest, epsilonMicro: slice.epsilon_micro };
}

async function commit(
  context: VaultContext,
  trx: Writing,
  args: {
    readonly plan: DecisionPlan;
    readonly envelope: TaskEnvelope;
    readonly envelopeDigest: Uint8Array;
    readonly actualMicro: number;
    /** Whether a round consumed more than its own part, beyond tolerance. */
    readonly overrun: boolean;
  },
): Promise<ConsumptionRecord> {
  const { plan, envelope, actualMicro } = args;
  const reservationId = plan.reservation_id;
  const before = await context.books.reservation(trx, reservationId);
  const boundMicro = before.reservedMicro + plan.tolerance_micro;
  const flagged = actualMicro > boundMicro || args.overrun;
  const reason = "settled" as const;
  let head: LogPosition = { root: context.log.root(), size: context.log.size };
  if (before.state === "reserved") {
    head = await releaseReservation(context, trx, { reservationId, reason });
  }
  if (before.state === "executing") {
    const rest = { reason, flagged, epochId: envelope.epoch_id, epsilonMicro: actualMicro };
    head = await commitReservation(context, trx, { reservationId, ...rest });
  }
  // What a deadline or an abort has committed stands: the ledger is append-only.
  const { committedMicro } = await context.books.reservation(trx, reservationId);
  if (flagged) {
    const { reservedMicro } = before;
    await flagForReview(context, trx, { envelope, plan, reservedMicro, actualMicro });
  }
  return {
    version: 1,
    envelope_digest: args.envelopeDigest,
    vault_id: context.vaultId,
    record_scope: plan.record_scope,
    usage_scope: plan.usage_scope,
    reservation_id: reservationId,
    consumed_epsilon_micro: committedMicro,
    reserved_epsilon_micro: before.reservedMicro,
    flagged: committedMicro > boundMicro,
    epoch_id: envelope.epoch_id,
    ledger_root: head.root,
    ledger_size: head.size,
  };
}

/** Says to governance and to the operator what a task took beyond tolerance, also when its commit was made before. */
async function flagForReview(
  { log, nowMs }: VaultContext,
  trx: Writing,
  args: {
    readonly envelope: TaskEnvelope;
    readonly plan: DecisionPlan;
    readonly reservedMicro: number;
    readonly actualMicro: number;
  },
): Promise<void> {
  const { envelope, plan } = args;
  const amounts = {
    reservation_id: plan.reservation_id,
    reserved_micro: args.reservedMicro,
    actual_micro: args.actualMicro,
    tolerance_micro: plan.tolerance_micro,
  };
  const taskId = envelope.task_id;
  await trx
    .insertInto("budget_flag")
    .values({ ...amounts, task_id: taskId, at_ms: nowMs() })
    .execute();
  await log.append(trx, { type: "budget.flagged", taskId, body: amounts });
}

async function requirePlan(
  { vaultId }: VaultContext,
  trx: Writing,
  envelope: TaskEnvelope,
): Promise<DecisionPlan> {
  const decided = await decisionOf(trx, envelope.caller_context.request_digest);
  const entry = envelope.authorization_context.find((each) => each.vault_id === vaultId);
  const plan = decided?.plan ?? null;
  const named = entry !== undefined && decided !== undefined && plan !== null;
  if (!named || !equalBytes(entry.decision_digest, decided.decision_digest)) {
    throw new ConflictError(
      { code: "PRIVACY_BUDGET_UNKNOWN_RESERVATION", task_id: envelope.task_id },
      `task ${envelope.task_id}: expected one that this Vault admitted`,
    );
  }
  return decodePlan(plan);
}

/** What an unverified bundle says of its round; only to find the record that it must then verify against. */
function claimedBundle(signed: Uint8Array): ExecutionResultBundle {
  return EXECUTION_RESULT_BUNDLE.decode(parseCose(signed, BUNDLE_BYTES_MAX).payload);
}

function requireBytes(field: string, actual: Uint8Array, expected: Uint8Array): void {
  if (!equalBytes(actual, expected)) throw mismatch(field, "what this Vault's order says");
}

function mismatch(field: string, expected: string): VerificationError {
  return new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", field },
    `result bundle ${field}: expected ${expected}, got another`,
  );
}
