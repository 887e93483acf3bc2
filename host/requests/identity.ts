import {
  RefusedError,
  TASK_REQUEST,
  activeActor,
  equalBytes,
  hex,
  parseCose,
  taskKeyOf,
  type GovernanceState,
  type ProtocolObject,
  type TaskEnvelope,
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
  return { request: ofNetwork(request, governance), requestDigest: kind.digest(request) };
}

/**
 * As {@link verifyRequest}, of a task under way: the key is that of the task's epoch, and a submitter that was suspended
 * since has no new tasks, while this one goes on.
 */
export function verifyAdmitted(
  { caller_context: caller, epoch_id: epochId }: TaskEnvelope,
  governance: GovernanceState,
): AuthenticRequest {
  const { signed_request: signed } = caller;
  const { payload } = parseCose(signed, SIGNED_REQUEST_BYTES_MAX);
  const actor = governance.actors.get(TASK_REQUEST.decode(payload).actor_id);
  if (actor === undefined) {
    throw new RefusedError(
      { code: "AUTH_UNKNOWN_ACTOR" },
      "actor: expected an actor of this network",
    );
  }
  const request = TASK_REQUEST.verify(signed, taskKeyOf(actor, signed, epochId));
  return { request: ofNetwork(request, governance), requestDigest: TASK_REQUEST.digest(request) };
}

function ofNetwork(request: TaskRequest, governance: GovernanceState): TaskRequest {
  if (!equalBytes(request.genesis_digest, governance.genesisDigest)) {
    throw new RefusedError(
      { code: "GOVERNANCE_GENESIS_MISMATCH", field: "genesis_digest" },
      "genesis_digest: expected the digest of this network's genesis, got another",
    );
  }
  return request;
}

/** The identifier the protocol assigns to the task of a request: from its digest, so equal requests are one task. */
export function taskIdOf(requestDigest: Uint8Array): string {
  return `t-${hex(requestDigest.subarray(0, 16))}`;
}
