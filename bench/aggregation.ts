import {
  addInto,
  gaussianNoise,
  laplaceNoise,
  noiseStream,
  rational,
} from "../aggregation/index.ts";
import { sampleDiscreteGaussian, unionCount } from "../aggregation/index.ts";
import { loadModel } from "../enclave/adapters/onnx.ts";
import { buildLogisticStepGraph, trainLocally } from "../enclave/workloads/train/index.ts";
import { compilePredicate } from "../enclave/workloads/query/index.ts";
import { bestSeconds, type Figure } from "./figures.ts";

const KEY = new Uint8Array(32).fill(7);

async function sumFigures(): Promise<Figure[]> {
  const [entries, parts] = [1_000_000, 32];
  const updates = Array.from({ length: parts }, (_, i) => new Int32Array(entries).fill(i - 9));
  const total = new Int32Array(entries);
  const summed = await bestSeconds(() => updates.forEach((update) => addInto(total, update)));
  const copied = await bestSeconds(() => updates.forEach((update) => total.set(update)));
  const gigabytes = (parts * entries * 4) / 1e9;
  return [
    { name: "ring sum of 32 updates of 1M entries", value: gigabytes / summed, unit: "GB/s" },
    { name: "ring sum against plain copy, time", value: summed / copied, unit: "x" },
  ];
}

async function noiseFigures(): Promise<Figure[]> {
  const variance = rational(1n << 36n);
  const length = 20_000;
  const stream = noiseStream(KEY, "bench");
  const vector = await bestSeconds(() => gaussianNoise(stream, variance, length), 3);
  const laplace = await bestSeconds(
    () => laplaceNoise(stream, rational(1_000_000n, 37n), length),
    3,
  );
  const reference = await bestSeconds(() => {
    for (let i = 0; i < length / 20; i += 1) sampleDiscreteGaussian(stream, variance);
  }, 3);
  return [
    { name: "discrete Gaussian vector", value: length / vector / 1e3, unit: "k samples/s" },
    { name: "discrete Laplace vector", value: length / laplace / 1e3, unit: "k samples/s" },
    {
      name: "discrete Gaussian, big integers against vector, time",
      value: (20 * reference) / vector,
      unit: "x",
    },
  ];
}

async function setFigures(): Promise<Figure[]> {
  const tokens = new Uint8Array(32 * 200_000);
  new Uint32Array(tokens.buffer).forEach((_, i, words) => (words[i] = i % 8 === 0 ? i / 8 : 1));
  const halves = [tokens.subarray(0, tokens.length / 2), tokens.subarray(tokens.length / 4)];
  const seconds = await bestSeconds(() => unionCount(halves), 3);
  return [{ name: "union over 250k tokens", value: 250 / seconds, unit: "k tokens/s" }];
}

async function trainFigures(): Promise<Figure[]> {
  const [rows, width, groups] = [20_000, 32, 64];
  await using model = await loadModel(buildLogisticStepGraph({ features: width }), {
    bytesMax: 65_536,
  });
  const stream = noiseStream(KEY, "rows");
  const features = Float32Array.from({ length: rows * width }, () => stream.uniform(256) / 128 - 1);
  const [localSteps, batchSize] = [50, 32];
  const seconds = await bestSeconds(() =>
    trainLocally({
      model,
      features,
      labels: Float32Array.from({ length: rows }, (_, row) => row % 2),
      rowGroup: Int32Array.from({ length: rows }, (_, row) => row % groups),
      groups,
      globalWeights: new Int32Array(width + 1),
      learningRateMicro: 100_000,
      localSteps,
      batchSize,
      seedOrder: KEY,
      clipNormMicro: 1_000_000,
      fractionBits: 16,
    }),
  );
  const steps = groups * localSteps;
  return [
    { name: "local steps, 32 features, batch 32", value: steps / seconds / 1e3, unit: "k steps/s" },
  ];
}

async function queryFigures(): Promise<Figure[]> {
  const rows = 1_000_000;
  const columns = new Map([
    ["age", Array.from({ length: rows }, (_, row) => (row * 7) % 100)],
    ["visits", Array.from({ length: rows }, (_, row) => (row * 13) % 40)],
  ]);
  const { match } = compilePredicate({
    operator: "AND",
    operands: [
      { attribute: "age", op: "range", min: 18, max: 65 },
      { attribute: "visits", op: "in", values: [0, 1, 2] },
    ],
  });
  const subjects = Array.from({ length: rows }, (_, row) => `subject-${row}`);
  const seconds = await bestSeconds(() => match(columns, subjects), 3);
  return [
    { name: "predicate of two tests over 1M rows", value: rows / seconds / 1e6, unit: "M rows/s" },
  ];
}

/** Measures the kernels of aggregation, train and query; about five seconds on one core. */
export async function aggregationFigures(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const measure of [sumFigures, noiseFigures, setFigures, trainFigures, queryFigures]) {
    figures.push(...(await measure()));
  }
  return figures;
}
