import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { noiseStream } from "../../../aggregation/index.ts";
import { loadModel, type OnnxModel } from "../../../enclave/adapters/onnx.ts";
import {
  contributionMask,
  encodeScores,
  histogramOfScores,
  inspectModel,
  scoreRecords,
  type Scoring,
} from "../../../enclave/workloads/compute/index.ts";
import {
  buildLogisticModel,
  buildLogisticStepGraph,
  encodeModel,
  type OnnxGraph,
  type OnnxNode,
} from "../../../enclave/workloads/train/index.ts";
import {
  SymphonyError,
  concat,
  digestOfBytes,
  hex,
  sha256,
  utf8,
} from "../../../protocol/index.ts";

const FEATURES = 5;
const HIDDEN = 16;
const ROWS = 400;
const LIMITS = { bytesMax: 65_536, nodesMax: 64, depthMax: 0 };
const stream = noiseStream(sha256(utf8("a generated model")), "weights");
const reals = (length: number): Float32Array =>
  Float32Array.from({ length }, () => stream.uniform(2 ** 24) / 2 ** 23 - 1);

const node = (op: string, inputs: readonly string[], output: string): OnnxNode => ({
  op,
  inputs,
  outputs: [output],
});

/** A perceptron with one hidden layer and weights from a seed. */
const GRAPH: OnnxGraph = {
  name: "perceptron",
  nodes: [
    node("MatMul", ["x", "w1"], "a"),
    node("Add", ["a", "b1"], "b"),
    node("Relu", ["b"], "h"),
    node("MatMul", ["h", "w2"], "c"),
    node("Sigmoid", ["c"], "p"),
    node("Reshape", ["p", "flat"], "score"),
  ],
  initializers: [
    { name: "w1", dims: [FEATURES, HIDDEN], data: reals(FEATURES * HIDDEN) },
    { name: "b1", dims: [HIDDEN], data: reals(HIDDEN) },
    { name: "w2", dims: [HIDDEN, 1], data: reals(HIDDEN) },
    { name: "flat", dims: [1], data: BigInt64Array.of(-1n) },
  ],
  inputs: [{ name: "x", type: "float", dims: ["rows", FEATURES] }],
  outputs: [{ name: "score", type: "float", dims: ["rows"] }],
};
const BYTES = encodeModel(GRAPH);
const RECORDS = reals(ROWS * FEATURES);
const BOUNDS = { rowsMax: ROWS, workUnitsMax: ROWS * 6, millisecondsMax: 60_000 };

let model: OnnxModel;
beforeAll(async () => {
  model = await loadModel(BYTES, LIMITS);
});
afterAll(async () => model.close());

function scoring(change: Partial<Scoring> = {}): Scoring {
  return {
    model,
    inspection: inspectModel(BYTES, LIMITS),
    features: RECORDS,
    rows: ROWS,
    input: "x",
    output: "score",
    bounds: BOUNDS,
    clockMs: () => 0,
    ...change,
  };
}

const commitment = (scores: Float32Array): string =>
  hex(digestOfBytes("scores", encodeScores(scores)));

