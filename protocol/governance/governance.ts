import { verifyApprovals } from "./approvals.ts";
import { equalBytes, hex } from "../bytes.ts";
import { RefusedError, VerificationError } from "../errors.ts";
import {
  GENESIS,
  GOVERNANCE_EVENT,
  type GovernanceStatement,
  type GovernedDecision,
} from "./governance-objects.ts";
import { digestOfBytes } from "../hash.ts";
import type { ActorDecision } from "./actor-objects.ts";
import { decideActor, genesisActors, isActorDecision } from "./actors.ts";
import { eventFault } from "./event-fault.ts";
import { acceptMeasurement } from "./measurements.ts";
import { slashStake } from "./stakes.ts";
import { leafHash } from "../merkle.ts";
import {
  announcePolicy,
  closeGovernedEpoch,
  genesisPolicies,
  requireDecidable,
  retirePolicy,
} from "./policy-versions.ts";
import { closeProposal, openProposal } from "./proposals.ts";
import { upgradeProtocol } from "./protocol-versions.ts";
import { registerVersion, type SemanticRegistration } from "../semantics/registration.ts";
import { incoherent, requireCoherentRegistry } from "../semantics/registry-coherence.ts";
import type { SemanticRegistry } from "../semantics/semantics.ts";
import type { GovernanceState, RegisteredActor, Replenishment } from "./governance-state.ts";

/** Events that one fold takes at most. */
export const GOVERNANCE_EVENTS_MAX = 10_000;

/** Versions of the semantic registry that one log takes: each is kept, so that every task resolves again. */
export const SEMANTIC_VERSIONS_MAX = 256;

/**
 * The state that the genesis alone gives.
 *
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID for semantics that do not hold together
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a policy by which its voters could decide nothing
 */
export function genesisState(genesisBytes: Uint8Array): GovernanceState {
  const genesis = GENESIS.decode(genesisBytes);
  requireFoundingSemantics(genesis.semantics);
  const state: GovernanceState = {
    genesis,
    genesisDigest: GENESIS.digest(genesis),
    policy: genesis.policy,
    policies: genesisPolicies(genesis.policy),
    epoch: { epochId: 0, openedMs: genesis.opened_ms, boundaryRequested: false },
    semantics: genesis.semantics,
    registries: new Map([[genesis.semantics.semantic_version, genesis.semantics]]),
    actors: genesisActors(genesis),
    artifacts: new Map(),
    acceptedMeasurements: [],
    revokedMeasurements: [],
    revokedModuleIds: [],
    protocolUpgrades: [],
    proposals: new Map(),
    withdrawals: 0,
    challengeResolutions: new Map(),
    replenishments: [],
    head: new Uint8Array(32),
    sequence: 0,
  };
  requireDecidable(state, genesis.policy);
  return state;
}

/**
 * Folds one event into the state.
 *
 * @throws {@link RefusedError} GOVERNANCE_QUORUM_NOT_MET, GOVERNANCE_PROPOSAL_REQUIRED as {@link verifyApprovals}
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID when the event does not follow the state.
 */
export function applyGovernanceEvent(
  state: GovernanceState,
  eventBytes: Uint8Array,
): GovernanceState {
  const event = GOVERNANCE_EVENT.decode(eventBytes);
  const { statement, approvers } = verifyApprovals(state, event);
  const follows =
    hex(statement.genesis_digest) === hex(state.genesisDigest) &&
    statement.sequence === state.sequence &&
    hex(statement.previous) === hex(state.head);
  if (!follows) {
    throw new VerificationError(
      { code: "GOVERNANCE_EVENT_INVALID", expected: state.sequence, actual: statement.sequence },
      `governance event: expected number ${state.sequence} of this genesis, got another`,
    );
  }
  return {
    ...take(state, statement, approvers),
    head: digestOfBytes("governance-event", eventBytes),
    sequence: state.sequence + 1,
  };
}

