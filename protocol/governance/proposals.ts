import { equalBytes, hex } from "../bytes.ts";
import { RefusedError } from "../errors.ts";
import { eventFault, require } from "./event-fault.ts";
import {
  GOVERNANCE_STATEMENT,
  GOVERNANCE_VOTE,
  VOTE_BYTES_MAX,
  governedDecisionSchema,
  type GovernanceStatement,
  type GovernanceVote,
  type GovernedDecision,
} from "./governance-objects.ts";
import { encodeCbor } from "../cbor.ts";
import { kindOf, processOf } from "./processes.ts";
import { keyIdOf, parseCose } from "../signing.ts";
import { electorateOf, tallyOf, votersOf } from "./voters.ts";
import type { GovernanceState, Proposal, Vote } from "./governance-state.ts";

/** Proposals that governance remembers: the newest. One that is open is never forgotten. */
export const PROPOSALS_MAX = 64;

/** Proposals that one voter has open at once, at most. */
export const PROPOSALS_OF_VOTER_MAX = 8;

/** A vote as its voter's key proves it. */
export interface VerifiedVote {
  readonly voterId: string;
  readonly vote: Vote;
  readonly timeMs: number;
}

/** The name of the proposal that `statement` opens: the digest that votes are about, in lower-case hex. */
export function proposalIdOf(statement: GovernanceStatement): string {
  return hex(GOVERNANCE_STATEMENT.digest(statement));
}

/** Where a proposal stands at a time. */
export function proposalStatus(
  { outcome, closesMs }: Proposal,
  nowMs: number,
): Proposal["outcome"] | "expired" {
  return outcome === "open" && nowMs >= closesMs ? "expired" : outcome;
}

/** The open proposal of the same decision, if there is one: the same proposal twice is one. */
export function openProposalOf(
  state: GovernanceState,
  decision: GovernedDecision,
  nowMs: number,
): Proposal | undefined {
  const wanted = bytesOf(decision);
  return [...state.proposals.values()].find(
    (each) => proposalStatus(each, nowMs) === "open" && equalBytes(bytesOf(each.decision), wanted),
  );
}

function bytesOf(decision: GovernedDecision): Uint8Array {
  return encodeCbor(governedDecisionSchema.parse(decision));
}

/**
 * Puts a decision to the vote.
 *
 * @param statement - Of type `proposal_opened`, approved by the voter `proposerId` alone.
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a kind that is decided without a proposal, a decision
 * that is open already, or one too many.
 */
export function openProposal(
  state: GovernanceState,
  statement: GovernanceStatement,
  opening: { readonly decision: GovernedDecision; readonly approvers: readonly string[] },
): GovernanceState {
  const { decision, approvers } = opening;
  const [proposerId = "", ...others] = approvers;
  require(others.length === 0, "approvals", "the proposer's alone", `${approvers.length}`);
  const { time_ms: openedMs } = statement;
  const process = processOf(state.policy, decision);
  const { window_ms: windowMs } = process;
  require(windowMs > 0, "decision", "one that is voted on", `${decision.type}, decided at once`);
  const twin = openProposalOf(state, decision, openedMs);
  require(twin === undefined, "decision", "one that is not open", `proposal ${twin?.proposalId}`);
  const isOpen = (each: Proposal): boolean => proposalStatus(each, openedMs) === "open";
  const open = [...state.proposals.values()].filter(isOpen);
  const own = open.filter((each) => each.proposerId === proposerId);
  const ownMax = PROPOSALS_OF_VOTER_MAX;
  require(own.length < ownMax, "proposer", `fewer than ${ownMax} open ones`, `${own.length}`);
  const max = PROPOSALS_MAX;
  require(open.length < max, "proposals", `fewer than ${max} open ones`, `${open.length}`);
  const proposal: Proposal = {
    proposalId: proposalIdOf(statement),
    ...{ kind: kindOf(decision), decision, proposerId },
    policyVersionId: state.policy.policy_version_id,
    electorate: electorateOf(state, process),
    ...{ openedMs, closesMs: openedMs + windowMs, outcome: "open", votes: new Map() },
  };
  const proposals = new Map(state.proposals);
  const oldest = [...proposals.values()].find((each) => !isOpen(each));
  if (proposals.size >= max && oldest !== undefined) proposals.delete(oldest.proposalId);
  return { ...state, proposals: proposals.set(proposal.proposalId, proposal) };
}

