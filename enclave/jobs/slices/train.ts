import { padTo } from "#aggregation";
import {
  VerificationError,
  hkdf,
  utf8,
  type ProjectedValue,
  type TrainParameters,
} from "#protocol";

import { loadModel } from "../../adapters/onnx.ts";
import { ARTIFACT_BYTES_MAX } from "../../limits.ts";
import { featureMatrix, subjectGroups, trainLocally } from "../../workloads/train/index.ts";
import { int32Bytes, naturalColumns, readInt32 } from "./features.ts";
import { projectedColumns, type ProjectedColumns } from "./projections.ts";
import type { SliceWork } from "./work.ts";

/** Weights of the logistic model: one slope for each feature and the bias. */
export function weightCount(parameters: TrainParameters): number {
  return parameters.features.length + 1;
}

/** Size of an update, and of a state, as it travels. */
export function trainOutputBytes(parameters: TrainParameters): number {
  return 4 + weightCount(parameters) * 4;
}

/** The weights a round starts from: zeros before the first. @throws EXECUTION_INPUT_MISMATCH */
export function weightsOf(parameters: TrainParameters, state: Uint8Array | null): Int32Array {
  const count = weightCount(parameters);
  if (state === null) return new Int32Array(count);
  const weights = readInt32(state, count);
  if (weights !== null) return weights;
  throw new VerificationError(
    { code: "EXECUTION_INPUT_MISMATCH", weights: count },
    `state: expected ${count} weights, got another number`,
  );
}

/**
 * One Vault's clipped update of one round.
 *
 * No local threshold is applied to the number of rows: an update is no count, every group's part of it is clipped
 * whatever its size, and switching a whole update off at a threshold would let one subject move all of it.
 *
 * @throws {@link VerificationError} EXECUTION_WORKLOAD_FAILED, EXECUTION_INPUT_MISMATCH
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED
 */
export async function trainSlice(
  work: SliceWork,
  parameters: TrainParameters,
): Promise<Uint8Array> {
  const { artifact, task, rows } = work;
  if (artifact === null) {
    throw new VerificationError(
      { code: "EXECUTION_WORKLOAD_FAILED" },
      "step graph: expected one, got none",
    );
  }
  const columns = projectedColumns(rows, task);
  const matrix = featureMatrix(naturalColumns(columns, task), {
    features: parameters.features,
    labels: labelsOf(columns, parameters),
    positive: parameters.label.positive,
  });
  const groups = subjectGroups(rows.subjects, parameters.groups);
  await using model = await loadModel(artifact.bytes, { bytesMax: ARTIFACT_BYTES_MAX });
  const update = await trainLocally({
    model,
    features: matrix.features,
    labels: matrix.labels,
    rowGroup: Int32Array.from(matrix.rows, (row) => groups[row] ?? 0),
    groups: parameters.groups,
    globalWeights: weightsOf(parameters, work.state),
    learningRateMicro: parameters.learning_rate_micro,
    localSteps: parameters.local_steps,
    batchSize: parameters.batch_size,
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
    seedOrder: hkdf(work.noiseShare, utf8("symphony/train-order/v1")),
  });
  return padTo(int32Bytes(update), trainOutputBytes(parameters));
}

/** The column of the label as it is stored: in its scaled integers. */
function labelsOf(
  columns: ProjectedColumns,
  { label }: TrainParameters,
): readonly ProjectedValue[] {
  const values = columns.get(label.attribute);
  if (values !== undefined) return values;
  throw new VerificationError(
    { code: "EXECUTION_INPUT_MISMATCH", attribute: label.attribute },
    "label: expected an attribute of the record scope, got another",
  );
}
