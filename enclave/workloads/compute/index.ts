export { inspectModel, type ModelInspection, type ModelLimits } from "./model-inspection.ts";
export {
  contributionMask,
  encodeScores,
  histogramOfScores,
  scoreRecords,
  type ScoreBounds,
  type Scored,
  type Scoring,
} from "./score.ts";