/**
 * Ends a proposal by its votes.
 *
 * @param statement - Of type `proposal_decided`.
 * @returns The state in which it has ended, and the decision that voters have approved; null when they rejected it.
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a proposal that is not open, or a vote that does not count
 * @throws {@link RefusedError} GOVERNANCE_QUORUM_NOT_MET while the votes decide nothing
 */
export function closeProposal(
  state: GovernanceState,
  timeMs: number,
  decided: { readonly proposal: Uint8Array; readonly votes: readonly Uint8Array[] },
): { readonly state: GovernanceState; readonly approved: GovernedDecision | null } {
  const proposalId = hex(decided.proposal);
  const proposal = state.proposals.get(proposalId);
  if (proposal === undefined) throw eventFault("proposal", "one that was opened", proposalId);
  requireInWindow(proposal, timeMs, "time_ms");
  const { outcome: before, electorate, decision } = proposal;
  require(before === "open", "proposal", "an open one", before);
  const votes = new Map<string, Vote>();
  for (const signed of decided.votes) {
    const { voterId, vote } = verifyVote(state, proposal, signed);
    require(!votes.has(voterId), "votes", "one of each voter", `two of ${voterId}`);
    votes.set(voterId, vote);
  }
  const { outcome, voted } = tallyOf(electorate, votes);
  if (outcome === "undecided") {
    const { quorum } = electorate.process;
    throw new RefusedError(
      { code: "GOVERNANCE_QUORUM_NOT_MET", expected: quorum, actual: voted },
      `proposal ${proposalId}: expected votes that decide it, got ${voted} that do not`,
    );
  }
  const proposals = new Map(state.proposals).set(proposalId, { ...proposal, outcome, votes });
  return { state: { ...state, proposals }, approved: outcome === "approved" ? decision : null };
}

/**
 * Verifies that a voter of now, who was one when the proposal was opened, has cast this vote on it within its window.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for a voter without a vote, PROOF_SIGNATURE_INVALID
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED, SCHEMA_MALFORMED
 */
export function verifyVote(
  state: GovernanceState,
  proposal: Proposal,
  signed: Uint8Array,
): VerifiedVote {
  const { keyId } = parseCose(signed, VOTE_BYTES_MAX);
  const voter = votersOf(state).find(({ publicKey }) => keyIdOf(publicKey) === keyId);
  if (voter === undefined || !proposal.electorate.weights.has(voter.voterId)) {
    throw eventFault("vote", "one by a voter of this proposal", `one by key ${keyId}`);
  }
  const { voterId, publicKey } = voter;
  const cast: GovernanceVote = GOVERNANCE_VOTE.verify(signed, publicKey);
  const about = hex(cast.proposal);
  require(about === proposal.proposalId, "vote", `one on ${proposal.proposalId}`, about);
  const isHere = equalBytes(cast.genesis_digest, state.genesisDigest);
  require(isHere, "vote", "one on this network", "one on another");
  requireInWindow(proposal, cast.time_ms, "vote");
  return { voterId, vote: cast.vote, timeMs: cast.time_ms };
}

function requireInWindow(
  { openedMs, closesMs }: Proposal,
  timeMs: number,
  field: "time_ms" | "vote",
): void {
  const isIn = timeMs >= openedMs && timeMs < closesMs;
  require(isIn, field, `a time in [${openedMs}, ${closesMs})`, `${timeMs}`);
}
