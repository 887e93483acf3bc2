import { concat, utf8 } from "./bytes.ts";
import { encodeCbor } from "./cbor.ts";
import { digestOfBytes, hkdf } from "./hash.ts";

/** `sealed_output_digest` of a slice: over the box as it travels to the aggregator enclave. */
export function sealedOutputDigest(sealed: Uint8Array): Uint8Array {
  return digestOfBytes("sealed-output", sealed);
}

/** `sealed_digest` of a round: over the ciphertext of a {@link SealedOutcome}. */
export function sealedOutcomeDigest(ciphertext: Uint8Array): Uint8Array {
  return digestOfBytes("sealed-outcome", ciphertext);
}

/** `share_digests` of a round: over one sealed share of its key. */
export function sealedShareDigest(sealed: Uint8Array): Uint8Array {
  return digestOfBytes("sealed-share", sealed);
}

/** Associated data of the ciphertext of one round's outcome: the envelope digest, then the round as CBOR. */
export function outcomeAad(envelopeDigest: Uint8Array, round: number): Uint8Array {
  return concat(envelopeDigest, encodeCbor(round));
}

/**
 * Key that salts a slice's output commitment, which the aggregator enclave computes again.
 *
 * The round's token key is in it, because a box says nothing of who sealed it: a host that hands its slice another
 * secret than the aggregator's gives a commitment that does not hold.
 */
export function sliceOutputKey(secrets: {
  readonly noiseShare: Uint8Array;
  readonly tokenKey: Uint8Array;
}): Uint8Array {
  return hkdf(concat(secrets.noiseShare, secrets.tokenKey), utf8("symphony/slice-output/v1"));
}

/**
 * Bytes of a training state as they pass between rounds: the salt of its commitment and the padded state.
 *
 * Holding the salt, whoever opens a state can hold it against `output_commitment` ({@link stateCommitment}) without
 * the noise shares that the salt came from.
 */
export function encodeState(noiseKey: Uint8Array, padded: Uint8Array): Uint8Array {
  return concat(hkdf(noiseKey, utf8("symphony/output-salt/v1")), padded);
}

/** Commitment to a state of {@link encodeState}; equals `outputCommitment(noiseKey, padded)`. */
export function stateCommitment(state: Uint8Array): Uint8Array {
  return digestOfBytes("output", state);
}

/** The padded part of a state of {@link encodeState}. */
export function stateContent(state: Uint8Array): Uint8Array {
  return state.subarray(32);
}