describe("scoring", () => {
  test("[VR-3] a new load of the same bytes over the same records gives the same commitment", async () => {
    const first = await scoreRecords(scoring());
    await using again = await loadModel(encodeModel(GRAPH), LIMITS);
    const second = await scoreRecords(scoring({ model: again }));
    expect(second.scores).toEqual(first.scores);
    expect(commitment(second.scores)).toBe(commitment(first.scores));
    const other = await scoreRecords(scoring({ features: RECORDS.with(0, 1) }));
    expect(commitment(other.scores)).not.toBe(commitment(first.scores));
  });

  test("[VR-3] a score's committed bytes are its millionths, whatever it is", () => {
    const view = new DataView(encodeScores(Float32Array.of(0.5, -1, NaN, 1e30, -Infinity)).buffer);
    const values = [0, 4, 8, 12, 16].map((at) => view.getInt32(at, true));
    expect(values).toEqual([500_000, -1_000_000, -(2 ** 31), 2 ** 31 - 1, -(2 ** 31)]);
  });

  test("[TC-4] scores are the bits of the plain model, and the model in doubles agrees", async () => {
    const { scores } = await scoreRecords(scoring());
    const plain = await model.run({ x: { data: RECORDS, dims: [ROWS, FEATURES] } });
    expect(scores).toEqual(plain["score"]?.data);
    const [w1, b1, w2] = GRAPH.initializers.map(({ data }) => data);
    for (let row = 0; row < 20; row += 1) {
      let logit = 0;
      for (let h = 0; h < HIDDEN; h += 1) {
        let sum = Number(b1?.[h]);
        for (let j = 0; j < FEATURES; j += 1) {
          sum += (RECORDS[row * FEATURES + j] ?? 0) * Number(w1?.[j * HIDDEN + h]);
        }
        logit += Math.max(0, sum) * Number(w2?.[h]);
      }
      expect(scores[row]).toBeCloseTo(1 / (1 + Math.exp(-logit)), 5);
    }
  });

  test("[RT-4] the model that train delivers scores records", async () => {
    const feature = { mean_micro: 0, scale_micro: 1_000_000, min_micro: -9e6, max_micro: 9e6 };
    const bytes = buildLogisticModel({
      weights: Float32Array.of(1, -1, 0.5),
      features: ["a", "b"].map((attribute) => ({ attribute, ...feature })),
    });
    await using delivered = await loadModel(bytes, LIMITS);
    const { scores, workUnits } = await scoreRecords(
      scoring({
        model: delivered,
        inspection: inspectModel(bytes, LIMITS),
        features: Float32Array.of(2, 1, 1, 2),
        rows: 2,
        input: "attributes",
        output: "probability",
        bounds: { ...BOUNDS, rowsMax: 2 },
      }),
    );
    expect(scores[0]).toBeCloseTo(1 / (1 + Math.exp(-1.5)), 6);
    expect(scores[1]).toBeCloseTo(1 / (1 + Math.exp(0.5)), 6);
    expect(workUnits).toBe(2 * 11);
  });

  test("[TC-4] work is the row bound times operators, however few rows there are", async () => {
    expect((await scoreRecords(scoring())).workUnits).toBe(ROWS * 6);
    const none = await scoreRecords(scoring({ features: new Float32Array(0), rows: 0 }));
    expect(none).toEqual({ scores: new Float32Array(0), workUnits: ROWS * 6 });
  });
});

describe("declared bounds", () => {
  const times = (...readings: number[]) => {
    return (): number => readings.shift() ?? 0;
  };
  const bounded = (change: Partial<typeof BOUNDS>): Partial<Scoring> => ({
    bounds: { ...BOUNDS, ...change },
  });

  test.for([
    { title: "rows", change: bounded({ rowsMax: ROWS - 1 }), bound: "rows" },
    { title: "work units", change: bounded({ workUnitsMax: ROWS * 6 - 1 }), bound: "work units" },
    { title: "time", change: { clockMs: times(5, 60_006) }, bound: "milliseconds" },
  ])("[TC-4] beyond the declared $title nothing comes out", async ({ change, bound }) => {
    await expect(scoreRecords(scoring(change))).rejects.toMatchObject({
      code: "EXECUTION_BOUND_EXCEEDED",
      details: { bound },
    });
  });

  test("[TC-4] exactly at the bounds the run is accepted", async () => {
    const { scores } = await scoreRecords(scoring({ clockMs: times(5, 60_005) }));
    expect(scores).toHaveLength(ROWS);
  });

  test.for([
    { title: "rows in parts", change: { rows: ROWS - 1 }, code: "EXECUTION_INPUT_MISMATCH" },
    {
      title: "a value that is not finite",
      change: { features: RECORDS.with(9, Infinity) },
      code: "EXECUTION_INPUT_MISMATCH",
    },
    {
      title: "an output the model has not",
      change: { output: "other" },
      code: "EXECUTION_WORKLOAD_FAILED",
    },
    {
      title: "an input the model has not",
      change: { input: "y" },
      code: "EXECUTION_WORKLOAD_FAILED",
    },
  ])("refuses $title", async ({ change, code }) => {
    await expect(scoreRecords(scoring(change))).rejects.toMatchObject({ code });
  });
});

describe("histograms", () => {
  test("[TC-4] the output is counts per bin; no score is lost and none aborts", () => {
    const scores = Float32Array.of(-5, 0, 0.25, 0.5, 0.99, 1, 7, NaN, Infinity, -Infinity);
    const all = new Uint8Array(scores.length).fill(1);
    expect([...histogramOfScores(scores, [0, 250_000, 500_000, 1_000_000], all)]).toEqual([
      4, 1, 5,
    ]);
  });

  test("[TC-4] counts add up to the rows that count", () => {
    const property = fc.property(fc.array(fc.tuple(fc.float(), fc.boolean())), (rows) => {
      const scores = Float32Array.from(rows, ([score]) => score);
      const include = Uint8Array.from(rows, ([, counted]) => (counted ? 1 : 0));
      const counts = histogramOfScores(scores, [0, 1, 500_000, 2_000_000], include);
      const expected = include.reduce((sum, one) => sum + one, 0);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(expected);
    });
    fc.assert(property, { seed: 19 });
  });

  test("a subject counts with its first rows only", () => {
    expect([...contributionMask(Int32Array.of(7, 7, 8, 7, 8, 9), 1)]).toEqual([1, 0, 1, 0, 0, 1]);
    expect([...contributionMask(Int32Array.of(7, 7, 8, 7, 8, 9), 2)]).toEqual([1, 1, 1, 0, 1, 1]);
  });
});