function take(
  state: GovernanceState,
  statement: GovernanceStatement,
  approvers: readonly string[],
): GovernanceState {
  const { decision, time_ms: timeMs } = statement;
  switch (decision.type) {
    case "epoch_closed":
      return closeGovernedEpoch(state, decision, timeMs);
    case "proposal_opened":
      // What could not be decided now is not worth a vote.
      decide(state, decision.decision, timeMs);
      return openProposal(state, statement, { decision: decision.decision, approvers });
    case "proposal_decided": {
      const { state: closed, approved } = closeProposal(state, timeMs, decision);
      return approved === null ? closed : decide(closed, approved, timeMs);
    }
    default:
      return decide(state, decision, timeMs);
  }
}

/**
 * What a decision makes of the state, whoever has taken it and however.
 *
 * @param timeMs - When it was decided, by whoever signed that.
 */
function decide(
  state: GovernanceState,
  decision: GovernedDecision | ActorDecision,
  timeMs: number,
): GovernanceState {
  if (isActorDecision(decision)) return decideActor(state, decision);
  switch (decision.type) {
    case "artifact_registered": {
      const artifacts = new Map(state.artifacts);
      artifacts.set(hex(decision.artifact.digest), decision.artifact);
      return { ...state, artifacts };
    }
    case "measurement_accepted":
      return acceptMeasurement(state, decision);
    case "measurement_revoked":
      return { ...state, revokedMeasurements: [...state.revokedMeasurements, decision.pcr0] };
    case "platform_revoked":
      return { ...state, revokedModuleIds: [...state.revokedModuleIds, decision.module_id] };
    case "budget_replenished":
      return {
        ...state,
        replenishments: [...state.replenishments, replenishmentOf(state, decision, timeMs)],
      };
    case "semantics_registered":
      return { ...state, ...registerSemantics(state, decision.registration) };
    case "policy_announced":
      return announcePolicy(state, decision);
    case "policy_retired":
      return retirePolicy(state, decision);
    case "epoch_boundary_requested":
      return { ...state, epoch: { ...state.epoch, boundaryRequested: true } };
    case "protocol_upgraded":
      return upgradeProtocol(state, decision);
    case "challenge_resolved":
      return resolveChallenge(state, decision);
  }
}

/**
 * A challenge is decided once, and what it costs is taken from the stake of whoever governance says.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a second decision, or a penalty where none belongs
 */
function resolveChallenge(
  state: GovernanceState,
  decision: Extract<GovernanceStatement["decision"], { type: "challenge_resolved" }>,
): GovernanceState {
  const { task_id: taskId, resolution, penalty } = decision;
  if (state.challengeResolutions.has(taskId)) {
    throw eventFault("task_id", "a task whose challenge is not decided", taskId);
  }
  const expected = { approved: "who pays", not_confirmed: null, closed_without_penalty: "none" };
  const rule = expected[resolution];
  if (rule !== null && (rule === "none") !== (penalty === null)) {
    throw eventFault("penalty", rule, penalty === null ? "none" : "one");
  }
  const challengeResolutions = new Map(state.challengeResolutions);
  challengeResolutions.set(taskId, { resolution, penalty });
  const decided = { ...state, challengeResolutions };
  if (penalty === null) return decided;
  const condition = resolution === "approved" ? "challenge_approved" : "challenge_not_confirmed";
  const { actor_id: actorId, amount_minor: amountMinor } = penalty;
  const paid = slashStake(state, { actorId, condition, evidence: taskId, amountMinor });
  return { ...decided, actors: new Map(state.actors).set(actorId, paid) };
}

/** Approvals of mediation authorities are events, and a genesis is none. */
function requireFoundingSemantics(semantics: SemanticRegistry): void {
  requireCoherentRegistry(semantics);
  const sources = semantics.derivation_rules.flatMap((rule) => rule.source_attributes);
  if (sources.every((source) => source.mediation_authority === null)) return;
  throw incoherent("genesis semantics", "no mediated derivation rule");
}

/**
 * What a registration makes of the semantics in force; nothing else of the state changes.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a version that is there, or one too many; and as
 * `registerVersion`
 */
