export { inspectModel, type ModelInspection, type ModelLimits } from "./model-inspection.ts";
export { computeParametersSchema, type ComputeParameters } from "./parameters.ts";
export {
  contributionMask,
  encodeScores,
  histogramOfScores,
  scoreRecords,
  type Scored,
  type Scoring,
} from "./score.ts";
