import { MalformedError } from "#protocol";

/** Held-out rows and the linear model to judge, as {@link buildLogisticModel} takes it. */
export interface Evaluation {
  /** One slope per feature and then the bias. */
  readonly weights: Float32Array;
  /** Row-major, scaled as in training. */
  readonly features: Float32Array;
  /** 0 or 1 per row. */
  readonly labels: Float32Array;
  /** 1 for the rows that count; one row per subject makes the sensitivity of the result 1. */
  readonly include: Uint8Array;
}

/**
 * How many included rows the model labels right: an exact count, secret until noise is added and charged.
 *
 * The number of included rows is as secret; release it, if at all, as a noisy count of its own.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when sizes do not fit together
 */
export function countCorrect({ weights, features, labels, include }: Evaluation): number {
  const width = weights.length - 1;
  const rows = labels.length;
  if (width < 1 || features.length !== rows * width || include.length !== rows) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", features: width },
      `evaluation: expected ${width} features, a label and a mark for each row, got other sizes`,
    );
  }
  const bias = weights[width] ?? 0;
  let correct = 0;
  for (let row = 0; row < rows; row += 1) {
    let logit = bias;
    for (let j = 0; j < width; j += 1) {
      logit += (weights[j] ?? 0) * (features[row * width + j] ?? 0);
    }
    if (include[row] === 1 && (logit > 0 ? 1 : 0) === labels[row]) correct += 1;
  }
  return correct;
}
