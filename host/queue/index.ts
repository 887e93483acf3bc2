export { WorkIssuer, type NewWork } from "./issuer.ts";
export { Queue, instanceName, type BoardMessage, type FinishedWork } from "./queue.ts";
export { QUEUE_STATEMENTS, type QueueSchema } from "./queries.ts";
