export {
  addGovernanceRoutes,
  type GovernanceRoutesContext,
  type Page,
  type PageAt,
} from "./governance-routes.ts";
export type {
  EpochView,
  GovernanceView,
  PolicyVersionView,
  ProposalStanding,
  WholeProposal,
} from "./governance-views.ts";
export { NodeClient, type NodeIdentity } from "./node-client.ts";
export { addNodeRoutes, type NodeRoutesContext, type TaskRounds } from "./node-routes.ts";
export {
  candidateAnswer,
  judgementAnswer,
  poolAnswer,
  preconditionsAnswer,
  promotionFile,
  sharesAnswer,
} from "./vault/attributes-routes.ts";
export { promotedAnswer, promotedListAnswer } from "./vault/vault-scoped-routes.ts";
export { VaultClient, type IngestAnswer, type VaultQuery } from "./vault/client.ts";
export { addVaultRoutes, type VaultRoutesContext } from "./vault/index.ts";
export { plainJson } from "./plain-json.ts";
export { describedRoutes, type RouteDescription } from "./route.ts";
export { createServer, listen, type Listen, type RunningServer } from "./server.ts";
export { RemoteProblem, TaskClient } from "./task-client.ts";
export { addTaskRoutes, type TaskRoutesContext } from "./task-routes.ts";
export type { TaskDryRun, TaskEventView, TaskView } from "./task-views.ts";
export {
  parametersFileSchema,
  requestFileSchema,
  requestOf,
  type RequestFile,
} from "./request-file.ts";
