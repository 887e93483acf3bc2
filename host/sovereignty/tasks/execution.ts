import {
  MalformedError,
  WORK_ORDER,
  epsilonOfRound,
  shareCommitment,
  type GovernanceState,
  type SliceReference,
  type TaskEnvelope,
  type WorkOrder,
} from "#protocol";

import { requireDispatchable, type Dispatch, type RoundReference } from "./dispatch.ts";
import { requireInputs } from "../custody/slice-inputs.ts";
import { executionsOf } from "../queries.ts";
import { noteOf } from "../ledger/reservations.ts";
import type { VaultContext } from "../vault-context.ts";

/** All that a slice of a task needs. Holds secrets: they leave the Vault only sealed to appraised enclaves. */
export interface SlicePlan {
  readonly reference: SliceReference;
  readonly role: "slice" | "sole";
  readonly inputCommitment: Uint8Array;
  readonly consentCommitment: Uint8Array;
  readonly consentKey: Uint8Array;
  readonly consentBitmap: Uint8Array;
  readonly noiseShare: Uint8Array;
  readonly shareCommitment: Uint8Array;
}

/** See {@link beginExecution}. */
export interface Beginning {
  readonly envelope: TaskEnvelope;
  readonly plan: SlicePlan;
  readonly governance: GovernanceState;
  readonly enclaveManifestDigest: Uint8Array;
  /** Null for a sole enclave, which has no peer. */
  readonly aggregatorManifestDigest: Uint8Array | null;
  /** Key the result bundle will be signed with: the aggregator's, or the sole enclave's. */
  readonly resultSigningKey: Uint8Array;
  /** Output commitment of the round before; null in the first. */
  readonly previousState: Uint8Array | null;
  /** When the order ends, Unix milliseconds. */
  readonly expiresMs: number;
  /** The appraised enclave sessions that the order is for, to judge again before the result leaves. Not read here. */
  readonly sessions: Uint8Array;
}

/**
 * Checks an envelope again and gathers what its slice needs. Changes nothing, so it can be asked for repeatedly.
 *
 * @throws As `requireDispatchable`; `requireInputs`.
 */
export async function prepareSlice(
  context: VaultContext,
  args: {
    readonly envelope: TaskEnvelope;
    readonly governance: GovernanceState;
    readonly reference: RoundReference;
  },
): Promise<SlicePlan> {
  const dispatch = await requireDispatchable(context, context.store.db, args);
  const { requestDigest, plan, round, role } = dispatch;
  await requireInputs(context.store.db, plan);
  const noiseShare = context.secrets.noiseShare({
    requestDigest,
    inputCommitment: plan.input_commitment,
    round,
  });
  return {
    reference: referenceOf(context, dispatch),
    role,
    inputCommitment: plan.input_commitment,
    consentCommitment: plan.consent_commitment,
    consentKey: context.secrets.consentKey(requestDigest),
    consentBitmap: plan.consent_bitmap,
    noiseShare,
    shareCommitment: shareCommitment(noiseShare),
  };
}

/**
 * Records that a round executes and signs the order for it. The ledger entry, its event and the order's identity are
 * durable before this returns, so that nothing can be sealed for an execution that was not charged (PB-4).
 *
 * Everything is checked again inside the write. A round begins once: a second call is refused, also after a crash
 * between the two, since nobody knows then what was sealed.
 *
 * @returns The signed WorkOrder.
 * @throws As `requireDispatchable`, of which PRIVACY_BUDGET_STATE_CONFLICT for a round that has begun; and as
 * `requireInputs`.
 * @throws {@link MalformedError} SCHEMA_MALFORMED for arguments that no order of this role and round has.
 */
