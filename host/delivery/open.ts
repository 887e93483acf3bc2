import { unpad } from "#aggregation";
import {
  DELIVERY,
  DELIVERY_SHARE,
  EXECUTION_RESULT_BUNDLE,
  SEAL_INFO,
  TASK_ENVELOPE,
  TASK_RESULT,
  UnavailableError,
  VerificationError,
  activeActor,
  assertCommitment,
  combineShares,
  decryptOnce,
  equalBytes,
  keyCommitment,
  open,
  outcomeAad,
  parseCose,
  sealedOutcomeDigest,
  type BoxKeyPair,
  type Delivery,
  type ExecutionResultBundle,
  type GovernanceState,
  type TaskResult,
} from "#protocol";

/**
 * Opens a delivered result with the submitter's delivery key.
 *
 * Needs as many Vault shares as the bundle says; each must be signed by its Vault for this envelope and outcome.
 * Whether the outcome is to be believed is the evidence bundle's business, not this function's.
 *
 * @throws {@link UnavailableError} DELIVERY_NOT_READY with too few shares.
 * @throws {@link VerificationError} DELIVERY_OPEN_FAILED, PROOF_COMMITMENT_MISMATCH, INTERNAL_OPEN_FAILED
 */
export async function openDelivery(args: {
  readonly delivery: Uint8Array;
  readonly deliveryKey: BoxKeyPair;
  readonly governance: GovernanceState;
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
  const key = await combineKey({ ...args, delivery, bundle, envelopeDigest });
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

async function combineKey(args: {
  readonly delivery: Delivery;
  readonly bundle: ExecutionResultBundle;
  readonly envelopeDigest: Uint8Array;
  readonly deliveryKey: BoxKeyPair;
  readonly governance: GovernanceState;
}): Promise<Uint8Array> {
  const { bundle, delivery } = args;
  const shares: Uint8Array[] = [];
  for (const { vault_id: vaultId, signed } of delivery.shares) {
    const vault = activeActor(args.governance, vaultId);
    const share = DELIVERY_SHARE.verify(signed, vault.signing_key);
    assertCommitment(share.envelope_digest, args.envelopeDigest, "delivery share envelope");
    assertCommitment(bundle.output_commitment, share.output_commitment, "delivery share outcome");
    shares.push(
      await open({
        key: args.deliveryKey,
        info: SEAL_INFO.deliveryShare,
        aad: args.envelopeDigest,
        sealed: share.sealed_share,
      }),
    );
  }
  if (shares.length < bundle.share_threshold) {
    throw new UnavailableError(
      { code: "DELIVERY_NOT_READY", expected: bundle.share_threshold, actual: shares.length },
      `result: expected shares of ${bundle.share_threshold} Vaults, got ${shares.length}`,
    );
  }
  const key = await combineShares(shares.slice(0, bundle.share_threshold));
  assertCommitment(bundle.key_commitment, keyCommitment(key), "result key");
  return key;
}
