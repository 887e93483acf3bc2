import { policySchema } from "#protocol";
import { z } from "zod";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const process = policySchema.shape.governance.shape.processes.shape.actor;

/** Governance at a glance: the whole log of the coordinator, and whether enough Vaults have cosigned it. */
export const governanceStateSchema = z.object({
  network: z.string(),
  simulated: z.boolean(),
  genesis_digest: digest,
  sequence: z.int(),
  head: digest,
  cosigned: z.boolean(),
  policy_version: z.string(),
  semantic_version: z.string(),
  epoch: z.object({ epoch_id: z.int(), opened_ms: z.int(), boundary_requested: z.boolean() }),
  voters: z.array(z.object({ voter_id: z.string(), key_id: z.string(), stake_minor: z.int() })),
  processes: policySchema.shape.governance.shape.processes,
  protocol: z.object({
    version: z.int(),
    upgrades: z.array(z.object({ version: z.int(), from_epoch: z.int(), specification: digest })),
  }),
  accepted_measurements: z.array(z.object({ pcr0: z.string(), from_epoch: z.int() })),
  revoked_measurements: z.array(z.string()).readonly(),
  revoked_platforms: z.array(z.string()).readonly(),
});

/** A policy version without its document. */
export const policyVersionSchema = z.object({
  policy_version_id: z.string(),
  predecessor_version_id: z.string().nullable(),
  effective_from_epoch: z.int(),
  status: z.enum(["draft", "active", "deprecated", "retired"]),
  active_from: z.int().nullable(),
  active_until: z.int().nullable(),
  retires_from: z.int().nullable(),
  policy_digest: digest,
});

/** An epoch (EP-1). */
export const epochSchema = z.object({
  epoch_id: z.int(),
  status: z.string(),
  open_at_ms: z.int(),
  close_at_ms: z.int().nullable(),
  close_reason: z.string().nullable(),
  semantic_version_set: z.array(z.string()).readonly(),
  policy_version_set: z.array(z.string()).readonly(),
  scopes: z.object({ settlement: z.string(), reward: z.string(), candidate: z.string() }),
});

/**
 * A proposal and how its votes stand; what of it is not in the log is the coordinator's word. Weights are decimal
 * digits: sums of stake can be longer than a JSON number.
 */
export const proposalSchema = z.object({
  proposal_id: digest,
  kind: z.string(),
  status: z.enum(["open", "approved", "rejected", "expired"]),
  type: z.string(),
  proposer_id: z.string(),
  policy_version: z.string(),
  opened_ms: z.int(),
  closes_ms: z.int(),
  process,
  votes: z.array(
    z.object({ voter_id: z.string(), vote: z.enum(["approve", "reject"]), time_ms: z.int() }),
  ),
  tally: z.object({
    voted: z.int(),
    approved_weight: z.string(),
    rejected_weight: z.string(),
    eligible_weight: z.string(),
  }),
});

/** With what it proposes; byte strings in hex. */
export const wholeProposalSchema = proposalSchema.extend({
  decision: z.record(z.string(), z.unknown()),
});

export type GovernanceView = z.infer<typeof governanceStateSchema>;
export type PolicyVersionView = z.infer<typeof policyVersionSchema>;
export type EpochView = z.infer<typeof epochSchema>;
export type ProposalStanding = z.infer<typeof proposalSchema>;
export type WholeProposal = z.infer<typeof wholeProposalSchema>;
