import { concat, equalBytes, utf8 } from "./bytes.ts";
import { encodeCbor } from "./cbor.ts";
import { VerificationError } from "./errors.ts";
import { digestOfBytes, hkdf } from "./hash.ts";

/** Commitment that a Vault publishes to its secret 32-byte noise share before dispatch. */
export function shareCommitment(share: Uint8Array): Uint8Array {
  return digestOfBytes("noise-share", share);
}

/** What the noise of one outcome is bound to, besides the shares (design, section 3). */
export interface NoiseBinding {
  readonly envelopeDigest: Uint8Array;
  readonly round: number;
  readonly attempt: number;
  /** Participants in order of Vault identifier. */
  readonly participants: readonly {
    readonly vaultId: string;
    readonly sliceCommitment: Uint8Array;
    readonly consentCommitment: Uint8Array;
    readonly share: Uint8Array;
  }[];
  readonly workload: string;
  readonly policyDigest: Uint8Array;
}

/**
 * Noise key of one outcome: secret as long as one participant keeps its share, replayable from all shares,
 * and different for any other set of slices. 32 bytes.
 */
export function noiseKey(binding: NoiseBinding): Uint8Array {
  const info = encodeCbor({
    envelope: binding.envelopeDigest,
    round: binding.round,
    attempt: binding.attempt,
    participants: binding.participants.map((participant) => ({
      vault: participant.vaultId,
      slice: participant.sliceCommitment,
      consent: participant.consentCommitment,
    })),
    workload: binding.workload,
    policy: binding.policyDigest,
  });
  const shares = concat(...binding.participants.map((participant) => participant.share));
  return hkdf(shares, concat(utf8("symphony/noise-key/v1"), digestOfBytes("noise-binding", info)));
}

/**
 * Commitment to an outcome, hiding it behind a salt derived from a secret key: the same inputs, noise shares and
 * outcome give the same commitment, and nobody without the shares can guess the outcome from it.
 */
export function outputCommitment(key: Uint8Array, padded: Uint8Array): Uint8Array {
  const salt = hkdf(key, utf8("symphony/output-salt/v1"));
  return digestOfBytes("output", concat(salt, padded));
}

/** Commitment to the key a result is sealed under. */
export function keyCommitment(key: Uint8Array): Uint8Array {
  return digestOfBytes("result-key", key);
}

/** Refuses a value that is not what was committed to. @throws VerificationError PROOF_COMMITMENT_MISMATCH */
export function assertCommitment(expected: Uint8Array, actual: Uint8Array, subject: string): void {
  if (!equalBytes(expected, actual)) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", subject },
      `${subject}: expected the committed value, got another`,
    );
  }
}
