import {
  TASK_REQUEST,
  type GovernanceState,
  type SemanticResolution,
  type TaskRequest,
} from "#protocol";
import { judgeRequest, verifyRequest } from "../requests/index.ts";

/** A request whose identity, shape and meaning hold; nothing is reserved yet. */
export interface AdmissionPlan {
  readonly request: TaskRequest;
  readonly signedRequest: Uint8Array;
  readonly requestDigest: Uint8Array;
  readonly resolution: SemanticResolution;
}

/**
 * Judges everything about a request that needs neither a Vault nor the store. Pure: equal input gives an equal plan or an
 * equal rejection (AP-6, AP-9).
 *
 * @throws SymphonyError as `verifyRequest` and `judgeRequest`
 */
export function planAdmission(
  signedRequest: Uint8Array,
  state: GovernanceState,
  nowMs: number,
): AdmissionPlan {
  const { request, requestDigest } = verifyRequest(signedRequest, state, TASK_REQUEST);
  const resolution = judgeRequest({ request, governance: state, nowMs, vaultId: null });
  return { request, signedRequest, requestDigest, resolution };
}
