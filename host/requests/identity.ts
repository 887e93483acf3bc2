import {
  RefusedError,
  activeActor,
  equalBytes,
  hex,
  parseCose,
  type GovernanceState,
  type ProtocolObject,
  type TaskRequest,
} from "#protocol";

/** A request whose submitter has been verified. */
export interface AuthenticRequest {
  readonly request: TaskRequest;
  readonly requestDigest: Uint8Array;
}

/** The largest signed request, bytes. */
const SIGNED_REQUEST_BYTES_MAX = 96 * 1024;

/**
 * The step `identity`: verifies who signed a request, with the key that `governance` has for its actor (AP-1).
 *
 * @param kind - What was signed: a request, or the question what would become of one.
 * @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR, GOVERNANCE_GENESIS_MISMATCH; VerificationError
 * PROOF_SIGNATURE_INVALID; MalformedError and LimitError for its shape.
 */
export function verifyRequest(
  signedRequest: Uint8Array,
  governance: GovernanceState,
  kind: ProtocolObject<TaskRequest>,
): AuthenticRequest {
  const { payload } = parseCose(signedRequest, SIGNED_REQUEST_BYTES_MAX);
  const actor = activeActor(governance, kind.decode(payload).actor_id);
  const request = kind.verify(signedRequest, actor.signing_key);
  if (!equalBytes(request.genesis_digest, governance.genesisDigest)) {
    throw new RefusedError(
      { code: "GOVERNANCE_GENESIS_MISMATCH", field: "genesis_digest" },
      "genesis_digest: expected the digest of this network's genesis, got another",
    );
  }
  return { request, requestDigest: kind.digest(request) };
}

/** The identifier the protocol assigns to the task of a request: from its digest, so equal requests are one task. */
export function taskIdOf(requestDigest: Uint8Array): string {
  return `t-${hex(requestDigest.subarray(0, 16))}`;
}
