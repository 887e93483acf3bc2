import { z } from "zod";

import { bytes32, identifier, microEpsilon, unixMs } from "./fields.ts";
import { defineObject } from "./object.ts";

/**
 * One Vault's answer to a request, signed by the Vault.
 *
 * A refusal carries one code for every reason that depends on data subjects: unknown subject, no consent and
 * exhausted budget answer with identical bytes (design, section 2.2).
 */
export const vaultDecisionSchema = z.strictObject({
  version: z.literal(1),
  request_digest: bytes32,
  vault_id: identifier,
  outcome: z.discriminatedUnion("decision", [
    z.strictObject({
      decision: z.literal("declined"),
      code: z.enum(["AUTH_GRANT_MISSING", "POLICY_DECLINED"]),
    }),
    z.strictObject({
      decision: z.literal("reserved"),
      /** The active version it was judged by, and the only one that the task can be bound to (GS-6). */
      policy_version: identifier,
      grant_id: identifier,
      consent_commitment: bytes32,
      input_commitment: bytes32,
      reservation_id: identifier,
      epsilon_micro: microEpsilon,
      /** One commitment to a secret noise share for each round, in order. */
      share_commitments: z.array(bytes32).min(1).max(100),
      expires_ms: unixMs,
    }),
  ]),
});

export type VaultDecision = z.infer<typeof vaultDecisionSchema>;

export const VAULT_DECISION = defineObject("vault-decision", vaultDecisionSchema, 16 * 1024);
