import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { noiseStream, type NoiseStream } from "../../../aggregation/index.ts";
import { loadModel, type OnnxModel } from "../../../enclave/adapters/onnx.ts";
import { clippedUpdate } from "../../../enclave/workloads/train/local-update.ts";
import {
  applyAverage,
  buildLogisticModel,
  buildLogisticStepGraph,
  clipNormUnits,
  countCorrect,
  encodeModel,
  featureMatrix,
  subjectGroups,
  toFloats,
  trainLocally,
  updateEntryBound,
  updateSensitivity,
  type LocalTraining,
  type OnnxNode,
} from "../../../enclave/workloads/train/index.ts";
import { hex, sha256, utf8 } from "../../../protocol/index.ts";
import { accuracy, federate, type Member } from "./federation.ts";
import { HEART_PRIVACY, HEART_TRAIN_PARAMETERS } from "./heart-data.ts";

const FEATURES = 3;
const ROWS = 60;
const SEED = sha256(utf8("order"));
const MODEL_LIMIT = { bytesMax: 65_536 };

/** A number in [-1, 1) from a seeded stream. */
const real = (stream: NoiseStream): number => stream.uniform(2 ** 24) / 2 ** 23 - 1;

/** Rows whose label follows the sign of a fixed linear form, with some noise. */
function generated(name: string, rows: number): Member {
  const stream = noiseStream(SEED, name);
  const features = Float32Array.from({ length: rows * FEATURES }, () => 2 * real(stream));
  const labels = Float32Array.from({ length: rows }, (_, row) => {
    const [a = 0, b = 0, c = 0] = features.subarray(row * FEATURES, (row + 1) * FEATURES);
    return a - 2 * b + 0.5 * c + 0.3 + 0.5 * real(stream) > 0 ? 1 : 0;
  });
  return {
    matrix: { features, labels, rows: Int32Array.from(labels.keys()) },
    subjects: Array.from({ length: rows }, (_, row) => `${name}-${row}`),
  };
}

const MEMBER = generated("vault", ROWS);

function training(model: OnnxModel, change: Partial<LocalTraining> = {}): LocalTraining {
  return {
    model,
    features: MEMBER.matrix.features,
    labels: MEMBER.matrix.labels,
    rowGroup: subjectGroups(MEMBER.subjects, 8),
    groups: 8,
    globalWeights: Int32Array.of(6553, -13_107, 0, 3276),
    learningRateMicro: 100_000,
    localSteps: 5,
    batchSize: 4,
    seedOrder: SEED,
    clipNormMicro: 200_000,
    fractionBits: 16,
    ...change,
  };
}

const norm = (vector: Int32Array): number => Math.hypot(...vector);

/** A step graph that ignores what it should learn and answers `weights` changed by one operator. */
async function hostileModel(
  nodes: readonly OnnxNode[],
  constant: readonly number[],
): Promise<OnnxModel> {
  const float = (name: string, dims: readonly (number | string)[]) => ({
    name,
    type: "float" as const,
    dims,
  });
  const bytes = encodeModel({
    name: "hostile",
    nodes,
    initializers: [
      { name: "constant", dims: [constant.length], data: Float32Array.from(constant) },
    ],
    inputs: [
      float("features", ["rows", FEATURES]),
      float("labels", ["rows", 1]),
      { name: "order", type: "int64", dims: ["steps", "batch"] },
      float("rate", [1]),
      float("weights", [FEATURES + 1]),
    ],
    outputs: [float("weights_out", ["p"])],
  });
  return await loadModel(bytes, MODEL_LIMIT);
}

let model: OnnxModel;
beforeAll(async () => {
  model = await loadModel(buildLogisticStepGraph({ features: FEATURES }), MODEL_LIMIT);
});
afterAll(async () => model.close());

