import {
  gaussianNoise,
  gaussianNoiseBound,
  gaussianScaleFor,
  noiseStream,
  secureSum,
} from "../../../aggregation/index.ts";
import type { OnnxModel } from "../../../enclave/adapters/onnx.ts";
import {
  applyAverage,
  countCorrect,
  subjectGroups,
  trainLocally,
  updateEntryBound,
  updateSensitivity,
  type FeatureMatrix,
} from "../../../enclave/workloads/train/index.ts";
import { digestOfBytes, utf8, type TrainParameters } from "../../../protocol/index.ts";

/** One Vault's rows, ready for training. */
export interface Member {
  readonly matrix: FeatureMatrix;
  /** One identifier per row. */
  readonly subjects: readonly string[];
}

/** A whole federation in one process: the kernels in the order that enclaves call them. */
export interface Federation {
  readonly model: OnnxModel;
  readonly members: readonly Member[];
  readonly parameters: TrainParameters;
  /** What is charged for all rounds, and in how many Vaults one subject may be; null for no noise. */
  readonly privacy: {
    readonly epsilonMicro: number;
    readonly deltaPico: number;
    readonly vaultsPerSubject: number;
  } | null;
  readonly seed: string;
}

const seedOf = (text: string): Uint8Array => digestOfBytes("test-seed", utf8(text));

async function contribution(
  { model, parameters, seed }: Federation,
  { matrix, subjects }: Member,
  globalWeights: Int32Array,
): Promise<Int32Array> {
  return await trainLocally({
    model,
    features: matrix.features,
    labels: matrix.labels,
    rowGroup: subjectGroups(subjects, parameters.groups),
    groups: parameters.groups,
    globalWeights,
    learningRateMicro: parameters.learning_rate_micro,
    localSteps: parameters.local_steps,
    batchSize: parameters.batch_size,
    seedOrder: seedOf(`${seed}/${subjects[0] ?? ""}/${globalWeights.join()}`),
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
  });
}

function roundNoise(
  { parameters, privacy, seed }: Federation,
  round: number,
  length: number,
): Int32Array {
  if (privacy === null) return new Int32Array(length);
  const sensitivity = updateSensitivity({
    clipNormMicro: parameters.clip_norm_micro,
    fractionBits: parameters.fraction_bits,
    vaultsPerSubject: privacy.vaultsPerSubject,
  });
  const variance = gaussianScaleFor({
    epsilonMicro: privacy.epsilonMicro,
    deltaPico: privacy.deltaPico,
    sensitivity,
    rounds: parameters.rounds,
  });
  if (gaussianNoiseBound(variance) > 2 ** 30) throw new Error("noise leaves the ring");
  return gaussianNoise(noiseStream(seedOf(`${seed}/noise`), `round/${round}`), variance, length);
}

/** Runs every round and returns the final weights in fixed point. */
export async function federate(federation: Federation): Promise<Int32Array> {
  const { members, parameters } = federation;
  const length = parameters.features.length + 1;
  let weights = new Int32Array(length);
  for (let round = 0; round < parameters.rounds; round += 1) {
    const updates: Int32Array[] = [];
    for (const member of members) updates.push(await contribution(federation, member, weights));
    const entryBound = updateEntryBound({
      clipNormMicro: parameters.clip_norm_micro,
      fractionBits: parameters.fraction_bits,
      groups: parameters.groups,
    });
    const sum = secureSum(updates, { entryBound, noiseBound: 0 });
    const noise = roundNoise(federation, round, length);
    const divisor = parameters.groups * members.length;
    weights = Int32Array.from(applyAverage({ globalWeights: weights, sum, noise, divisor }));
  }
  return weights;
}

/** The share of rows whose label the linear model gets right. */
export function accuracy(weights: Float32Array, { features, labels }: FeatureMatrix): number {
  const include = new Uint8Array(labels.length).fill(1);
  return countCorrect({ weights, features, labels, include }) / labels.length;
}
