import { noiseStream, requireHeadroom, type NoiseStream } from "#aggregation";
import { LimitError, MalformedError } from "#protocol";

import type { OnnxModel } from "../../adapters/onnx.ts";

/** The most weights a model may have: 2^20 keeps the kernel's floating-point error below its margin. */
export const WEIGHTS_MAX = 1 << 20;
/**
 * Shrinks every clipped update, so that the L2 norm after truncation to integers is at most the bound:
 * the relative error of a sum of 2^20 squares in doubles is below 2^-32.
 */
const CLIP_MARGIN = 1 - 1e-9;

/** The public constants that bound an update. */
export interface UpdateBounds {
  /** L2 bound of one group's update, in millionths of a weight. */
  readonly clipNormMicro: number;
  /** A weight w is carried as the integer w * 2^fractionBits. */
  readonly fractionBits: number;
}

/** The clipping norm in fixed point: floor(clip * 2^fractionBits). An integer. */
export function clipNormUnits({ clipNormMicro, fractionBits }: UpdateBounds): number {
  return Math.floor((clipNormMicro * 2 ** fractionBits) / 1e6);
}

/**
 * How far one subject moves the sum of all Vaults' contributions, in L2 and in fixed-point units.
 *
 * A subject's rows sit in one group per Vault, and a group's update, whatever the step graph did, is an
 * integer vector of norm at most {@link clipNormUnits}; replaced by another such vector it moves by at most
 * twice that. Clipping comes before truncation towards zero, which only shrinks, so no rounding slack is due.
 *
 * @param vaultsPerSubject - In how many participating Vaults one subject may be.
 */
export function updateSensitivity(
  bounds: UpdateBounds & { readonly vaultsPerSubject: number },
): number {
  return 2 * clipNormUnits(bounds) * bounds.vaultsPerSubject;
}

/** The largest magnitude any entry of one Vault's contribution can have: every group at its bound. */
export function updateEntryBound(bounds: UpdateBounds & { readonly groups: number }): number {
  return clipNormUnits(bounds) * bounds.groups;
}

/** One Vault's part of one round. Everything but `features`, `labels` and `rowGroup` is public. */
export interface LocalTraining extends UpdateBounds {
  /** A loaded step graph with the signature of STEP_SIGNATURE. */
  readonly model: OnnxModel;
  /** Row-major, scaled; as {@link featureMatrix} makes them. */
  readonly features: Float32Array;
  readonly labels: Float32Array;
  /** The group of each row's subject, in [0, groups). */
  readonly rowGroup: Int32Array;
  readonly groups: number;
  /** Fixed point; its length is the number of weights. */
  readonly globalWeights: Int32Array;
  readonly learningRateMicro: number;
  readonly localSteps: number;
  readonly batchSize: number;
  /** 32 bytes; decides the order of rows and nothing else. */
  readonly seedOrder: Uint8Array;
}

function requireShape(training: LocalTraining): number {
  const rows = training.labels.length;
  const width = rows === 0 ? 0 : training.features.length / rows;
  const grouped = training.rowGroup.every((group) => group >= 0 && group < training.groups);
  const shaped = Number.isInteger(width) && training.rowGroup.length === rows && grouped;
  if (!shaped || training.features.some((value) => !Number.isFinite(value))) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH" },
      "training rows: expected finite features, a label and a group in range for each, got others",
    );
  }
  if (training.globalWeights.length > WEIGHTS_MAX) {
    throw new LimitError(
      { code: "EXECUTION_BOUND_EXCEEDED", weightsMax: WEIGHTS_MAX },
      `weights: expected at most ${WEIGHTS_MAX}, got ${training.globalWeights.length}`,
    );
  }
  const entryBound = updateEntryBound(training);
  requireHeadroom({ parts: 1, entryBound, noiseBound: 0 });
  return width;
}

/**
 * One Vault's contribution to one round: every group trains from the global weights on its own rows, its
 * update is clipped to the public norm, carried to fixed point, and the updates are added up.
 *
 * Sample-and-aggregate: one subject touches one group's bounded update ({@link updateSensitivity}). An update
 * with any entry that is not finite counts as zero. A group without rows counts as zero too and costs the same
 * work, so that time says nothing about it. Divide by the public number of groups (times Vaults) only after
 * noise is added: {@link applyAverage}.
 *
 * @returns The sum over groups, fixed point; each entry within {@link updateEntryBound}.
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when the rows do not fit together
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED when weights or ring are too small for the task
 * @throws {@link RefusedError} EXECUTION_WORKLOAD_FAILED when the graph fails or has another signature
 */
export async function trainLocally(training: LocalTraining): Promise<Int32Array> {
  const width = requireShape(training);
  const members = rowsByGroup(training.rowGroup, training.groups);
  const weights = toFloats(training.globalWeights, training.fractionBits);
  const bound = clipNormUnits(training);
  const total = new Int32Array(weights.length);
  // One row of zeros at the end stands in for the rows of an empty group.
  const padded = padRow(training, width);
  for (const [group, rows] of members.entries()) {
    const stream = noiseStream(training.seedOrder, `train/order/${group}`);
    const pool = rows.length === 0 ? [padded.rows - 1] : rows;
    const order = shuffledOrder(stream, pool, training.localSteps * training.batchSize);
    // Groups run one after the other: one thread, one fixed order of sums.
    const trained = await runStep(training, padded, { order, weights });
    const update = clippedUpdate({ trained, weights, bound, fractionBits: training.fractionBits });
    if (rows.length === 0) update.fill(0);
    for (let i = 0; i < total.length; i += 1) total[i] = (total[i] ?? 0) + (update[i] ?? 0);
  }
  return total;
}