export async function beginExecution(context: VaultContext, args: Beginning): Promise<Uint8Array> {
  const { envelope, governance, plan } = args;
  const { round, attempt } = plan.reference;
  return await context.store.write(async (trx) => {
    const reference = { round, attempt };
    const dispatch = await requireDispatchable(context, trx, { envelope, governance, reference });
    requireArguments(context, dispatch, args);
    await requireInputs(trx, dispatch.plan);
    const { reservation_id: reservationId } = dispatch.plan;
    const epsilonMicro = epsilonOfRound(envelope);
    const note = await noteOf(context, trx, { reservationId, epochId: envelope.epoch_id });
    const entry = { kind: "executing", reservationId, round, epsilonMicro } as const;
    await context.books.enter(trx, entry, note);
    const head = await context.log.append(trx, {
      type: "budget.executing",
      taskId: envelope.task_id,
      body: {
        reservation_id: reservationId,
        envelope_digest: dispatch.envelopeDigest,
        request_digest: dispatch.requestDigest,
        grant_id: dispatch.plan.grant_id,
        authorized_ms: dispatch.authorizedMs,
        round,
        attempt,
        epsilon_micro: epsilonMicro,
        enclave_manifest: args.enclaveManifestDigest,
        aggregator_manifest: args.aggregatorManifestDigest,
        input_commitment: dispatch.plan.input_commitment,
        consent_commitment: dispatch.plan.consent_commitment,
      },
    });
    const order = orderOf(context, dispatch, args, head);
    await trx
      .insertInto("execution")
      .values({
        request_digest: dispatch.requestDigest,
        round,
        attempt,
        envelope_digest: dispatch.envelopeDigest,
        order_digest: WORK_ORDER.digest(order),
        enclave_manifest: args.enclaveManifestDigest,
        executor_manifest: args.aggregatorManifestDigest ?? args.enclaveManifestDigest,
        result_signing_key: args.resultSigningKey,
        at_ms: context.nowMs(),
        sessions: args.sessions,
      })
      .execute();
    return WORK_ORDER.sign(order, context.signingKey);
  });
}

/**
 * The sessions of each round of a task that this Vault has begun, in order, as they were given to
 * {@link beginExecution}.
 */
export async function sessionsOf(
  { store }: VaultContext,
  envelope: TaskEnvelope,
): Promise<Uint8Array[]> {
  const executions = await executionsOf(store.db, envelope.caller_context.request_digest);
  return executions.map(({ sessions }) => sessions ?? new Uint8Array(0));
}

function orderOf(
  context: VaultContext,
  dispatch: Dispatch,
  args: Beginning,
  head: { readonly root: Uint8Array; readonly size: number },
): WorkOrder {
  const { envelope, plan, requestDigest, round } = dispatch;
  const inputCommitment = plan.input_commitment;
  const noiseShare = context.secrets.noiseShare({ requestDigest, inputCommitment, round });
  return {
    version: 1,
    ...referenceOf(context, dispatch),
    request_digest: requestDigest,
    genesis_digest: envelope.genesis_digest,
    policy_digest: envelope.policy_digest,
    role: dispatch.role,
    enclave_manifest: args.enclaveManifestDigest,
    aggregator_manifest: args.aggregatorManifestDigest,
    input_commitment: inputCommitment,
    consent_commitment: plan.consent_commitment,
    share_commitment: shareCommitment(noiseShare),
    previous_state: args.previousState,
    ledger_root: head.root,
    ledger_size: head.size,
    governance_size: args.governance.sequence,
    expires_ms: args.expiresMs,
  };
}

function requireArguments({ nowMs }: VaultContext, dispatch: Dispatch, args: Beginning): void {
  if ((args.aggregatorManifestDigest === null) !== (dispatch.role === "sole")) {
    throw malformed("aggregator_manifest", `one for role slice only, got role ${dispatch.role}`);
  }
  if ((args.previousState === null) !== (dispatch.round === 0)) {
    throw malformed("previous_state", `one after round 0 only, got round ${dispatch.round}`);
  }
  if (args.resultSigningKey.length !== 32) throw malformed("result signing key", "32 bytes");
  if (args.expiresMs <= nowMs()) throw malformed("expires_ms", "a time to come");
}

function referenceOf(context: VaultContext, dispatch: Dispatch): SliceReference {
  return {
    envelope_digest: dispatch.envelopeDigest,
    vault_id: context.vaultId,
    round: dispatch.round,
    attempt: dispatch.attempt,
  };
}

function malformed(field: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", field },
    `work order ${field}: expected ${expected}`,
  );
}