describe("admission of models", () => {
  const changed = (nodes: readonly OnnxNode[]): Uint8Array => encodeModel({ ...GRAPH, nodes });

  test("counts operators, in subgraphs too", () => {
    const operators = ["Add", "MatMul", "Relu", "Reshape", "Sigmoid"];
    expect(inspectModel(BYTES, LIMITS)).toEqual({ nodes: 6, operators, depth: 0 });
    const step = inspectModel(buildLogisticStepGraph({ features: 3 }), { ...LIMITS, depthMax: 1 });
    expect([step.nodes, step.depth]).toEqual([22, 1]);
  });

  test.for([
    { title: "random numbers", bytes: changed([node("RandomNormalLike", ["x"], "score")]) },
    { title: "a branch", bytes: changed([node("If", ["x"], "score")]) },
    { title: "no operators", bytes: changed([]) },
    { title: "a loop where none is admitted", bytes: buildLogisticStepGraph({ features: 3 }) },
    { title: "no graph", bytes: new Uint8Array(0) },
    { title: "two graphs", bytes: concat(BYTES, BYTES) },
    { title: "a function", bytes: concat(BYTES, Uint8Array.of(0xca, 0x01, 0)) },
    { title: "a training section", bytes: concat(BYTES, Uint8Array.of(0xa2, 0x01, 0)) },
    { title: "an operator of another domain", bytes: foreignOperator() },
    { title: "external data", bytes: externalData() },
    { title: "half a field", bytes: BYTES.subarray(0, BYTES.length - 1) },
    { title: "a group", bytes: concat(BYTES, Uint8Array.of(0x0b)) },
  ])("refuses $title", ({ bytes }) => {
    expect(() => inspectModel(bytes, LIMITS)).toThrow(
      expect.objectContaining({ code: "EXECUTION_WORKLOAD_FAILED" }),
    );
  });

  test("refuses more bytes or operators than its limits", () => {
    const refusal = expect.objectContaining({ code: "EXECUTION_BOUND_EXCEEDED" });
    expect(() => inspectModel(BYTES, { ...LIMITS, bytesMax: BYTES.length - 1 })).toThrow(refusal);
    expect(() => inspectModel(BYTES, { ...LIMITS, nodesMax: 5 })).toThrow(refusal);
  });

  test("damaged models are admitted or refused with a code, and nothing else happens", () => {
    const damage = fc.tuple(fc.nat({ max: BYTES.length - 1 }), fc.integer({ min: 0, max: 255 }));
    const property = fc.property(fc.array(damage, { minLength: 1, maxLength: 8 }), (damages) => {
      const bytes = BYTES.slice();
      for (const [at, value] of damages) bytes[at] = value;
      const outcome = ((): unknown => {
        try {
          return inspectModel(bytes, LIMITS).nodes;
        } catch (error) {
          return error;
        }
      })();
      expect(typeof outcome === "number" || outcome instanceof SymphonyError).toBe(true);
    });
    fc.assert(property, { seed: 23, numRuns: 500 });
  });
});

/** One node with op_type "Relu" (field 4) and domain "com.x" (field 7), wrapped as graph and model. */
function foreignOperator(): Uint8Array {
  const field = (number: number, content: Uint8Array): Uint8Array =>
    concat(Uint8Array.of(number * 8 + 2, content.length), content);
  return field(7, field(1, concat(field(4, utf8("Relu")), field(7, utf8("com.x")))));
}

/** An initializer (field 5) whose data_location (field 14) says external. */
function externalData(): Uint8Array {
  const field = (number: number, content: Uint8Array): Uint8Array =>
    concat(Uint8Array.of(number * 8 + 2, content.length), content);
  const tensor = Uint8Array.of(14 * 8, 1);
  return field(7, concat(field(1, field(4, utf8("Relu"))), field(5, tensor)));
}
