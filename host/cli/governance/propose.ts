import { setTimeout } from "node:timers/promises";

import {
  GOVERNANCE_VOTE,
  applyGovernanceEvent,
  fromHex,
  openProposalOf,
  processOf,
  type GovernanceState,
  type GovernedDecision,
  type SigningKey,
  type Vote,
} from "#protocol";
import { createGovernanceEvent } from "../../governance/index.ts";
import type { ProposalStanding } from "../../http/governance-views.ts";
import { RemoteProblem, type TaskClient } from "../../http/task-client.ts";

/** Longest wait for a log that others write to, and between two tries, milliseconds. */
const TURN_MS_MAX = 20_000;
const TURN_PAUSE_MS = 200;

/** What became of a decision: taken at once, or put to the vote. */
export type Proposed =
  | { readonly outcome: "decided" }
  | { readonly outcome: "proposed"; readonly proposal: ProposalStanding };

/** Who proposes what to whom. */
export interface Proposing {
  readonly client: TaskClient;
  readonly state: GovernanceState;
  readonly decision: GovernedDecision;
  /** Of voters; one at least. */
  readonly keys: readonly SigningKey[];
}

/**
 * Has governance take a decision as the policy in force says: by the approvals of `keys` at once, or by a proposal that
 * the first of them opens, unless it is open, and each approves.
 *
 * @throws as `applyGovernanceEvent` for what governance would refuse; RemoteProblem GOVERNANCE_EVENT_INVALID when another
 * event has taken the place, see {@link inTurn}
 */
export async function propose(proposing: Proposing): Promise<Proposed> {
  const { client, state, decision, keys } = proposing;
  if (processOf(state.policy, decision).window_ms === 0) {
    await client.submitGovernanceEvent(eventOf(proposing, decision, keys));
    return { outcome: "decided" };
  }
  const open = openProposalOf(state, decision, Date.now());
  const opening = { type: "proposal_opened", decision } as const;
  let proposal =
    open === undefined
      ? await client.openProposal(eventOf(proposing, opening, keys.slice(0, 1)))
      : await client.proposal(open.proposalId);
  for (const key of keys) {
    if (proposal.status !== "open") break;
    proposal = await cast({ ...proposing, key, proposal, vote: "approve" });
  }
  return { outcome: "proposed", proposal };
}

/** Casts one vote. @returns How the proposal stands then */
export async function cast(args: {
  readonly client: TaskClient;
  readonly state: GovernanceState;
  readonly key: SigningKey;
  readonly proposal: ProposalStanding;
  readonly vote: Vote;
}): Promise<ProposalStanding> {
  const { client, state, key, proposal, vote } = args;
  const signed = GOVERNANCE_VOTE.sign(
    {
      genesis_digest: state.genesisDigest,
      proposal: fromHex(proposal.proposal_id),
      vote,
      // The clock of who opened it may be ahead of this one.
      time_ms: Math.max(Date.now(), proposal.opened_ms),
    },
    key,
  );
  return client.vote(proposal.proposal_id, signed);
}

/** The event, which governance would take as it stands. */
function eventOf(
  { state }: Proposing,
  decision: GovernedDecision | { type: "proposal_opened"; decision: GovernedDecision },
  keys: readonly SigningKey[],
): Uint8Array {
  const event = createGovernanceEvent({ state, decision, keys, timeMs: Date.now() });
  applyGovernanceEvent(state, event);
  return event;
}

/**
 * Does what adds to the log again under the newest state when it was overtaken: an event names the one before it, and the
 * coordinator may have closed an epoch, or Vaults have yet to cosign the last.
 */
export async function inTurn<T>(
  { client, state }: { readonly client: TaskClient; readonly state: GovernanceState },
  attempt: (state: GovernanceState) => Promise<T>,
): Promise<T> {
  const deadlineMs = Date.now() + TURN_MS_MAX;
  for (let current = state; ; current = await client.governance(state.genesisDigest)) {
    try {
      return await attempt(current);
    } catch (error) {
      const isOvertaken =
        error instanceof RemoteProblem && error.code === "GOVERNANCE_EVENT_INVALID";
      if (!isOvertaken || Date.now() >= deadlineMs) throw error;
      await setTimeout(TURN_PAUSE_MS);
    }
  }
}
