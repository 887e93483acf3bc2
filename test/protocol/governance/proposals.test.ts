import { expect, test } from "vitest";

import {
  applyGovernanceEvent,
  genesisState,
  governanceFor,
  openProposalOf,
  policyDigest,
  proposalStatus,
  referenceValuesOf,
  signingKeyFromSeed,
  type GovernanceDecision,
  type GovernanceState,
  type GovernanceVote,
  type GovernedDecision,
  type Policy,
  type SigningKey,
} from "../../../protocol/index.ts";
import { createGovernanceEvent } from "../../../host/governance/index.ts";
import { processesOf } from "../../../sim/network/policy.ts";
import { NETWORK_TIME_MS, createNetwork, testSeed } from "../../helpers/network.ts";
import {
  AT_ONCE,
  VOTED,
  approvedBy,
  decidedBy,
  governanceKey,
  voteBy,
  votedOn,
} from "../../helpers/votes.ts";

const { window_ms: WINDOW_MS } = VOTED;

/** Everything is voted on, but for suspensions. */
const network = await createNetwork({ policy: (policy) => votedOn(policy, { actor: AT_ONCE }) });
const GENESIS_STATE = genesisState(network.genesisBytes);
const keyOf = (index: number): SigningKey => governanceKey(network, index);
const [ONE, TWO, THREE] = [keyOf(0), keyOf(1), keyOf(2)];

const BOUNDARY = { type: "epoch_boundary_requested", reason: "maintenance" } as const;
const SUSPEND = { type: "actor_suspended", actor_id: "analyst" } as const;
const refused = expect.objectContaining({ code: "GOVERNANCE_EVENT_INVALID" });
const noQuorum = expect.objectContaining({ code: "GOVERNANCE_QUORUM_NOT_MET" });

function applied(
  state: GovernanceState,
  decision: GovernanceDecision,
  by: { readonly keys?: readonly SigningKey[]; readonly afterMs?: number } = {},
): GovernanceState {
  const ofCoordinator = decision.type === "epoch_closed" || decision.type === "proposal_decided";
  const keys = by.keys ?? [ofCoordinator ? network.coordinator.signing : ONE];
  const timeMs = NETWORK_TIME_MS + (by.afterMs ?? 0);
  return applyGovernanceEvent(state, createGovernanceEvent({ state, decision, keys, timeMs }));
}

function opened(decision: GovernedDecision = BOUNDARY, afterMs = 0, key: SigningKey = ONE) {
  const state = applied(
    GENESIS_STATE,
    { type: "proposal_opened", decision },
    { keys: [key], afterMs },
  );
  const proposal = [...state.proposals.values()].at(-1);
  if (proposal === undefined) throw new Error("no proposal");
  return { state, proposal };
}

function vote(proposalId: string, key: SigningKey, change: Partial<GovernanceVote> = {}) {
  return voteBy(network, key, { proposalId, ...change });
}

test("[GS-4][GS-7] a proposal is opened by one voter, and what its voters approve is decided", () => {
  const { state, proposal } = opened();
  expect(proposal).toMatchObject({ kind: "epoch_boundary", outcome: "open" });
  expect(state.epoch.boundaryRequested).toBe(false);
  const votes = [ONE, THREE].map((key) => vote(proposal.proposalId, key));
  const decided = applied(state, decidedBy(proposal.proposalId, votes), { afterMs: 2 });
  expect(decided.epoch.boundaryRequested).toBe(true);
  const ended = decided.proposals.get(proposal.proposalId);
  expect(ended).toMatchObject({ outcome: "approved" });
  expect(ended?.votes.size).toBe(2);
});

test("[GS-7] what is voted on is decided no other way, whoever signs it", () => {
  const directly = () => applied(GENESIS_STATE, BOUNDARY, { keys: [ONE, TWO, THREE] });
  expect(directly).toThrow(expect.objectContaining({ code: "GOVERNANCE_PROPOSAL_REQUIRED" }));
  const suspended = applied(GENESIS_STATE, SUSPEND, { keys: [ONE, TWO] });
  expect(suspended.actors.get("analyst")?.status).toBe("suspended");
  expect(() => applied(GENESIS_STATE, { type: "proposal_opened", decision: SUSPEND })).toThrow(
    refused,
  );
});

test("[GS-7] a proposal that its voters reject has no effect, and ends", () => {
  const { state, proposal } = opened();
  const reject = { vote: "reject" } as const;
  const votes = [ONE, TWO].map((key) => vote(proposal.proposalId, key, reject));
  const decided = applied(state, decidedBy(proposal.proposalId, votes));
  expect(decided.epoch.boundaryRequested).toBe(false);
  expect(decided.proposals.get(proposal.proposalId)?.outcome).toBe("rejected");
  const approve = [ONE, TWO].map((key) => vote(proposal.proposalId, key));
  expect(() => applied(decided, decidedBy(proposal.proposalId, approve))).toThrow(refused);
});

