import {
  ConflictError,
  RefusedError,
  SymphonyError,
  VerificationError,
  fromHex,
  proposalStatus,
  tallyOf,
  verifyVote,
  type GovernanceState,
  type Proposal,
  type VerifiedVote,
} from "#protocol";

import type { Store, Transaction } from "../store/index.ts";
import { insertVote, readVotes, type GovernanceSchema, type VoteRow } from "./queries.ts";
import { CLOCK_SKEW_MS_MAX, type Governance } from "./service.ts";

/** The votes on proposals that the coordinator collects until they decide one. */
export interface Ballots {
  /**
   * Keeps a vote, and with the one that decides the proposal writes that into the log, in one transaction. The same
   * vote of a voter again changes nothing.
   *
   * A proposal that was approved and cannot take effect any more stays open until it expires.
   *
   * @throws {@link RefusedError} GOVERNANCE_PROPOSAL_UNKNOWN
   * @throws {@link ConflictError} GOVERNANCE_PROPOSAL_CLOSED, GOVERNANCE_VOTE_FINAL for another vote of the same voter
   * @throws {@link VerificationError} as `verifyVote`, and for a vote from the future
   */
  cast(proposalId: string, signed: Uint8Array): Promise<void>;
  /** Votes that have come in on a proposal, in order of voter. */
  votes(proposalId: string): Promise<readonly VerifiedVote[]>;
}

/** Opens the votes kept in `store`. */
export function openBallots(args: {
  readonly store: Store<GovernanceSchema>;
  readonly governance: Pick<Governance, "state" | "append">;
  readonly nowMs: () => number;
}): Ballots {
  const { store, governance, nowMs } = args;
  return {
    cast: (proposalId, signed) =>
      store.write(async (trx) => {
        const state = governance.state();
        const proposal = findProposal(state, proposalId);
        const cast = verifyVote(state, proposal, signed);
        const rows = await readVotes(trx, proposalId);
        const before = rows.find((row) => row.voter_id === cast.voterId);
        if (before !== undefined) return requireSame(before, cast);
        requireOpen(proposal, nowMs());
        requirePast(cast, nowMs());
        const row = rowOf(proposalId, cast, { signed, nowMs: nowMs() });
        await insertVote(trx, row);
        await decideIfDone([...rows, row], { trx, governance, proposal, nowMs: nowMs() });
      }),
    votes: async (proposalId) => (await readVotes(store.db, proposalId)).map(voteOf),
  };
}

/** The proposal of this name that governance remembers. @throws RefusedError GOVERNANCE_PROPOSAL_UNKNOWN */
export function findProposal(state: GovernanceState, proposalId: string): Proposal {
  const proposal = state.proposals.get(proposalId);
  if (proposal !== undefined) return proposal;
  throw new RefusedError(
    { code: "GOVERNANCE_PROPOSAL_UNKNOWN" },
    "proposal: expected one of the newest that governance has, got another",
  );
}

async function decideIfDone(
  rows: readonly VoteRow[],
  at: {
    readonly trx: Transaction<GovernanceSchema>;
    readonly governance: Pick<Governance, "state" | "append">;
    readonly proposal: Proposal;
    readonly nowMs: number;
  },
): Promise<void> {
  const { governance, proposal } = at;
  const counted = rows.filter(({ vote }) => counts(governance.state(), proposal, vote));
  const votes = new Map(counted.map((row) => [row.voter_id, row.choice]));
  if (tallyOf(proposal.electorate, votes).outcome === "undecided") return;
  const decision = {
    type: "proposal_decided" as const,
    proposal: fromHex(proposal.proposalId),
    votes: counted.map(({ vote }) => vote),
  };
  try {
    await governance.append(at.trx, decision, Math.max(at.nowMs, proposal.openedMs));
  } catch (error) {
    // What has come between takes the proposal its effect, or has decided it; the vote is kept all the same.
    if (!(error instanceof SymphonyError) || !TOO_LATE.has(error.class)) throw error;
  }
}

const TOO_LATE: ReadonlySet<string> = new Set(["verification", "refused", "malformed", "conflict"]);

/** Whether a vote kept still counts: its voter may have lost the right or the key since. */
function counts(state: GovernanceState, proposal: Proposal, vote: Uint8Array): boolean {
  try {
    verifyVote(state, proposal, vote);
    return true;
  } catch (error) {
    if (error instanceof SymphonyError) return false;
    throw error;
  }
}

function rowOf(
  proposalId: string,
  { voterId, vote: choice, timeMs }: VerifiedVote,
  { signed, nowMs }: { readonly signed: Uint8Array; readonly nowMs: number },
): VoteRow {
  return {
    ...{ proposal_id: proposalId, voter_id: voterId, choice },
    ...{ time_ms: timeMs, vote: signed.slice(), received_ms: nowMs },
  };
}

function voteOf({ voter_id: voterId, choice: vote, time_ms: timeMs }: VoteRow): VerifiedVote {
  return { voterId, vote, timeMs };
}

function requireSame(before: VoteRow, cast: VerifiedVote): void {
  if (before.choice === cast.vote) return;
  throw new ConflictError(
    { code: "GOVERNANCE_VOTE_FINAL", voter_id: cast.voterId },
    `vote of ${cast.voterId}: expected ${before.choice}, which was cast and is final, got ${cast.vote}`,
  );
}

function requireOpen(proposal: Proposal, nowMs: number): void {
  const status = proposalStatus(proposal, nowMs);
  if (status === "open") return;
  throw new ConflictError(
    { code: "GOVERNANCE_PROPOSAL_CLOSED", status },
    `proposal ${proposal.proposalId}: expected an open one, got one ${status}`,
  );
}

function requirePast({ voterId, timeMs }: VerifiedVote, nowMs: number): void {
  if (timeMs <= nowMs + CLOCK_SKEW_MS_MAX) return;
  throw new VerificationError(
    { code: "GOVERNANCE_EVENT_INVALID", field: "time_ms", actual: timeMs },
    `vote of ${voterId}: expected a time that has come, got ${timeMs}`,
  );
}
