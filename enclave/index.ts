export { EnclaveSession, type SessionAnswer } from "./session.ts";
export type { EnclaveEnvironment, RecipientKey } from "./environment.ts";
export { WORKLOADS, configurationDigest } from "./limits.ts";
export { buildLogisticModel, buildLogisticStepGraph } from "./workloads/train/index.ts";
