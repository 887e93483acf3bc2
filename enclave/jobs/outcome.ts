import {
  EXECUTION_RESULT_BUNDLE,
  RESULT_BYTES,
  RefusedError,
  SEALED_OUTCOME,
  SEAL_INFO,
  TASK_RESULT,
  encryptOnce,
  encodeState,
  epsilonOfRound,
  keyCommitment,
  outcomeAad,
  outputCommitment,
  seal,
  sealedOutcomeDigest,
  sealedShareDigest,
  splitSecret,
  type ExecutionResultBundle,
  type TaskResult,
} from "#protocol";
import { padTo } from "#aggregation";

import type { BootedEnclave } from "../boot.ts";
import { secretBytes } from "../environment.ts";
import type { VerifiedTask } from "./task.ts";

/** What came out of a round: the result of a task, or the weights the next round starts from. */
export type RoundOutcome = (
  | { readonly kind: "result"; readonly result: TaskResult["result"]; readonly simulated: boolean }
  | { readonly kind: "state"; readonly content: Uint8Array; readonly bytes: number }
) & {
  /** How far the round moved the model; null where no threshold asks for it. */
  readonly modelChangeMicro: number | null;
};

/** A round that is over, and who took part; `slices` are in order of Vault. */
export interface FinishedRound {
  readonly outcome: RoundOutcome;
  readonly noiseKey: Uint8Array;
  readonly platform: ExecutionResultBundle["platform"];
  readonly slices: ExecutionResultBundle["slices"];
  readonly inputState: Uint8Array | null;
}

/** A signed bundle and the sealed outcome beside it, as they leave the enclave. */
export interface SignedOutcome {
  readonly bundle: Uint8Array;
  readonly outcome: Uint8Array;
}

/**
 * Seals a round's outcome so that nobody can open it before settlement, and signs the bundle that commits to it.
 *
 * A result is padded to the size of its class, sealed to the submitter, and encrypted under a fresh key; a state is
 * encrypted under it alone. The key is shared among the participating Vaults, any quorum of which restores it.
 *
 * @throws {@link RefusedError} AUTH_ROLE_REFUSED for a Vault without a key to seal its share to
 * @throws {@link LimitError} SCHEMA_TOO_LARGE when a result does not fit its class
 */
export async function sealOutcome(
  enclave: BootedEnclave,
  task: VerifiedTask,
  round: FinishedRound,
): Promise<SignedOutcome> {
  const { envelope } = task;
  const vaultIds = round.slices.map((slice) => slice.vault_id);
  const partial = vaultIds.length < task.vaultIds.length;
  const content = contentOf(task, round, partial);
  const key = await secretBytes(enclave.environment, 32);
  const ciphertext = encryptOnce(
    key,
    outcomeAad(task.envelopeDigest, task.round),
    await content.sealable(),
  );
  const threshold = envelope.coordination_envelope?.minimum_vault_quorum ?? 1;
  const shares = await sealShares(task, vaultIds, { key, threshold });
  const bundle: ExecutionResultBundle = {
    version: 1,
    envelope_digest: task.envelopeDigest,
    task_class: envelope.task_class,
    round: task.round,
    final: round.outcome.kind === "result",
    attempt: task.attempt,
    platform: round.platform,
    enclave_manifest: enclave.manifestDigest,
    aggregation_method: envelope.coordination_envelope?.aggregation_method ?? "none",
    slices: round.slices,
    partial_coverage: partial,
    input_state: round.inputState,
    model_change_micro: round.outcome.modelChangeMicro,
    output_commitment: outputCommitment(round.noiseKey, content.padded),
    sealed_digest: sealedOutcomeDigest(ciphertext),
    key_commitment: keyCommitment(key),
    share_digests: shares.map(({ vault_id, sealed }) => ({
      vault_id,
      digest: sealedShareDigest(sealed),
    })),
    share_threshold: threshold,
    epsilon_micro: epsilonOfRound(envelope),
  };
  key.fill(0);
  return {
    bundle: EXECUTION_RESULT_BUNDLE.sign(bundle, enclave.signing),
    outcome: SEALED_OUTCOME.encode({ ciphertext, shares }),
  };
}

/** The padded outcome that is committed to, and the bytes that are encrypted for it. */
function contentOf(
  task: VerifiedTask,
  round: FinishedRound,
  partial: boolean,
): { readonly padded: Uint8Array; readonly sealable: () => Promise<Uint8Array> } {
  const { outcome, noiseKey } = round;
  if (outcome.kind === "state") {
    const padded = padTo(outcome.content, outcome.bytes);
    return { padded, sealable: () => Promise.resolve(encodeState(noiseKey, padded)) };
  }
  const { envelope } = task;
  const encoded = TASK_RESULT.encode({
    version: 1,
    envelope_digest: task.envelopeDigest,
    task_class: envelope.task_class,
    simulated: outcome.simulated,
    partial_coverage: partial,
    result: outcome.result,
  });
  const padded = padTo(encoded, RESULT_BYTES[envelope.task_class]);
  const sealable = (): Promise<Uint8Array> =>
    seal({
      to: envelope.delivery_key,
      info: SEAL_INFO.result,
      aad: task.envelopeDigest,
      plaintext: padded,
    });
  return { padded, sealable };
}

async function sealShares(
  task: VerifiedTask,
  vaultIds: readonly string[],
  { key, threshold }: { readonly key: Uint8Array; readonly threshold: number },
): Promise<{ vault_id: string; sealed: Uint8Array }[]> {
  const shares = await splitSecret({ secret: key, shares: vaultIds.length, threshold });
  return Promise.all(
    vaultIds.map(async (vaultId, index) => {
      const share = shares[index] ?? new Uint8Array(0);
      const { box_key: to } = task.vault(vaultId);
      if (to === null) {
        throw new RefusedError(
          { code: "AUTH_ROLE_REFUSED", vault_id: vaultId },
          "vault: expected an actor with a box key, got one without",
        );
      }
      const sealed = await seal({
        to,
        info: SEAL_INFO.resultShare,
        aad: task.envelopeDigest,
        plaintext: share,
      });
      share.fill(0);
      return { vault_id: vaultId, sealed };
    }),
  );
}