test.for([
  { title: "one vote", votes: [{ key: ONE }] },
  { title: "one for and one against", votes: [{ key: ONE }, { key: TWO, vote: "reject" }] },
] as const)("[GS-7] $title of three decide nothing", ({ votes }) => {
  const { state, proposal } = opened();
  const cast = votes.map((each) =>
    vote(proposal.proposalId, each.key, "vote" in each ? { vote: each.vote } : {}),
  );
  expect(() => applied(state, decidedBy(proposal.proposalId, cast))).toThrow(noQuorum);
});

test.for<{ title: string; key?: SigningKey; change?: Partial<GovernanceVote> }>([
  { title: "the same voter's, twice", key: ONE },
  { title: "by a stranger", key: signingKeyFromSeed(testSeed("stranger")) },
  { title: "by the coordinator", key: network.coordinator.signing },
  { title: "on another proposal", change: { proposal: new Uint8Array(32) } },
  { title: "on another network", change: { genesis_digest: new Uint8Array(32) } },
  { title: "before the proposal was opened", change: { time_ms: NETWORK_TIME_MS - 1 } },
  { title: "when the window has ended", change: { time_ms: NETWORK_TIME_MS + WINDOW_MS } },
])("[GS-7] no proposal is decided with a vote $title", ({ key, change }) => {
  const { state, proposal } = opened();
  const votes = [vote(proposal.proposalId, ONE), vote(proposal.proposalId, key ?? TWO, change)];
  expect(() => applied(state, decidedBy(proposal.proposalId, votes))).toThrow(refused);
});

test("[GS-7] votes decide within the window, and by the coordinator's entry alone", () => {
  const { state, proposal } = opened();
  const decision = decidedBy(
    proposal.proposalId,
    [ONE, TWO].map((key) => vote(proposal.proposalId, key)),
  );
  const last = { afterMs: WINDOW_MS - 1 };
  expect(applied(state, decision, last).epoch.boundaryRequested).toBe(true);
  expect(() => applied(state, decision, { afterMs: WINDOW_MS })).toThrow(refused);
  expect(() => applied(state, decision, { afterMs: -1 })).toThrow(refused);
  expect(() => applied(state, decision, { keys: [ONE, TWO, THREE] })).toThrow(noQuorum);
  expect(() => applied(state, decidedBy("00".repeat(32), [vote("00".repeat(32), ONE)]))).toThrow(
    refused,
  );
});

test("[GS-4] the same proposal twice is one, until it expires", () => {
  const { state, proposal } = opened();
  const again = { type: "proposal_opened", decision: BOUNDARY } as const;
  expect(() => applied(state, again, { keys: [TWO] })).toThrow(refused);
  const { closesMs } = proposal;
  expect(openProposalOf(state, { ...BOUNDARY }, closesMs - 1)).toBe(proposal);
  expect([closesMs - 1, closesMs].map((nowMs) => proposalStatus(proposal, nowMs))).toEqual([
    "open",
    "expired",
  ]);
  const later = applied(state, again, { keys: [TWO], afterMs: WINDOW_MS });
  expect(later.proposals.size).toBe(2);
  const stale = vote(proposal.proposalId, ONE);
  const [, second] = later.proposals.values();
  expect(() =>
    applied(later, decidedBy(second?.proposalId ?? "", [stale]), { afterMs: WINDOW_MS }),
  ).toThrow(refused);
});

test("[GS-4] a voter has a few proposals open at once, and nobody else opens one", () => {
  let state = GENESIS_STATE;
  const propose = (reason: string, key: SigningKey): GovernanceState =>
    applied(state, { type: "proposal_opened", decision: { ...BOUNDARY, reason } }, { keys: [key] });
  for (let index = 0; index < 8; index += 1) state = propose(`number ${index}`, ONE);
  expect(() => propose("one more", ONE)).toThrow(refused);
  expect(propose("of another", TWO).proposals.size).toBe(9);
  expect(() => propose("of nobody", network.submitter.signing)).toThrow(noQuorum);
  const both = { type: "proposal_opened", decision: BOUNDARY } as const;
  expect(() => applied(state, both, { keys: [TWO, THREE] })).toThrow(refused);
});

test("[GS-4] governance remembers the newest proposals, and never forgets an open one", () => {
  let state = GENESIS_STATE;
  const propose = (number: number, afterMs: number): void => {
    const decision = { ...BOUNDARY, reason: `number ${number}` };
    const key = keyOf(number % 3);
    state = applied(state, { type: "proposal_opened", decision }, { keys: [key], afterMs });
  };
  for (let number = 0; number < 66; number += 1) {
    propose(number, Math.floor(number / 22) * WINDOW_MS);
  }
  expect(state.proposals.size).toBe(64);
  const reasons = [...state.proposals.values()].map(({ decision }) =>
    decision.type === "epoch_boundary_requested" ? decision.reason : "",
  );
  expect(reasons.slice(0, 2)).toEqual(["number 2", "number 3"]);
});

