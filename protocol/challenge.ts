import { z } from "zod";

import { bytes32, identifier, natural, unixMs } from "./fields.ts";
import { defineObject } from "./object.ts";

/** What of a task a challenge disputes (SCP part 6, Challenge Scope). */
export const challengeTargetSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("slice"), vault_id: identifier, round: natural }),
  z.strictObject({ kind: z.literal("round"), round: natural }),
  z.strictObject({ kind: z.literal("aggregation") }),
  z.strictObject({ kind: z.literal("composite") }),
]);

/**
 * A challenge, signed by the challenger: a verifier, or governance with one of its keys.
 *
 * Its evidence is what everybody can replay: it names the envelope and the round bundle it disputes by digest and
 * carries no claim of its own but the reason (CH-2).
 */
export const challengeSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  task_id: identifier,
  envelope_digest: bytes32,
  /** Digest of the ExecutionResultBundle in dispute; one of the candidate's. */
  round_bundle: bytes32,
  target: challengeTargetSchema,
  reason: z.string().min(1).max(500),
  /** Actor identifier of a verifier, or `governance`. */
  challenger: identifier,
  bond_minor: natural,
  opened_ms: unixMs,
});

export type Challenge = z.infer<typeof challengeSchema>;
export type ChallengeTarget = z.infer<typeof challengeTargetSchema>;

export const CHALLENGE = defineObject("challenge", challengeSchema, 4 * 1024);

/** The `challenger` of a challenge that a governance key signs. */
export const GOVERNANCE_CHALLENGER = "governance";