describe("graphs", () => {
  test("equal arguments give equal bytes, so a digest names a graph", () => {
    const digest = hex(sha256(buildLogisticStepGraph({ features: 13 })));
    expect(hex(sha256(buildLogisticStepGraph({ features: 13 })))).toBe(digest);
    expect(digest).toBe("ad0dd5d2ad0d951e149caa995dad8bde67cb30763f8b8dcbad95693c26d32c49");
    expect(hex(sha256(buildLogisticStepGraph({ features: 12 })))).not.toBe(digest);
  });

  test("a whole epoch in the graph is plain gradient descent in doubles", async () => {
    const order = Array.from({ length: 40 }, (_, i) => (i * 7) % ROWS);
    const weights = Float32Array.of(0.1, -0.2, 0, 0.05);
    const expected = [...weights];
    for (let step = 0; step < 10; step += 1) {
      const gradient = expected.map(() => 0);
      for (const row of order.slice(4 * step, 4 * step + 4)) {
        const x = [...MEMBER.matrix.features.subarray(row * FEATURES, (row + 1) * FEATURES), 1];
        const logit = x.reduce((sum, value, j) => sum + value * (expected[j] ?? 0), 0);
        const error = 1 / (1 + Math.exp(-logit)) - (MEMBER.matrix.labels[row] ?? 0);
        x.forEach((value, j) => (gradient[j] = (gradient[j] ?? 0) + error * value));
      }
      gradient.forEach((slope, j) => (expected[j] = (expected[j] ?? 0) - (0.3 * slope) / 4));
    }
    const outputs = await model.run({
      features: { data: MEMBER.matrix.features, dims: [ROWS, FEATURES] },
      labels: { data: MEMBER.matrix.labels, dims: [ROWS, 1] },
      order: { data: BigInt64Array.from(order.map(BigInt)), dims: [10, 4] },
      rate: { data: Float32Array.of(0.3), dims: [1] },
      weights: { data: weights, dims: [FEATURES + 1] },
    });
    [...(outputs["weights_out"]?.data ?? [])].forEach((weight, j) => {
      expect(Number(weight)).toBeCloseTo(expected[j] ?? NaN, 6);
    });
  });

  test("the delivered model clamps and scales raw attributes", async () => {
    const features = HEART_TRAIN_PARAMETERS.features.slice(0, 3);
    const bytes = buildLogisticModel({ weights: Float32Array.of(1, 2, -1, 0.25), features });
    await using delivered = await loadModel(bytes, MODEL_LIMIT);
    // age, sex, trestbps: in range, beyond it, below it.
    const rows = Float32Array.of(64, 1, 150, 500, 0, 999, 10, 1, 0);
    const { probability, label } = await delivered.run({
      attributes: { data: rows, dims: [3, 3] },
    });
    const logits = [1 + 2 - 1 + 0.25, 3.6 - 2 - 4.5 + 0.25, -3.4 + 2 + 2.5 + 0.25];
    logits.forEach((logit, i) => {
      expect(Number(probability?.data[i])).toBeCloseTo(1 / (1 + Math.exp(-logit)), 5);
      expect(label?.data[i]).toBe(logit > 0 ? 1n : 0n);
    });
  });
});

describe("features", () => {
  const { features, label } = HEART_TRAIN_PARAMETERS;
  const columns = (
    change: Record<string, (number | string | null)[]>,
  ): Map<string, (number | string | null)[]> => {
    const all = new Map<string, (number | string | null)[]>([[label.attribute, [0, 1]]]);
    for (const { attribute } of features) all.set(attribute, [0, 1]);
    for (const [attribute, values] of Object.entries(change)) all.set(attribute, values);
    return all;
  };
  const matrixOf = (all: ReturnType<typeof columns>) =>
    featureMatrix(all, {
      features,
      labels: all.get(label.attribute) ?? [],
      positive: label.positive,
    });

  test("every input is finite whatever the columns hold", () => {
    const cell = fc.oneof(fc.double(), fc.constant(null), fc.string(), fc.constant(1e300));
    const property = fc.property(fc.array(cell, { minLength: 2, maxLength: 2 }), (age) => {
      const matrix = matrixOf(columns({ age, oldpeak: age }));
      expect(matrix.features.every(Number.isFinite)).toBe(true);
    });
    fc.assert(property, { seed: 13 });
  });

  test("values are clamped, absent ones count as the mean, rows without label are left out", () => {
    const matrix = matrixOf(columns({ age: [9000, null], disease: [1, 0] }));
    expect([matrix.features[0], matrix.features[features.length]]).toEqual([Math.fround(3.6), 0]);
    expect([...matrix.labels]).toEqual([1, 0]);
    const partial = matrixOf(columns({ disease: [null, 1] }));
    expect([[...partial.rows], [...partial.labels]]).toEqual([[1], [1]]);
  });

  test("a missing or short column is refused", () => {
    const refusal = expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" });
    const missing = columns({});
    missing.delete("age");
    expect(() => matrixOf(missing)).toThrow(refusal);
    expect(() => matrixOf(columns({ age: [1] }))).toThrow(refusal);
    expect(() => matrixOf(columns({ disease: [] }))).toThrow(refusal);
  });

  test("groups depend on nothing but the subject", () => {
    const groups = subjectGroups(["a", "b", "c", "a"], 1000);
    expect(groups[0]).toBe(groups[3]);
    expect(subjectGroups(["c", "a"], 1000)).toEqual(Int32Array.of(groups[2] ?? 0, groups[0] ?? 0));
    const counts = new Int32Array(8);
    for (const group of subjectGroups(MEMBER.subjects, 8)) counts[group] = (counts[group] ?? 0) + 1;
    expect(Math.max(...counts)).toBeLessThan(20);
  });
});

