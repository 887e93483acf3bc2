import {
  GOVERNANCE_EVENT,
  GOVERNANCE_STATEMENT,
  MalformedError,
  RefusedError,
  parseCose,
  proposalIdOf,
  type GovernanceState,
  type GovernedDecision,
} from "#protocol";
import {
  actorView,
  findProposal,
  governanceView,
  policyView,
  proposalView,
  type Ballots,
  type Candidates,
  type EpochRegister,
  type Governance,
} from "../governance/index.ts";
import { plainJson, type GovernanceRoutesContext, type Page, type PageAt } from "../http/index.ts";

/** What callers of a coordinator may see and do of governance. */
export function governanceRoutesOf(parts: {
  readonly governance: Governance;
  readonly epochs: EpochRegister;
  readonly ballots: Ballots;
  readonly candidates: Candidates;
  readonly nowMs: () => number;
  /** Called when the log may have grown. */
  readonly changed: () => Promise<void>;
}): GovernanceRoutesContext {
  const { governance, epochs, ballots, candidates, nowMs } = parts;
  const overview = async (proposalId: string) =>
    proposalView(
      findProposal(governance.state(), proposalId),
      await ballots.votes(proposalId),
      nowMs(),
    );
  const proposal = async (proposalId: string) => {
    const { decision } = findProposal(governance.state(), proposalId);
    return { ...(await overview(proposalId)), decision: jsonObject(decision) };
  };
  return {
    state: () => ({ ...governanceView(governance.state()), cosigned: governance.isCosigned() }),
    actors: () => actorsOf(governance.state()),
    actor: (id) => actorOf(governance.state(), id),
    policies: () => [...governance.state().policies.values()].map(policyView),
    policy: (id) => policyOf(governance.state(), id),
    epochs: async (at) => pageOf(await epochs.list(at.after, at.limit + 1), at),
    events: (at) => pageOf(governance.events().slice(at.after, at.after + at.limit + 1), at),
    checkpoint: () => governance.note(),
    candidates: (at) => candidates.list(at),
    candidateReport: (subject, window) => candidates.report(subject, window),
    proposals: async () =>
      Promise.all([...governance.state().proposals.keys()].toReversed().map(overview)),
    proposal,
    open: async (event) => {
      const proposalId = openedBy(event);
      await governance.submit(event);
      await parts.changed();
      return proposal(proposalId);
    },
    vote: async (proposalId, signed) => {
      await ballots.cast(proposalId, signed);
      await parts.changed();
      return proposal(proposalId);
    },
  };
}

/** The part of a list that `entries` begins with, one more of which says that there is a next part. */
function pageOf<T>(entries: readonly T[], { after, limit }: PageAt): Page<T> {
  const next = entries.length > limit ? after + limit : null;
  return { entries: entries.slice(0, limit), next };
}

function actorsOf(state: GovernanceState) {
  return [...state.actors.values()].map((actor) => actorView(actor, state));
}

function actorOf(state: GovernanceState, actorId: string) {
  const actor = state.actors.get(actorId);
  if (actor !== undefined) return actorView(actor, state);
  throw new RefusedError(
    { code: "AUTH_UNKNOWN_ACTOR" },
    "actor: expected one that governance has registered, got another",
  );
}

function policyOf(state: GovernanceState, policyVersionId: string) {
  const version = state.policies.get(policyVersionId);
  if (version !== undefined) return { ...policyView(version), policy: version.policy };
  throw new RefusedError(
    { code: "GOVERNANCE_POLICY_UNKNOWN" },
    "policy version: expected one that governance has announced, got another",
  );
}

/** The proposal that an event says it opens; taking the event verifies it. */
function openedBy(event: Uint8Array): string {
  const [approval = new Uint8Array(0)] = GOVERNANCE_EVENT.decode(event).approvals;
  const statement = GOVERNANCE_STATEMENT.decode(parseCose(approval).payload);
  const { type } = statement.decision;
  if (type === "proposal_opened") return proposalIdOf(statement);
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", field: "type", actual: type },
    `proposal: expected an event that opens one, got ${type}`,
  );
}

function jsonObject(value: GovernedDecision): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plainJson(item)]));
}
