import { unpad } from "#aggregation";
import {
  DELIVERY,
  EXECUTION_RESULT_BUNDLE,
  SEAL_INFO,
  TASK_ENVELOPE,
  TASK_RESULT,
  VerificationError,
  assertCommitment,
  decryptOnce,
  equalBytes,
  open,
  outcomeAad,
  parseCose,
  sealedOutcomeDigest,
  type BoxKeyPair,
  type GovernanceState,
  type TaskResult,
} from "#protocol";

import { combineKey, type PassedOver } from "./combine-key.ts";

/**
 * Opens a delivered result with the submitter's delivery key.
 *
 * Needs as many good Vault shares as the bundle says, each signed by its Vault for this envelope and outcome; bad ones
 * beside them do no harm.
 * Whether the outcome is to be believed is the evidence bundle's business, not this function's.
 *
 * @throws As `combineKey`.
 * @throws {@link VerificationError} DELIVERY_OPEN_FAILED, PROOF_COMMITMENT_MISMATCH, INTERNAL_OPEN_FAILED
 */
export async function openDelivery(args: {
  readonly delivery: Uint8Array;
  readonly deliveryKey: BoxKeyPair;
  readonly governance: GovernanceState;
  /** Told of each Vault whose share did not help, once the key is found without it. */
  readonly passedOver?: (share: PassedOver) => void;
}): Promise<TaskResult> {
  const delivery = DELIVERY.decode(args.delivery);
  const envelope = TASK_ENVELOPE.decode(delivery.envelope);
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  const bundle = EXECUTION_RESULT_BUNDLE.decode(parseCose(delivery.execution_bundle).payload);
  assertCommitment(bundle.envelope_digest, envelopeDigest, "execution bundle envelope");
  assertCommitment(
    bundle.sealed_digest,
    sealedOutcomeDigest(delivery.ciphertext),
    "result ciphertext",
  );
  const { shares } = delivery;
  const { key, passedOver } = await combineKey({ ...args, shares, bundle, envelopeDigest });
  for (const each of passedOver) args.passedOver?.(each);
  const sealed = decryptOnce(key, outcomeAad(envelopeDigest, bundle.round), delivery.ciphertext);
  const padded = await open({
    key: args.deliveryKey,
    info: SEAL_INFO.result,
    aad: envelopeDigest,
    sealed,
  });
  const result = TASK_RESULT.decode(unpad(padded));
  if (!equalBytes(result.envelope_digest, envelopeDigest)) {
    throw new VerificationError(
      { code: "DELIVERY_OPEN_FAILED" },
      "result: expected the result of this task, got another's",
    );
  }
  return result;
}