export function registerSemantics(
  state: GovernanceState,
  registration: SemanticRegistration,
): Pick<GovernanceState, "semantics" | "registries"> {
  const { semantic_version: version } = registration;
  if (state.registries.has(version) || state.registries.size >= SEMANTIC_VERSIONS_MAX) {
    throw new VerificationError(
      { code: "GOVERNANCE_EVENT_INVALID", semantic_version: version },
      `semantic_version: expected a new one of at most ${SEMANTIC_VERSIONS_MAX}, got ${version}`,
    );
  }
  const semantics = registerVersion(state.semantics, registration, {
    genesisDigest: state.genesisDigest,
    keyOf: (actorId) => {
      const actor = state.actors.get(actorId);
      return actor?.status === "active" ? actor.signing_key : undefined;
    },
  });
  return { semantics, registries: new Map([...state.registries, [version, semantics]]) };
}

/** @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for more than policy allows, or an epoch that had its own */
function replenishmentOf(
  { policy, replenishments }: GovernanceState,
  decision: Extract<GovernanceStatement["decision"], { type: "budget_replenished" }>,
  decidedMs: number,
): Replenishment {
  const { usage_scope: usageScope, epoch_id: epochId, epsilon_micro: epsilonMicro } = decision;
  const budget = policy.privacy.budgets.find((each) => each.usage_scope === usageScope);
  const max = budget?.replenish_epsilon_micro_max ?? 0;
  const last = replenishments.findLast((each) => each.usageScope === usageScope)?.epochId ?? -1;
  if (epsilonMicro <= max && epochId > last) {
    return { usageScope, epochId, epsilonMicro, decidedMs };
  }
  throw new VerificationError(
    {
      code: "GOVERNANCE_EVENT_INVALID",
      epsilon_micro: epsilonMicro,
      max,
      epoch_id: epochId,
      after: last,
    },
    `budget_replenished: expected at most ${max} micro-epsilon and an epoch after ${last}, got ${epsilonMicro} and ${epochId}`,
  );
}

/** A log that was folded before: its state, and the leaf hash of each of its events. */
export interface FoldedLog {
  readonly state: GovernanceState;
  readonly leaves: readonly Uint8Array[];
}

/**
 * Folds all `events` over the genesis.
 *
 * @param known - A log of the same genesis. Where `events` begin with exactly its events, only the rest is folded: the
 * state is a function of the bytes, which its leaves commit to.
 * @throws as {@link applyGovernanceEvent}
 */
export function foldGovernance(
  genesisBytes: Uint8Array,
  events: readonly Uint8Array[],
  known?: FoldedLog,
): GovernanceState {
  if (events.length > GOVERNANCE_EVENTS_MAX) {
    throw new VerificationError(
      { code: "GOVERNANCE_EVENT_INVALID", count: events.length },
      `governance log: expected at most ${GOVERNANCE_EVENTS_MAX} events, got ${events.length}`,
    );
  }
  if (known === undefined || !beginsWith(events, known)) {
    return events.reduce(applyGovernanceEvent, genesisState(genesisBytes));
  }
  return events.slice(known.leaves.length).reduce(applyGovernanceEvent, known.state);
}

function beginsWith(events: readonly Uint8Array[], { state, leaves }: FoldedLog): boolean {
  if (leaves.length !== state.sequence || leaves.length > events.length) return false;
  return leaves.every((leaf, index) => {
    const event = events[index];
    return event !== undefined && equalBytes(leafHash(event), leaf);
  });
}

/**
 * The state with the semantics of version `semanticVersion` in force, for whoever resolves a task of its time again (CA-6).
 *
 * @throws {@link VerificationError} PROOF_COMMITMENT_MISMATCH for a version that governance never registered
 */
export function underSemantics(state: GovernanceState, semanticVersion: string): GovernanceState {
  const semantics = state.registries.get(semanticVersion);
  if (semantics !== undefined) return { ...state, semantics };
  throw new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", subject: "semantic version" },
    "semantic version: expected one that governance has registered, got another",
  );
}

/** The active actor named `actorId`. @throws {@link RefusedError} AUTH_UNKNOWN_ACTOR */
export function activeActor(state: GovernanceState, actorId: string): RegisteredActor {
  const actor = state.actors.get(actorId);
  if (actor === undefined || actor.status !== "active") {
    throw new RefusedError(
      { code: "AUTH_UNKNOWN_ACTOR" },
      "actor: expected an active actor of this network",
    );
  }
  return actor;
}
