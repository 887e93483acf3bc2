import { LimitError, MalformedError } from "#protocol";

import type { OnnxModel } from "../../adapters/onnx.ts";
import type { ModelInspection } from "./model-inspection.ts";

/** What scoring may cost, as the task and the policy declare it. */
export interface ScoreBounds {
  readonly rowsMax: number;
  /** The row bound times operators of the model's graph. */
  readonly workUnitsMax: number;
  readonly millisecondsMax: number;
}

/** One scoring run: a model that was admitted, rows, and the bounds declared at admission. */
export interface Scoring {
  readonly model: OnnxModel;
  readonly inspection: ModelInspection;
  /** Row-major, `rows` times any width the model takes; finite. */
  readonly features: Float32Array;
  readonly rows: number;
  /** The name of the model's input, float [rows, features]. */
  readonly input: string;
  /** The name of the output that is one float per row. */
  readonly output: string;
  readonly bounds: ScoreBounds;
  /** Milliseconds since any fixed point; read before and after the run. */
  readonly clockMs: () => number;
}

/** Scores and what they cost. */
export interface Scored {
  /** One score per row. */
  readonly scores: Float32Array;
  /** The row bound times operators: a function of public sizes only. */
  readonly workUnits: number;
}

function exceeded(bound: string, max: number): LimitError {
  // How far a bound was missed depends on the records, so only the declared bound is named.
  return new LimitError(
    { code: "EXECUTION_BOUND_EXCEEDED", bound, max },
    `${bound}: expected at most ${max} as declared at admission, got more`,
  );
}

/**
 * Scores every row in one run of the model: single-pass, one thread, the model's own bits.
 *
 * Rows and work units are held to the declared bounds before anything runs; time after, because a native
 * run cannot be interrupted from here: the host ends a process that overstays.
 *
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED for any of the three bounds
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for features that are no whole rows or not finite;
 *   EXECUTION_WORKLOAD_FAILED when the output is not one float per row
 * @throws {@link RefusedError} EXECUTION_WORKLOAD_FAILED when the runtime fails
 */
export async function scoreRecords(scoring: Scoring): Promise<Scored> {
  const { model, inspection, features, rows, output, clockMs } = scoring;
  const { rowsMax, workUnitsMax: unitsMax, millisecondsMax: msMax } = scoring.bounds;
  // By the public bound: the real number of rows must not decide whether a task fails.
  const workUnits = rowsMax * inspection.nodes;
  if (rows > rowsMax) throw exceeded("rows", rowsMax);
  if (workUnits > unitsMax) throw exceeded("work units", unitsMax);
  if (rows === 0) return { scores: new Float32Array(0), workUnits };
  const width = features.length / rows;
  if (!Number.isInteger(width) || features.some((value) => !Number.isFinite(value))) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH" },
      "features: expected whole rows of finite numbers, got others",
    );
  }
  const started = clockMs();
  const outputs = await model.run({ [scoring.input]: { data: features, dims: [rows, width] } });
  if (clockMs() - started > msMax) throw exceeded("milliseconds", msMax);
  const scores = outputs[output]?.data;
  if (scores instanceof Float32Array && scores.length === rows) return { scores, workUnits };
  throw new MalformedError(
    { code: "EXECUTION_WORKLOAD_FAILED", output },
    `model: expected output ${output} with one float per row, got another`,
  );
}

/**
 * How many included scores fall into each bin [edge, next edge).
 *
 * A score below the first edge or not a number falls into the first bin, one at or above the last edge into
 * the last: no value aborts and none is lost.
 *
 * @param edgesMicro - Increasing, in millionths; two or more.
 * @param include - 1 for the rows that count ({@link contributionMask}); same length as `scores`.
 */
export function histogramOfScores(
  scores: Float32Array,
  edgesMicro: readonly number[],
  include: Uint8Array,
): Int32Array {
  const edges = edgesMicro.slice(1, -1).map((edge) => edge / 1e6);
  const counts = new Int32Array(edges.length + 1);
  scores.forEach((score, row) => {
    if (include[row] !== 1) return;
    const above = edges.findIndex((edge) => !(score >= edge));
    const bin = above === -1 ? edges.length : above;
    counts[bin] = (counts[bin] ?? 0) + 1;
  });
  return counts;
}

/**
 * 1 for the first `rowsPerSubjectMax` rows of each subject, 0 for the rest: what bounds a subject's weight in a
 * histogram, and so the L1 sensitivity of releasing it.
 *
 * @param subjects - A number per row that names its subject.
 */
export function contributionMask(subjects: Int32Array, rowsPerSubjectMax: number): Uint8Array {
  const seen = new Map<number, number>();
  return Uint8Array.from(subjects, (subject) => {
    const count = (seen.get(subject) ?? 0) + 1;
    seen.set(subject, count);
    return count <= rowsPerSubjectMax ? 1 : 0;
  });
}

/**
 * Scores as bytes that may be committed to: one little-endian Int32 of millionths per row.
 *
 * Not a number gives the smallest integer; anything else is rounded and held to the 32-bit range.
 */
export function encodeScores(scores: Float32Array): Uint8Array {
  const bytes = new Uint8Array(scores.length * 4);
  const view = new DataView(bytes.buffer);
  scores.forEach((score, row) => {
    const micro = Number.isNaN(score) ? -(2 ** 31) : Math.round(score * 1e6);
    view.setInt32(4 * row, Math.min(Math.max(micro, -(2 ** 31)), 2 ** 31 - 1), true);
  });
  return bytes;
}
