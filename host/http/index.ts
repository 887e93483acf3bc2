export { NodeClient, type NodeIdentity } from "./node-client.ts";
export { addNodeRoutes, type NodeRoutesContext, type TaskRounds } from "./node-routes.ts";
export { OperatorClient } from "./operator-client.ts";
export { addOperatorRoutes, type OperatorRoutesContext } from "./operator-routes.ts";
export { plainJson } from "./plain-json.ts";
export { createServer, listen, type Listen, type RunningServer } from "./server.ts";
export { RemoteProblem, TaskClient } from "./task-client.ts";
export {
  addTaskRoutes,
  type TaskEventView,
  type TaskRoutesContext,
  type TaskView,
} from "./task-routes.ts";
