export { SymphonyClient, type Submitter, type Task } from "./symphony-client.ts";
export { TaskClient, RemoteProblem, type ClientLimits } from "../http/task-client.ts";
export type { TaskDryRun, TaskEventView, TaskView } from "../http/task-views.ts";
export { readSubmitter } from "../cli/network-files.ts";