describe("the clipping kernel", () => {
  test("[AG-1] bounds an update by the public norm whatever the graph answered", () => {
    const entries = fc.array(fc.float(), { minLength: 5, maxLength: 5 });
    const property = fc.property(entries, entries, (trained, weights) => {
      const finite = weights.map((weight) => (Math.abs(weight) < 1e4 ? weight : 1));
      const update = clippedUpdate({
        trained: Float32Array.from(trained),
        weights: Float32Array.from(finite),
        bound: 5000,
        fractionBits: 16,
      });
      expect(norm(update)).toBeLessThanOrEqual(5000);
    });
    fc.assert(property, { seed: 17, numRuns: 500 });
  });

  test.for([NaN, Infinity, -Infinity])("[AG-1] an update with %d counts as zero", (bad) => {
    const weights = Float32Array.of(1, 2, 3);
    const update = clippedUpdate({
      trained: Float32Array.of(1.5, bad, 3),
      weights,
      bound: 5000,
      fractionBits: 16,
    });
    expect([...update]).toEqual([0, 0, 0]);
  });

  test("[AG-1] an update within the bound is carried exactly", () => {
    const update = clippedUpdate({
      trained: Float32Array.of(1.5, 1.75, 3),
      weights: Float32Array.of(1, 2, 3),
      bound: 100_000,
      fractionBits: 4,
    });
    expect([...update]).toEqual([8, -4, 0]);
  });

  const add: readonly OnnxNode[] = [
    { op: "Add", inputs: ["weights", "constant"], outputs: ["weights_out"] },
  ];
  const bounds = { clipNormMicro: 200_000, fractionBits: 16 };

  test.for([
    { title: "a giant step", constant: [1e9, -1e9, 0, 0], groups: 7 },
    { title: "the largest floats", constant: [3e38, 3e38, 3e38, 3e38], groups: 7 },
    { title: "NaN", constant: [NaN, 0, 0, 0], groups: 0 },
  ])(
    "[AG-1] a registered graph that answers $title stays bounded",
    async ({ constant, groups }) => {
      await using hostile = await hostileModel(add, constant);
      const rowGroup = MEMBER.matrix.rows.map((row) => row % 7);
      const update = await trainLocally(training(hostile, { rowGroup }));
      // Seven of eight groups have rows; each gives the same clipped step.
      expect(norm(update)).toBeLessThanOrEqual(groups * clipNormUnits(bounds));
      expect(norm(update)).toBeGreaterThanOrEqual(groups * (clipNormUnits(bounds) - 2));
    },
  );

  test("[AG-1] a graph with another output is refused", async () => {
    const concat: readonly OnnxNode[] = [
      {
        op: "Concat",
        inputs: ["weights", "constant"],
        outputs: ["weights_out"],
        attributes: [{ name: "axis", kind: "int", value: 0 }],
      },
    ];
    await using longer = await hostileModel(concat, [1, 2]);
    await expect(trainLocally(training(longer))).rejects.toMatchObject({
      code: "EXECUTION_WORKLOAD_FAILED",
    });
  });
});

