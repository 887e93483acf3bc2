import type { UsageScope } from "../fields.ts";
import type { POLICY_VERSION_LIFECYCLE } from "../lifecycles.ts";
import type { SemanticRegistry } from "../semantics/semantics.ts";
import type { ChallengePenalty } from "./actor-objects.ts";
import type { Actor, Artifact, Genesis, GovernedDecision } from "./governance-objects.ts";
import type { GovernanceProcess, Policy, ReferenceValue } from "./policy.ts";
import type { ProposalKind } from "./processes.ts";

/** Governance as of some event: a pure function of the genesis and the events (design, sections 2 and 5). */
export interface GovernanceState {
  readonly genesis: Genesis;
  readonly genesisDigest: Uint8Array;
  /** The active policy version's document. */
  readonly policy: Policy;
  /** Every version there has been, by identifier, in the order of their announcement. */
  readonly policies: ReadonlyMap<string, PolicyVersion>;
  readonly epoch: CurrentEpoch;
  /** The newest version. */
  readonly semantics: SemanticRegistry;
  /** Every version by its name, the newest among them. */
  readonly registries: ReadonlyMap<string, SemanticRegistry>;
  readonly actors: ReadonlyMap<string, RegisteredActor>;
  /** By lower-case hex digest. */
  readonly artifacts: ReadonlyMap<string, Artifact>;
  /** In the order of the log, see `referenceValuesOf`. */
  readonly acceptedMeasurements: readonly AcceptedMeasurement[];
  readonly revokedMeasurements: readonly string[];
  readonly revokedModuleIds: readonly string[];
  readonly protocolUpgrades: readonly ProtocolUpgrade[];
  /** The newest, by identifier, in the order of their opening. */
  readonly proposals: ReadonlyMap<string, Proposal>;
  /** How often an actor that executes was suspended, retired or given another key: never decreases. */
  readonly withdrawals: number;
  readonly challengeResolutions: ReadonlyMap<string, ResolvedBy>;
  /** In the order of the log; of one purpose, each of a later epoch than the one before. */
  readonly replenishments: readonly Replenishment[];
  /** Digest of the last event; zeros before the first. */
  readonly head: Uint8Array;
  readonly sequence: number;
}

/** A budget that governance gave back, see `budget_replenished`. */
export interface Replenishment {
  readonly usageScope: UsageScope;
  readonly epochId: number;
  readonly epsilonMicro: number;
  /** When governance decided it, by its own clock. */
  readonly decidedMs: number;
}

/** How governance ended a challenge. */
export type ChallengeResolution = "approved" | "not_confirmed" | "closed_without_penalty";

/** What governance decided about a challenge, and who pays for it. */
export interface ResolvedBy {
  readonly resolution: ChallengeResolution;
  readonly penalty: ChallengePenalty | null;
}

/** An actor as of some event: `signing_key`, `box_key` and bonded `stake_minor` are the present ones. */
export interface RegisteredActor extends Actor {
  /** Every signing key there has been, the present one last. */
  readonly keys: readonly ActorKey[];
  readonly stake: StakeAccount;
}

/** A signing key of an actor, and for how long it counts. */
export interface ActorKey {
  readonly signingKey: Uint8Array;
  readonly boxKey: Uint8Array | null;
  /** In which epoch it became the present one. */
  readonly fromEpoch: number;
  /** The last epoch for whose tasks it counts: null for the present key, -1 for none at all. */
  readonly untilEpoch: number | null;
}

/**
 * What has become of an actor's deposits, minor units; what is bonded is the actor's `stake_minor`. Always
 * `deposited = bonded + unbonding + withdrawn + slashed`.
 */
export interface StakeAccount {
  readonly depositedMinor: number;
  /** In the order in which they are released; still slashable until they are withdrawn. */
  readonly unbonding: readonly UnbondingEntry[];
  readonly withdrawnMinor: number;
  /** In the order of the log. */
  readonly slashes: readonly Slash[];
  /** Of deposits and withdrawals, each counted once. */
  readonly references: readonly string[];
}

/** Stake that its owner has asked for: to be withdrawn from this epoch on. */
export interface UnbondingEntry {
  readonly amountMinor: number;
  readonly releaseEpoch: number;
}

/** Stake that was taken. `amountMinor` is less than what was asked for when there was no more. */
export interface Slash {
  readonly condition: SlashingCondition;
  /** What it was for: a task, or the digest of the evidence. With the condition, one punishment for each. */
  readonly evidence: string;
  readonly amountMinor: number;
}

/** A state of {@link POLICY_VERSION_LIFECYCLE}. */
export type PolicyStatus = (typeof POLICY_VERSION_LIFECYCLE.states)[number];

/** A policy version: its immutable document, and where governance has it. */
export interface PolicyVersion {
  readonly policy: Policy;
  readonly status: PolicyStatus;
  /** Whole epochs in which it was or is the active one: `[from, until)`; both null for a draft. */
  readonly activeFrom: number | null;
  readonly activeUntil: number | null;
  /** From which epoch on it is valid for nothing; null while nobody has decided that. */
  readonly retiresFrom: number | null;
}

/** The open epoch of the network, as the governance log has it. */
export interface CurrentEpoch {
  readonly epochId: number;
  readonly openedMs: number;
  /** Governance has asked for it to close. */
  readonly boundaryRequested: boolean;
}

/** An enclave image that governance has accepted between two policy versions. */
export interface AcceptedMeasurement {
  readonly value: ReferenceValue;
  /** For tasks of this epoch and later ones. */
  readonly fromEpoch: number;
}

/** A decision put to the vote. Judged by the policy version that was active when it was opened (GS-7). */
export interface Proposal {
  /** {@link proposalIdOf} its opening. */
  readonly proposalId: string;
  readonly kind: ProposalKind;
  readonly decision: GovernedDecision;
  readonly proposerId: string;
  readonly policyVersionId: string;
  /** Who could vote when it was opened, and the process. Those who may not vote any more keep their weight in the whole. */
  readonly electorate: Electorate;
  /** It takes votes, and can be decided, in `[openedMs, closesMs)`. */
  readonly openedMs: number;
  readonly closesMs: number;
  /** What the log says. An open one whose time is over has expired, see {@link proposalStatus}. */
  readonly outcome: "open" | "approved" | "rejected";
  /** Of those who voted, as the deciding event has it; empty before. */
  readonly votes: ReadonlyMap<string, Vote>;
}

/** A version of the protocol that governance has decided on. */
export interface ProtocolUpgrade {
  readonly version: number;
  readonly fromEpoch: number;
  /** SHA-256 of what it says. */
  readonly specification: Uint8Array;
}

/** Every reason for which stake is taken (GS-3); there are no others. */
export type SlashingCondition =
  | "challenge_approved"
  | "challenge_not_confirmed"
  | "budget_exceeded"
  | "equivocation"
  | "result_undelivered"
  | "attestation_invalid";

/** Those who may vote on one thing, and what each weighs, by voter. */
export interface Electorate {
  readonly process: GovernanceProcess;
  readonly weights: ReadonlyMap<string, bigint>;
}

export type Vote = "approve" | "reject";
