export { countCorrect, type Evaluation } from "./evaluate.ts";
export {
  featureMatrix,
  featureRows,
  subjectGroups,
  type Column,
  type Columns,
  type FeatureMatrix,
} from "./features.ts";
export {
  applyAverage,
  clipNormUnits,
  toFloats,
  trainLocally,
  updateEntryBound,
  updateSensitivity,
  type LocalTraining,
  type UpdateBounds,
} from "./local-update.ts";
export { modelChangeMicro } from "./model-change.ts";
export { STEP_SIGNATURE, buildLogisticModel, buildLogisticStepGraph } from "./logistic-graphs.ts";
export {
  encodeModel,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxValue,
} from "./onnx-encoder.ts";
