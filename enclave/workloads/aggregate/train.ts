import {
  approximate,
  gaussianNoise,
  gaussianScaleFor,
  noiseStream,
  secureSum,
  unpad,
} from "#aggregation";
import { MalformedError, type TaskResult, type TrainParameters } from "#protocol";

import {
  applyAverage,
  buildLogisticModel,
  modelChangeMicro,
  toFloats,
  updateEntryBound,
  updateSensitivity,
} from "../train/index.ts";

/** Slices of one round of training and what the envelope fixed about combining them. */
export interface TrainAggregation {
  /** Padded slice outputs, in order of Vault. */
  readonly outputs: readonly Uint8Array[];
  readonly outputBytes: number;
  readonly parameters: TrainParameters;
  /** The weights this round started from, fixed point. */
  readonly weights: Int32Array;
  readonly round: number;
  /** The whole charge of the task, for all its rounds. */
  readonly epsilonMicro: number;
  readonly deltaPico: number;
  /** Vaults the envelope names: the public divisor, and in how many one subject may be. */
  readonly vaults: number;
  readonly noiseKey: Uint8Array;
}

/** Noise is held to this many standard deviations when headroom is asked for. */
const NOISE_DEVIATIONS = 16;

/**
 * The weights after one round: the sum of clipped updates, discrete Gaussian noise, and the public divisor.
 *
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH for an output that is no update of this task
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED when the sum could leave the 32-bit ring
 */
export function aggregateUpdates(aggregation: TrainAggregation): Int32Array {
  const { parameters, weights, vaults } = aggregation;
  const bounds = {
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
  };
  const sigmaSquared = gaussianScaleFor({
    epsilonMicro: aggregation.epsilonMicro,
    deltaPico: aggregation.deltaPico,
    sensitivity: updateSensitivity({ ...bounds, vaultsPerSubject: vaults }),
    rounds: parameters.rounds,
  });
  const noiseBound = Math.ceil(Math.sqrt(approximate(sigmaSquared)) * NOISE_DEVIATIONS);
  const sum = secureSum(
    aggregation.outputs.map((output) => updateOf(output, aggregation)),
    { entryBound: updateEntryBound({ ...bounds, groups: parameters.groups }), noiseBound },
  );
  const stream = noiseStream(aggregation.noiseKey, `train/round/${aggregation.round}`);
  return applyAverage({
    globalWeights: weights,
    sum,
    noise: gaussianNoise(stream, sigmaSquared, weights.length),
    divisor: parameters.groups * vaults,
  });
}

/** How far a round moved the model, when the request sets a threshold for that; null when it sets none (TC-5). */
export function declaredChange(
  parameters: TrainParameters,
  before: Int32Array,
  after: Int32Array,
): number | null {
  const { convergence_threshold_micro: threshold, fraction_bits: fractionBits } = parameters;
  return threshold === null ? null : modelChangeMicro({ before, after, fractionBits });
}

/** The delivered model of the last round's weights. */
export function modelResult(
  parameters: TrainParameters,
  weights: Int32Array,
): TaskResult["result"] {
  const { features, fraction_bits: fractionBits, rounds } = parameters;
  const model = buildLogisticModel({ weights: toFloats(weights, fractionBits), features });
  return { kind: "model", format: "onnx", model, rounds };
}

function updateOf(padded: Uint8Array, { outputBytes, weights }: TrainAggregation): Int32Array {
  const content = padded.length === outputBytes ? unpad(padded) : null;
  if (content?.length !== weights.length * 4) {
    throw new MalformedError(
      { code: "EXECUTION_INPUT_MISMATCH", weights: weights.length },
      `slice output: expected ${outputBytes} bytes with ${weights.length} weights, got others`,
    );
  }
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  return Int32Array.from(weights, (_, index) => view.getInt32(index * 4, true));
}