describe("one Vault's contribution", () => {
  test("[AG-1] moves by at most the declared sensitivity when one subject changes", async () => {
    const plain = training(model);
    const before = await trainLocally(plain);
    const sensitivity = updateSensitivity({
      clipNormMicro: plain.clipNormMicro,
      fractionBits: plain.fractionBits,
      vaultsPerSubject: 1,
    });
    let furthest = 0;
    for (let row = 0; row < ROWS; row += 6) {
      const features = Float32Array.from(plain.features);
      features.fill(row % 4 < 2 ? 1e6 : -1e6, row * FEATURES, (row + 1) * FEATURES);
      const after = await trainLocally(training(model, { features }));
      furthest = Math.max(furthest, norm(after.map((entry, i) => entry - (before[i] ?? 0))));
    }
    expect(furthest).toBeLessThanOrEqual(sensitivity);
    expect(furthest).toBeGreaterThan(sensitivity / 20);
    expect(before.every((entry) => Math.abs(entry) <= updateEntryBound(plain))).toBe(true);
  });

  test("[AG-1] moves by at most the declared sensitivity when one subject leaves", async () => {
    const plain = training(model);
    const before = await trainLocally(plain);
    for (const gone of [0, 17, 31, ROWS - 1]) {
      const kept = [...plain.rowGroup.keys()].filter((row) => row !== gone);
      const after = await trainLocally(
        training(model, {
          features: Float32Array.from(
            kept.flatMap((row) => [
              ...plain.features.subarray(row * FEATURES, (row + 1) * FEATURES),
            ]),
          ),
          labels: Float32Array.from(kept, (row) => plain.labels[row] ?? 0),
          rowGroup: Int32Array.from(kept, (row) => plain.rowGroup[row] ?? 0),
        }),
      );
      const moved = norm(after.map((entry, i) => entry - (before[i] ?? 0)));
      expect(moved).toBeLessThanOrEqual(updateSensitivity({ ...plain, vaultsPerSubject: 1 }));
      expect(moved).toBeGreaterThan(0);
    }
  });

  test("is the same bytes again, and other bytes for another order", async () => {
    const first = await trainLocally(training(model));
    expect(await trainLocally(training(model))).toEqual(first);
    const other = await trainLocally(training(model, { seedOrder: sha256(SEED) }));
    expect(other).not.toEqual(first);
  });

  test("a Vault without rows contributes zeros", async () => {
    const none = {
      features: new Float32Array(0),
      labels: new Float32Array(0),
      rowGroup: new Int32Array(0),
    };
    expect([...(await trainLocally(training(model, none)))]).toEqual([0, 0, 0, 0]);
  });

  test.for([
    {
      title: "a feature that is not finite",
      change: { features: MEMBER.matrix.features.with(5, NaN) },
    },
    { title: "a group out of range", change: { groups: 3 } },
    { title: "a label too few", change: { labels: MEMBER.matrix.labels.subarray(1) } },
  ])("refuses $title", async ({ change }) => {
    await expect(trainLocally(training(model, change))).rejects.toMatchObject({
      code: "EXECUTION_INPUT_MISMATCH",
    });
  });

  test("refuses bounds that the ring cannot hold", async () => {
    const wide = training(model, { clipNormMicro: 1_000_000_000, fractionBits: 24 });
    await expect(trainLocally(wide)).rejects.toMatchObject({ code: "EXECUTION_BOUND_EXCEEDED" });
  });
});

describe("the average", () => {
  test("[AG-1] divides by the public constant, rounds to nearest, in integers", () => {
    const next = applyAverage({
      globalWeights: Int32Array.of(10, 10, 10, 10, 2 ** 30),
      sum: Int32Array.of(7, -7, 6, 0, 100),
      noise: Int32Array.of(0, 0, 0, 3, 0),
      divisor: 4,
    });
    expect([...next]).toEqual([12, 8, 12, 11, 2 ** 30]);
  });

  test.for([
    { divisor: 0 },
    { divisor: 1.5 },
    { noise: new Int32Array(1) },
    { sum: new Int32Array(3) },
  ])("refuses %o", (change) => {
    const two = {
      globalWeights: new Int32Array(2),
      sum: new Int32Array(2),
      noise: new Int32Array(2),
    };
    expect(() => applyAverage({ ...two, divisor: 1, ...change })).toThrow(
      expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" }),
    );
  });

  test("[RT-4] rounds over three generated Vaults learn the task, with noise and without", async () => {
    const members = ["x", "y", "z"].map((name) => generated(name, 200));
    const parameters = {
      ...HEART_TRAIN_PARAMETERS,
      features: HEART_TRAIN_PARAMETERS.features.slice(0, FEATURES),
      groups: 64,
    };
    const held = generated("held", 500);
    for (const privacy of [null, { ...HEART_PRIVACY, vaultsPerSubject: 1 }]) {
      const weights = await federate({ model, members, parameters, privacy, seed: "s" });
      expect(accuracy(toFloats(weights, 16), held.matrix)).toBeGreaterThan(0.85);
    }
  });
});

describe("evaluation", () => {
  const rows = { features: Float32Array.of(1, 2, -3, 0.5), labels: Float32Array.of(1, 0, 0, 0) };

  test("counts the included rows that are labelled right", () => {
    const weights = Float32Array.of(1, 0.25);
    const of = (...include: number[]): number =>
      countCorrect({ weights, ...rows, include: Uint8Array.from(include) });
    expect([of(1, 1, 1, 1), of(0, 1, 1, 0), of(0, 0, 0, 0)]).toEqual([2, 1, 0]);
  });

  test("refuses sizes that do not fit together", () => {
    const include = new Uint8Array(3);
    expect(() => countCorrect({ weights: Float32Array.of(1, 0), ...rows, include })).toThrow(
      expect.objectContaining({ code: "EXECUTION_INPUT_MISMATCH" }),
    );
    expect(() =>
      countCorrect({ weights: Float32Array.of(1), ...rows, include: new Uint8Array(4) }),
    ).toThrow(/evaluation/);
  });
});
