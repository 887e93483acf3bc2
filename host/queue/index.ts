export { Deadlines } from "./deadlines.ts";
export { WorkIssuer, type NewWork } from "./issuer.ts";
export { Queue, instanceName, type BoardMessage, type FinishedWork } from "./queue.ts";
export { queueStatements, type QueueSchema } from "./queries.ts";
export { WitnessRelay, type RelayedAnswer } from "./relay.ts";