test("[GS-6][GS-7] a proposal is judged by the policy it was opened under, by voters who still are", () => {
  const all = { ...VOTED, quorum: 3, threshold_basis_points: 10_000 };
  const next: Policy = {
    ...network.genesis.policy,
    policy_version_id: "policy-2",
    effective_from_epoch: 1,
    predecessor_version_id: "policy-1",
    governance: { ...network.genesis.policy.governance, processes: processesOf(all) },
  };
  const first = opened({ type: "policy_announced", policy: next });
  const votes = (id: string) => [ONE, TWO].map((key) => vote(id, key));
  const announced = applied(
    first.state,
    decidedBy(first.proposal.proposalId, votes(first.proposal.proposalId)),
  );
  const open = applied(announced, { type: "proposal_opened", decision: BOUNDARY });
  const before = [...open.proposals.keys()].at(-1) ?? "";
  const close = { type: "epoch_closed", epoch_id: 0, trigger: "time", settlements: 0 } as const;
  const boundary = { afterMs: network.genesis.policy.epoch.time_ms_max };
  const active = applied(open, close, boundary);
  expect(active.policy.policy_version_id).toBe("policy-2");
  expect(applied(active, decidedBy(before, votes(before))).epoch.boundaryRequested).toBe(true);
  const reopened = applied(active, {
    type: "proposal_opened",
    decision: { ...BOUNDARY, reason: "new" },
  });
  const after = [...reopened.proposals.keys()].at(-1) ?? "";
  expect(() => applied(reopened, decidedBy(after, votes(after)))).toThrow(noQuorum);
});

test("[GS-7] no policy is announced by which nobody could decide, nor proposed", () => {
  const policy: Policy = {
    ...network.genesis.policy,
    policy_version_id: "policy-2",
    effective_from_epoch: 1,
    predecessor_version_id: "policy-1",
    governance: {
      ...network.genesis.policy.governance,
      processes: processesOf({ ...VOTED, quorum: 4 }),
    },
  };
  expect(() => opened({ type: "policy_announced", policy })).toThrow(refused);
  const stale = { ...policy, effective_from_epoch: 0 };
  expect(() => opened({ type: "policy_announced", policy: stale })).toThrow(refused);
});

const IMAGE = {
  pcr0: "ab".repeat(48),
  pcr1: "cd".repeat(48),
  pcr2: "ef".repeat(48),
  valid_from_ms: 0,
  valid_until_ms: NETWORK_TIME_MS * 2,
};

const closedOnce = (state: GovernanceState): GovernanceState =>
  applied(
    state,
    { type: "epoch_closed", epoch_id: state.epoch.epochId, trigger: "time", settlements: 0 },
    { afterMs: (state.epoch.epochId + 1) * network.genesis.policy.epoch.time_ms_max },
  );

test("[GS-6][TT-5] an accepted image runs tasks of its epoch and later ones, and none before", () => {
  const accept = (from_epoch: number) =>
    ({ type: "measurement_accepted", reference_value: IMAGE, from_epoch }) as const;
  expect(() => opened(accept(0))).toThrow(refused);
  const accepted = approvedBy(network, GENESIS_STATE, accept(1)).state;
  const has = (state: GovernanceState): boolean =>
    referenceValuesOf(state).some(({ pcr0 }) => pcr0 === IMAGE.pcr0);
  expect(has(accepted)).toBe(false);
  const next = closedOnce(accepted);
  expect(has(next)).toBe(true);
  const { policy } = network.genesis;
  const taskIn = (epoch_id: number) => ({
    policy_version: policy.policy_version_id,
    policy_digest: policyDigest(policy),
    epoch_id,
  });
  expect([0, 1].map((epochId) => has(governanceFor(next, taskIn(epochId))))).toEqual([false, true]);
  expect(() => applied(next, { type: "proposal_opened", decision: accept(2) })).toThrow(refused);
});

test("[GS-4] software goes no further than the protocol it speaks", () => {
  const upgrade = (protocol_version: number, from_epoch: number) =>
    ({
      type: "protocol_upgraded",
      ...{ protocol_version, from_epoch, specification: new Uint8Array(32) },
    }) as const;
  expect(() => opened(upgrade(3, 2))).toThrow(refused);
  expect(() => opened(upgrade(2, 0))).toThrow(refused);
  const decided = approvedBy(network, GENESIS_STATE, upgrade(2, 2)).state;
  const first = closedOnce(decided);
  expect(first.epoch.epochId).toBe(1);
  expect(() => closedOnce(first)).toThrow(expect.objectContaining({ code: "VERSION_UNSUPPORTED" }));
});
