import {
  bytes32,
  bytesOf,
  bytesUpTo,
  decodeCbor,
  hex,
  identifier,
  microEpsilon,
  natural,
  parseWith,
  unixMs,
  usageScope,
} from "#protocol";
import { z } from "zod";

/** Bounds of a sealed order: batches, and bytes of the consent bitmap. protocol/work-order.ts */
export const BATCHES_MAX = 4096;
export const BITMAP_BYTES_MAX = 1024 * 1024;
const PLAN_BYTES_MAX = 2 * 1024 * 1024;

const decisionPlanSchema = z.strictObject({
  grant_id: identifier,
  usage_scope: usageScope,
  record_scope: identifier,
  domain_id: identifier,
  reservation_id: identifier,
  epsilon_micro: microEpsilon,
  rounds: natural,
  tolerance_micro: microEpsilon,
  privacy_class: natural,
  input_commitment: bytes32,
  consent_commitment: bytes32,
  consent_bitmap: bytesUpTo(BITMAP_BYTES_MAX),
  batch_ids: z.array(bytesOf(16)).max(BATCHES_MAX),
  expires_ms: unixMs,
});

/** What the Vault keeps of a request that it admitted. The consent bitmap leaves it only sealed to an enclave. */
export type DecisionPlan = z.infer<typeof decisionPlanSchema>;

/** Reads a stored plan. @throws MalformedError */
export function decodePlan(bytes: Uint8Array): DecisionPlan {
  return parseWith(decisionPlanSchema, decodeCbor(bytes, PLAN_BYTES_MAX), "decision plan");
}

/** Names the reservation of a request. */
export function reservationIdOf(requestDigest: Uint8Array): string {
  return `r-${hex(requestDigest).slice(0, 32)}`;
}
