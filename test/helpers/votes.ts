import { createGovernanceEvent } from "../../host/governance/index.ts";
import {
  GOVERNANCE_VOTE,
  applyGovernanceEvent,
  fromHex,
  type GovernanceDecision,
  type GovernanceProcess,
  type GovernanceState,
  type GovernanceVote,
  type GovernedDecision,
  type Policy,
  type SigningKey,
} from "../../protocol/index.ts";
import { processesOf } from "../../sim/network/policy.ts";
import { NETWORK_TIME_MS, type TestNetwork } from "./network.ts";

/** A minute to vote in; two of three decide. */
export const VOTED = {
  quorum: 2,
  threshold_basis_points: 6_600,
  window_ms: 60_000,
  weight: "actor",
} as const satisfies GovernanceProcess;

/** As {@link VOTED}, by the signatures of an event alone. */
export const AT_ONCE = { ...VOTED, window_ms: 0 } as const;

/** `policy` with everything voted on, but for the kinds that `processes` names. */
export function votedOn(
  policy: Policy,
  processes: Partial<Policy["governance"]["processes"]> = {},
): Policy {
  const { governance } = policy;
  return {
    ...policy,
    governance: { ...governance, processes: { ...processesOf(VOTED), ...processes } },
  };
}

/** One of the three governance keys of a generated network. */
export function governanceKey({ governanceKeys }: TestNetwork, index: number): SigningKey {
  const key = governanceKeys[index];
  if (key === undefined) throw new Error("no such key");
  return key;
}

/** A vote to approve, signed with `key`, but for what `change` says. */
export function voteBy(
  { genesisDigest }: Pick<TestNetwork, "genesisDigest">,
  key: SigningKey,
  change: { readonly proposalId: string } & Partial<GovernanceVote>,
): Uint8Array {
  const { proposalId, ...rest } = change;
  const cast: GovernanceVote = {
    genesis_digest: genesisDigest,
    proposal: fromHex(proposalId),
    ...{ vote: "approve", time_ms: NETWORK_TIME_MS + 1, ...rest },
  };
  return GOVERNANCE_VOTE.sign(cast, key);
}

/** The coordinator's entry that ends a proposal by `votes`. */
export function decidedBy(proposalId: string, votes: Uint8Array[]): GovernanceDecision {
  return { type: "proposal_decided", proposal: fromHex(proposalId), votes };
}

/** Has the first two of three governance keys propose and approve `decision`. @returns The proposal beside the state */
export function approvedBy(
  network: TestNetwork,
  state: GovernanceState,
  decision: GovernedDecision,
): { readonly state: GovernanceState; readonly proposalId: string } {
  const [one, two] = [governanceKey(network, 0), governanceKey(network, 1)];
  const timeMs = NETWORK_TIME_MS;
  const opening = { type: "proposal_opened", decision } as const;
  const proposed = createGovernanceEvent({ state, decision: opening, keys: [one], timeMs });
  const opened = applyGovernanceEvent(state, proposed);
  const proposalId = [...opened.proposals.keys()].at(-1) ?? "";
  const votes = [one, two].map((key) => voteBy(network, key, { proposalId }));
  const ended = createGovernanceEvent({
    ...{ state: opened, decision: decidedBy(proposalId, votes), timeMs },
    keys: [network.coordinator.signing],
  });
  return { state: applyGovernanceEvent(opened, ended), proposalId };
}
