import { z } from "zod";

import { actorRole, boxPublicKey, bytes32, bytesUpTo, identifier, natural } from "../fields.ts";
import { defineObject } from "../object.ts";

/** The largest statement that an actor signs about itself, and the largest signed consumption record, bytes. */
const SIGNED_STATEMENT_BYTES_MAX = 8 * 1024;

/** A checkpoint that its log alone has signed. */
const checkpointNote = z.string().max(2048);

/** What an actor says of itself to be registered, signed with the key it names: so it holds that key. */
export const actorRegistrationSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  actor_id: identifier,
  role: actorRole,
  signing_key: bytes32,
  box_key: boxPublicKey.nullable(),
});

/** An actor's next keys, signed with the next signing key. `previous_key` keeps it from being used twice. */
export const keyRotationSchema = z.strictObject({
  version: z.literal(1),
  genesis_digest: bytes32,
  actor_id: identifier,
  previous_key: bytes32,
  signing_key: bytes32,
  box_key: boxPublicKey.nullable(),
});

/** What governance takes stake for by its own judgement, and what the judgement rests on. */
export const slashingGroundsSchema = z.discriminatedUnion("condition", [
  /** Two heads of one size of one log, both signed by the actor, that no declared restart explains. */
  z.strictObject({
    condition: z.literal("equivocation"),
    checkpoints: z.tuple([checkpointNote, checkpointNote]),
  }),
  /** An executor took work and never delivered. */
  z.strictObject({ condition: z.literal("result_undelivered"), task_id: identifier }),
  /** Evidence of an enclave that was forged or of another enclave; `evidence_digest` names the document. */
  z.strictObject({ condition: z.literal("attestation_invalid"), evidence_digest: bytes32 }),
]);

const signedStatement = bytesUpTo(SIGNED_STATEMENT_BYTES_MAX);
const amountMinor = natural.min(1);

/** Decisions of voters about actors and their stake. */
export const actorGovernedSchemas = [
  z.strictObject({
    type: z.literal("actor_registered"),
    /** COSE_Sign1 of an {@link ACTOR_REGISTRATION} by the key it names. */
    signed_registration: signedStatement,
  }),
  /** Governance's decision, after a loss or a theft of the key. */
  z.strictObject({
    type: z.literal("actor_key_replaced"),
    actor_id: identifier,
    signed_rotation: signedStatement,
    /** The last epoch for whose tasks the replaced key counts; null for none at all. */
    previous_until_epoch: natural.nullable(),
  }),
  z.strictObject({
    type: z.literal("actor_role_changed"),
    actor_id: identifier,
    role: actorRole,
  }),
  z.strictObject({ type: z.literal("actor_suspended"), actor_id: identifier }),
  z.strictObject({ type: z.literal("actor_reinstated"), actor_id: identifier }),
  /** For good: its names and keys are never used again, and its stake unbonds. */
  z.strictObject({ type: z.literal("actor_retired"), actor_id: identifier }),
  /** That stake has arrived; `reference` is the rail's, and counts once. */
  z.strictObject({
    type: z.literal("stake_deposited"),
    actor_id: identifier,
    amount_minor: amountMinor,
    reference: identifier,
  }),
  /** That stake has been paid back; `reference` is the rail's, and counts once. */
  z.strictObject({
    type: z.literal("stake_withdrawn"),
    actor_id: identifier,
    amount_minor: amountMinor,
    reference: identifier,
  }),
  z.strictObject({
    type: z.literal("actor_slashed"),
    actor_id: identifier,
    amount_minor: amountMinor,
    grounds: slashingGroundsSchema,
  }),
] as const;

/** Decisions about an actor that its own signature or the coordinator's alone makes. */
export const actorOwnSchemas = [
  /** The actor's own decision, by the key it gives up, which stays good for tasks of epochs up to the open one. */
  z.strictObject({
    type: z.literal("actor_key_rotated"),
    actor_id: identifier,
    /** COSE_Sign1 of a {@link KEY_ROTATION} by the next key. */
    signed_rotation: signedStatement,
  }),
  /** The actor's own decision to take stake out. */
  z.strictObject({
    type: z.literal("unbonding_started"),
    actor_id: identifier,
    amount_minor: amountMinor,
  }),
  /**
   * The coordinator's word that a Vault consumed more than it had reserved, which the Vault's own record proves (PB-3).
   * Costs what the policy version asks for a violation.
   */
  z.strictObject({
    type: z.literal("violation_proven"),
    actor_id: identifier,
    policy_version_id: identifier,
    /** COSE_Sign1 of a flagged consumption record. */
    signed_record: signedStatement,
  }),
] as const;

/** Stake that a resolved challenge takes from whom. */
export const challengePenaltySchema = z.strictObject({
  actor_id: identifier,
  amount_minor: natural,
});

export type ActorRegistration = z.infer<typeof actorRegistrationSchema>;
export type KeyRotation = z.infer<typeof keyRotationSchema>;
export type ChallengePenalty = z.infer<typeof challengePenaltySchema>;
export type ActorDecision = z.infer<
  (typeof actorGovernedSchemas)[number] | (typeof actorOwnSchemas)[number]
>;

export const ACTOR_REGISTRATION = defineObject(
  "actor-registration",
  actorRegistrationSchema,
  SIGNED_STATEMENT_BYTES_MAX,
);
export const KEY_ROTATION = defineObject(
  "key-rotation",
  keyRotationSchema,
  SIGNED_STATEMENT_BYTES_MAX,
);
