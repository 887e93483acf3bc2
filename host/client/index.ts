export { SymphonyClient, type Submitter, type Task } from "./symphony-client.ts";
export { TaskClient, RemoteProblem, type ClientLimits } from "../http/task-client.ts";
export type { TaskDryRun, TaskEventView, TaskView } from "../http/task-views.ts";
export { VaultClient, type IngestAnswer, type IngestCall } from "../http/vault/client.ts";
export { readOperator, readSubmitter } from "../cli/network-files.ts";
