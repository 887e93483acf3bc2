import { z } from "zod";

import {
  actorRole,
  boxPublicKey,
  bytes32,
  bytesUpTo,
  identifier,
  natural,
  unixMs,
  microEpsilon,
  usageScope,
} from "../fields.ts";
import { defineObject } from "../object.ts";
import { actorOwnSchemas, actorGovernedSchemas, challengePenaltySchema } from "./actor-objects.ts";
import { VOTERS_MAX, policySchema, referenceValueSchema } from "./policy.ts";
import { semanticRegistrationSchema } from "../semantics/registration.ts";
import { semanticRegistrySchema } from "../semantics/semantics.ts";

/** A vote, signed. */
export const VOTE_BYTES_MAX = 384;

/** An actor of the network: who it is, what it may do, and the keys it is known by. */
export const actorSchema = z.strictObject({
  actor_id: identifier,
  role: actorRole,
  signing_key: bytes32,
  /** HPKE key that shares are sealed to; null for actors that receive none. */
  box_key: boxPublicKey.nullable(),
  stake_minor: natural,
  status: z.enum(["active", "suspended", "retired"]),
});

/** Code or a model that tasks may name by digest. */
export const artifactSchema = z.strictObject({
  digest: bytes32,
  kind: z.enum(["model", "step_graph"]),
  description: z.string().max(200),
});

/** The founding document of a network. Verifiers pin its digest; nothing in it is signed. */
export const genesisSchema = z.strictObject({
  version: z.literal(1),
  network: identifier,
  simulated: z.boolean(),
  /** Who decides until there are governance actors: by the processes of the policy in force. */
  governance_keys: z.array(bytes32).min(1).max(32),
  coordinator_id: identifier,
  aggregator_id: identifier,
  actors: z.array(actorSchema).min(1).max(1024),
  policy: policySchema,
  semantics: semanticRegistrySchema,
  opened_ms: unixMs,
});

/** What voters decide: at once, or by a proposal, as the process of its kind in the active policy has it. */
export const governedDecisionSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("artifact_registered"), artifact: artifactSchema }),
  /** One more enclave image for tasks of epochs from `from_epoch` on, whatever their policy version. */
  z.strictObject({
    type: z.literal("measurement_accepted"),
    reference_value: referenceValueSchema,
    from_epoch: natural,
  }),
  z.strictObject({
    type: z.literal("measurement_revoked"),
    pcr0: z.string().regex(/^[0-9a-f]{96}$/),
  }),
  z.strictObject({
    type: z.literal("platform_revoked"),
    /** An instance, which revokes all its enclaves, or one enclave, as a document spells it. */
    module_id: z.string().regex(/^i-[0-9a-f]{8,32}(-enc[0-9a-f]{16})?$/),
  }),
  ...actorGovernedSchemas,
  /** Gives each subject back at most this much of what was consumed for a purpose, at the beginning of an epoch (PB-5). */
  z.strictObject({
    type: z.literal("budget_replenished"),
    usage_scope: usageScope,
    epoch_id: natural,
    epsilon_micro: microEpsilon,
  }),
  z.strictObject({
    type: z.literal("semantics_registered"),
    registration: semanticRegistrationSchema,
  }),
  z.strictObject({
    type: z.literal("challenge_resolved"),
    task_id: identifier,
    resolution: z.enum(["approved", "not_confirmed", "closed_without_penalty"]),
    /** Who pays, from its stake: the one at fault when approved, the challenger its bond when not confirmed, unless it is
     * governance; else nobody. */
    penalty: challengePenaltySchema.nullable(),
    reason: z.string().max(500),
  }),
  /** A whole new policy version, which becomes active when its epoch opens (PV-2). */
  z.strictObject({ type: z.literal("policy_announced"), policy: policySchema }),
  /** From this epoch on a deprecated version is valid for nothing, also for tasks admitted under it. */
  z.strictObject({
    type: z.literal("policy_retired"),
    policy_version_id: identifier,
    from_epoch: natural,
  }),
  /** The open epoch is to close as soon as the coordinator can (EP-2). */
  z.strictObject({ type: z.literal("epoch_boundary_requested"), reason: z.string().max(500) }),
  /** From this epoch on the network speaks another version: software that does not know it goes no further. */
  z.strictObject({
    type: z.literal("protocol_upgraded"),
    protocol_version: natural,
    from_epoch: natural,
    /** SHA-256 of the document that says what changes. */
    specification: bytes32,
  }),
]);

/** One entry of the governance log. */
export const governanceStatementSchema = z.strictObject({
  genesis_digest: bytes32,
  sequence: natural,
  previous: bytes32,
  time_ms: unixMs,
  decision: z.discriminatedUnion("type", [
    governedDecisionSchema,
    /** By one voter: puts a decision to the vote (GS-4). The digest of this statement names the proposal. */
    z.strictObject({ type: z.literal("proposal_opened"), decision: governedDecisionSchema }),
    /** By the coordinator, who collects them: the votes that end a proposal, by which it is approved or rejected. */
    z.strictObject({
      type: z.literal("proposal_decided"),
      proposal: bytes32,
      votes: z.array(bytesUpTo(VOTE_BYTES_MAX)).min(1).max(VOTERS_MAX),
    }),
    ...actorOwnSchemas,
    /** Ends an epoch and opens the next. The coordinator's word: it alone knows what its epochs hold. */
    z.strictObject({
      type: z.literal("epoch_closed"),
      epoch_id: natural,
      trigger: z.enum(["time", "volume", "governance"]),
      /** Results that were ready to settle in it. */
      settlements: natural,
    }),
  ]),
});

/** One voter's word on one proposal. Signed with the key of the voter, and final. */
export const governanceVoteSchema = z.strictObject({
  genesis_digest: bytes32,
  /** Digest of the `governance-statement` that opened it. */
  proposal: bytes32,
  vote: z.enum(["approve", "reject"]),
  time_ms: unixMs,
});

/** An entry of the log with the approvals it rests on: COSE_Sign1 of the statement by distinct keys. */
export const governanceEventSchema = z.strictObject({
  approvals: z
    .array(bytesUpTo(64 * 1024))
    .min(1)
    .max(VOTERS_MAX),
});

export type Actor = z.infer<typeof actorSchema>;
export type Artifact = z.infer<typeof artifactSchema>;
export type Genesis = z.infer<typeof genesisSchema>;
export type GovernanceStatement = z.infer<typeof governanceStatementSchema>;
export type GovernanceDecision = GovernanceStatement["decision"];
/** What voters decide. */
export type GovernedDecision = z.infer<typeof governedDecisionSchema>;
export type GovernanceVote = z.infer<typeof governanceVoteSchema>;
export type GovernanceEvent = z.infer<typeof governanceEventSchema>;

export const GENESIS = defineObject("genesis", genesisSchema, 1024 * 1024);
export const GOVERNANCE_STATEMENT = defineObject(
  "governance-statement",
  governanceStatementSchema,
  64 * 1024,
);
export const GOVERNANCE_VOTE = defineObject(
  "governance-vote",
  governanceVoteSchema,
  VOTE_BYTES_MAX,
);
export const GOVERNANCE_EVENT = defineObject(
  "governance-event",
  governanceEventSchema,
  1024 * 1024,
);

/** Origin line of a network's governance log. */
export function governanceOrigin(network: string): string {
  return `symphony.governance/${network}`;
}