interface PaddedRows {
  readonly features: Float32Array;
  readonly labels: Float32Array;
  readonly rows: number;
  readonly width: number;
}

function padRow({ features, labels, globalWeights }: LocalTraining, width: number): PaddedRows {
  const rows = labels.length + 1;
  // A Vault without any row still runs: the width then follows from a linear model's weights.
  const columns = width === 0 ? globalWeights.length - 1 : width;
  const paddedFeatures = new Float32Array(rows * columns);
  paddedFeatures.set(features);
  const paddedLabels = new Float32Array(rows);
  paddedLabels.set(labels);
  return { features: paddedFeatures, labels: paddedLabels, rows, width: columns };
}

function rowsByGroup(rowGroup: Int32Array, groups: number): readonly (readonly number[])[] {
  const members: number[][] = Array.from({ length: groups }, () => []);
  rowGroup.forEach((group, row) => members[group]?.push(row));
  return members;
}

/** `length` row numbers: the pool in one random order after another (Fisher-Yates). */
function shuffledOrder(
  stream: NoiseStream,
  pool: readonly number[],
  length: number,
): BigInt64Array {
  const order = new BigInt64Array(length);
  const deck = [...pool];
  for (let at = 0; at < length; at += 1) {
    const left = deck.length - (at % deck.length);
    const pick = deck.length - left + stream.uniform(left);
    const here = at % deck.length;
    const chosen = deck[pick] ?? 0;
    deck[pick] = deck[here] ?? 0;
    deck[here] = chosen;
    order[at] = BigInt(chosen);
  }
  return order;
}

async function runStep(
  { model, learningRateMicro, localSteps, batchSize }: LocalTraining,
  rows: PaddedRows,
  { order, weights }: { readonly order: BigInt64Array; readonly weights: Float32Array },
): Promise<Float32Array> {
  const outputs = await model.run({
    features: { data: rows.features, dims: [rows.rows, rows.width] },
    labels: { data: rows.labels, dims: [rows.rows, 1] },
    order: { data: order, dims: [localSteps, batchSize] },
    rate: { data: Float32Array.of(learningRateMicro / 1e6), dims: [1] },
    weights: { data: weights, dims: [weights.length] },
  });
  const trained = outputs["weights_out"]?.data;
  if (trained instanceof Float32Array && trained.length === weights.length) return trained;
  throw new MalformedError(
    { code: "EXECUTION_WORKLOAD_FAILED" },
    `step graph: expected weights_out with ${weights.length} floats, got another output`,
  );
}

/**
 * One group's update in fixed point, of L2 norm at most `bound`, whatever `trained` holds.
 *
 * Any entry that is not finite makes the whole update zero. Truncates towards zero after clipping.
 */
export function clippedUpdate({
  trained,
  weights,
  bound,
  fractionBits,
}: {
  readonly trained: Float32Array;
  readonly weights: Float32Array;
  readonly bound: number;
  readonly fractionBits: number;
}): Int32Array {
  const unit = 2 ** fractionBits;
  const delta = Float64Array.from(weights, (weight, i) => ((trained[i] ?? NaN) - weight) * unit);
  const norm = Math.sqrt(delta.reduce((sum, entry) => sum + entry * entry, 0));
  const update = new Int32Array(delta.length);
  // An infinite norm also covers squares that overflow; NaN fails every comparison.
  if (!(norm < Infinity)) return update;
  const factor = norm > bound * CLIP_MARGIN ? (bound * CLIP_MARGIN) / norm : 1;
  delta.forEach((entry, i) => {
    update[i] = Math.trunc(entry * factor);
  });
  return update;
}

/** Fixed-point weights as floats; exact below 2^24 units. */
export function toFloats(weights: Int32Array, fractionBits: number): Float32Array {
  const unit = 2 ** fractionBits;
  return Float32Array.from(weights, (weight) => weight / unit);
}

/** Weights are held to this magnitude in fixed point, so that a run of noise cannot wrap them. */
const WEIGHT_UNITS_MAX = 2 ** 30;

/**
 * The next global weights: weights + round((sum + noise) / divisor), in integers.
 *
 * @param divisor - Public: groups times the number of Vaults the envelope names, whoever came.
 * @param sum - The ring sum of contributions; its headroom was asked beforehand.
 * @param noise - Same length; zeros only in a test.
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for unequal lengths or a divisor below 1
 */
export function applyAverage({
  globalWeights,
  sum,
  noise,
  divisor,
}: {
  readonly globalWeights: Int32Array;
  readonly sum: Int32Array;
  readonly noise: Int32Array;
  readonly divisor: number;
}): Int32Array {
  const { length } = globalWeights;
  const shaped = sum.length === length && noise.length === length;
  if (!shaped || !Number.isSafeInteger(divisor) || divisor < 1) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", weights: length, divisor },
      `average: expected ${length} sums and noises and a positive divisor, got others`,
    );
  }
  return Int32Array.from(globalWeights, (weight, i) => {
    const noisy = ((sum[i] ?? 0) + (noise[i] ?? 0)) | 0;
    const step = Math.floor((2 * noisy + divisor) / (2 * divisor));
    return Math.min(Math.max(weight + step, -WEIGHT_UNITS_MAX), WEIGHT_UNITS_MAX);
  });
}
