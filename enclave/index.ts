export { EnclaveSession, type SessionAnswer } from "./session.ts";
export type { EnclaveEnvironment, RecipientKey } from "./environment.ts";
export { WORKLOADS, configurationDigest } from "./limits.ts";
export { loadModel, type OnnxModel } from "./adapters/onnx.ts";
export {
  applyAverage,
  buildLogisticModel,
  buildLogisticStepGraph,
  countCorrect,
  featureMatrix,
  featureRows,
  subjectGroups,
  toFloats,
  trainLocally,
  updateEntryBound,
  type Columns,
  type FeatureMatrix,
} from "./workloads/train/index.ts";
