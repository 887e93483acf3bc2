import { padTo } from "#aggregation";
import { VerificationError, type ComputeParameters } from "#protocol";

import { loadModel, type OnnxModel } from "../../adapters/onnx.ts";
import { ARTIFACT_BYTES_MAX } from "../../limits.ts";
import {
  contributionMask,
  histogramOfScores,
  scoreRecords,
} from "../../workloads/compute/index.ts";
import { featureRows } from "../../workloads/train/index.ts";
import { subjectNumbers } from "../inputs.ts";
import { int32Bytes, naturalColumns } from "./features.ts";
import { projectedColumns } from "./projections.ts";
import type { SliceWork } from "./work.ts";

/** Size of a histogram as it travels: a length and four bytes for each bin. */
export function computeOutputBytes(parameters: ComputeParameters): number {
  return 4 + (parameters.bin_edges_micro.length - 1) * 4;
}

/**
 * The histogram of the registered model's scores over the consenting rows, one row for each subject.
 *
 * Fewer subjects than the local threshold count as none (XP-12, AC-3).
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED beyond the policy's time
 * @throws {@link VerificationError} EXECUTION_WORKLOAD_FAILED for a model without one input and a score output
 */
export async function computeSlice(
  work: SliceWork,
  parameters: ComputeParameters,
): Promise<Uint8Array> {
  const { artifact, task, rows } = work;
  if (artifact === null) throw modelRefused("a model");
  const subjects = subjectNumbers(rows.subjects);
  const every = Int32Array.from({ length: rows.rows }, (_, row) => row);
  const features = featureRows(
    naturalColumns(projectedColumns(rows, task), task),
    parameters.features,
    every,
  );
  await using model = await loadModel(artifact.bytes, { bytesMax: ARTIFACT_BYTES_MAX });
  const { scores } = await scoreRecords({
    model,
    inspection: artifact.inspection,
    features,
    rows: rows.rows,
    clockMs: work.clockMs,
    ...namesOf(model),
    bounds: {
      rowsMax: task.rowsMax,
      workUnitsMax: parameters.work_units_max,
      millisecondsMax: task.policy.classes.compute.execution_ms_max,
    },
  });
  const counts = histogramOfScores(
    scores,
    parameters.bin_edges_micro,
    contributionMask(subjects, 1),
  );
  const enough = new Set(subjects).size >= task.policy.privacy.minimum_local_cardinality;
  if (!enough) counts.fill(0);
  return padTo(int32Bytes(counts), computeOutputBytes(parameters));
}

/** A model has one input; its score is `score`, else `probability`, else its only output. */
function namesOf(model: OnnxModel): { readonly input: string; readonly output: string } {
  const [input, ...others] = model.inputNames;
  const output =
    ["score", "probability"].find((name) => model.outputNames.includes(name)) ??
    (model.outputNames.length === 1 ? model.outputNames[0] : undefined);
  if (input === undefined || others.length > 0 || output === undefined) {
    throw modelRefused("one input and an output named score or probability, or one output");
  }
  return { input, output };
}

function modelRefused(expected: string): VerificationError {
  return new VerificationError(
    { code: "EXECUTION_WORKLOAD_FAILED", expected },
    `model: expected ${expected}, got another`,
  );
}
