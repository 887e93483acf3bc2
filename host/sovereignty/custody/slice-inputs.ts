import {
  ConflictError,
  TASK_ENVELOPE,
  UnavailableError,
  equalBytes,
  type GovernanceState,
  type TaskEnvelope,
} from "#protocol";

import {
  decisionOf,
  executionsOf,
  lastExecutingEvent,
  sealedBatches,
  type Reading,
  type SealedBatch,
} from "../queries.ts";
import { decodePlan, type DecisionPlan } from "../tasks/decision-plan.ts";
import type { RoundReference } from "../tasks/dispatch.ts";
import type { VaultContext } from "../vault-context.ts";
import type { WitnessApi } from "../witness/witness.ts";

/** One encrypted batch of a slice, and what its enclave needs to open it. */
export interface ReleasedBatch {
  /** As the header of the sealed batch says it. */
  readonly batchId: Uint8Array;
  /** Still wraps the data key after key custody has released it. Secret. */
  readonly secret: Uint8Array;
  /** Opens the wrapped data key for the enclave alone. @throws as KeyCustody.release */
  release(): Promise<Uint8Array>;
  /** The sealed batch as it is stored. */
  read(): Promise<Uint8Array>;
}

/** Which enclave asks for the inputs of which round. */
export interface SliceInputs {
  readonly envelope: TaskEnvelope;
  readonly reference: RoundReference;
  /** The newest governance that the caller knows. */
  readonly governance: GovernanceState;
  /** Evidence of the enclave that the round's order is for. */
  readonly evidence: Uint8Array;
}

/**
 * Hands `use` the batches of a round that this Vault has begun, and their keys for the enclave that its order names
 * (RT-5). While `use` runs no batch is sealed anew or re-wrapped; nothing that it was handed may be kept for later.
 *
 * Where policy asks for witnesses, a head of the log with the round's `budget.executing` is cosigned before: whoever put
 * an older copy of this Vault back would have to answer for the charge.
 *
 * @throws {@link ConflictError} PRIVACY_BUDGET_STATE_CONFLICT for a round that does not execute here;
 * EXECUTION_INPUT_ERASED; EXECUTION_INPUT_MISMATCH when a batch is gone. {@link UnavailableError} PRIVACY_BUDGET_FROZEN;
 * PRIVACY_BUDGET_UNWITNESSED without a cosigned head.
 */
export async function withSliceInputs<T>(
  { context, witness }: { readonly context: VaultContext; readonly witness: WitnessApi },
  inputs: SliceInputs,
  use: (batches: readonly ReleasedBatch[]) => Promise<T>,
): Promise<T> {
  return await context.gate.use(async () => {
    const { plan, manifestDigest } = await requireExecuting(context, inputs);
    const stored = await requireInputs(context.store.db, plan);
    await requireWitnessed(context, witness, inputs);
    const { governance, evidence: document } = inputs;
    const recipient = { document, manifestDigest, governance };
    return await use(
      stored.map(({ sealed_id, root, protected_key }) => ({
        batchId: sealed_id,
        secret: context.secrets.batchSecret(sealed_id),
        release: () => context.custody.release(protected_key, recipient),
        read: () => context.files.read(sealed_id, root),
      })),
    );
  });
}

/**
 * The batches of an admitted task, whole.
 *
 * @throws {@link ConflictError} EXECUTION_INPUT_ERASED when a row that the task may use was erased since;
 * EXECUTION_INPUT_MISMATCH when a batch is gone.
 */
export async function requireInputs(db: Reading, plan: DecisionPlan): Promise<SealedBatch[]> {
  const stored = await sealedBatches(db, plan.batch_ids);
  if (stored.length !== plan.batch_ids.length) {
    throw new ConflictError(
      { code: "EXECUTION_INPUT_MISMATCH", expected: plan.batch_ids.length, actual: stored.length },
      `inputs: expected ${plan.batch_ids.length} batches, got ${stored.length}`,
    );
  }
  if (!usesErased(plan, stored)) return stored;
  throw new ConflictError(
    { code: "EXECUTION_INPUT_ERASED" },
    "inputs: expected records that are still there, got some that were erased since admission",
  );
}

/** Whether a row that `plan` may use was erased; `stored` are its batches, in order. */
export function usesErased(
  { consent_bitmap: bitmap }: DecisionPlan,
  stored: readonly SealedBatch[],
): boolean {
  let first = 0;
  for (const { erased_rows, record_count } of stored) {
    for (const row of erased_rows) {
      const bit = first + row;
      if (((bitmap[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0) return true;
    }
    first += record_count;
  }
  return false;
}

/** The cosigned head has the last charge of the task, so every charge up to this round's. */
async function requireWitnessed(
  { store }: VaultContext,
  witness: WitnessApi,
  { envelope, governance }: SliceInputs,
): Promise<void> {
  witness.requireConfirmed();
  if (governance.policy.multi_vault.witness_quorum === 0) return;
  const sequence = await lastExecutingEvent(store.db, envelope.task_id);
  if (sequence !== null && witness.covers(sequence + 1)) return;
  throw new UnavailableError(
    { code: "PRIVACY_BUDGET_UNWITNESSED", task_id: envelope.task_id },
    `task ${envelope.task_id}: expected its charge in a head that other Vaults have cosigned`,
  );
}

async function requireExecuting(
  { store, books }: VaultContext,
  { envelope, reference }: SliceInputs,
): Promise<{ readonly plan: DecisionPlan; readonly manifestDigest: Uint8Array }> {
  const requestDigest = envelope.caller_context.request_digest;
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  const decided = await decisionOf(store.db, requestDigest);
  const execution = (await executionsOf(store.db, requestDigest)).find(
    ({ round, attempt, envelope_digest }) =>
      round === reference.round &&
      attempt === reference.attempt &&
      equalBytes(envelope_digest, envelopeDigest),
  );
  const plan =
    decided?.plan === undefined || decided.plan === null ? null : decodePlan(decided.plan);
  const manifestDigest = execution?.enclave_manifest ?? null;
  if (plan !== null && manifestDigest !== null) {
    const { state } = await books.reservation(store.db, plan.reservation_id);
    if (state === "executing") return { plan, manifestDigest };
  }
  throw new ConflictError(
    { code: "PRIVACY_BUDGET_STATE_CONFLICT", task_id: envelope.task_id, round: reference.round },
    `task ${envelope.task_id}, round ${reference.round}: expected a round that executes here`,
  );
}
