export { actorView, type ActorView } from "./actor-view.ts";
export { openGovernance, type Governance, type RequireDisputed } from "./service.ts";
export {
  acceptOlder,
  acceptSnapshot,
  extendHead,
  type AcceptedGovernance,
  type GovernanceHead,
} from "./accept.ts";
export { createGovernanceEvent } from "./propose.ts";
export { findProposal, openBallots, type Ballots } from "./ballots.ts";
export { openCandidates, type Candidates, type KeptCandidate } from "./candidates.ts";
export {
  ballotStatements,
  candidateStatements,
  governanceStatements,
  type GovernanceSchema,
} from "./queries.ts";
export { closingTrigger, type Epoch, type EpochScope, type EpochTrigger } from "./epochs.ts";
export { governanceView, policyView, proposalView } from "./views.ts";
export { openEpochRegister, type EpochBoundary, type EpochRegister } from "./epoch-register.ts";
