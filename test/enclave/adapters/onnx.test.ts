import { spawnSync } from "node:child_process";
import { join } from "node:path";

import { expect, test } from "vitest";

import { loadModel } from "../../../enclave/adapters/onnx.ts";
import { encodeModel, type OnnxValue } from "../../../enclave/workloads/train/index.ts";
import { digestOfBytes } from "../../../protocol/index.ts";

const ROOT = join(import.meta.dirname, "../../..");
const float = (name: string): OnnxValue => ({ name, type: "float", dims: ["n"] });
const DOUBLING = encodeModel({
  name: "doubling",
  nodes: [{ op: "Add", inputs: ["x", "x"], outputs: ["y"] }],
  initializers: [],
  inputs: [float("x")],
  outputs: [float("y")],
});
const LIMIT = { bytesMax: 4096 };

test("loads a graph, names its inputs and outputs, and runs it", async () => {
  await using model = await loadModel(DOUBLING, LIMIT);
  expect([model.inputNames, model.outputNames]).toEqual([["x"], ["y"]]);
  const outputs = await model.run({ x: { data: Float32Array.of(1, -2.5), dims: [2] } });
  expect(outputs).toEqual({ y: { data: Float32Array.of(2, -5), dims: [2] } });
});

test("closing twice is fine, running afterwards is not", async () => {
  const model = await loadModel(DOUBLING, LIMIT);
  await model.close();
  await model.close();
  await expect(model.run({ x: { data: Float32Array.of(1), dims: [1] } })).rejects.toMatchObject({
    code: "EXECUTION_WORKLOAD_FAILED",
  });
});

test.for([
  { title: "another input name", inputs: { z: { data: Float32Array.of(1), dims: [1] } } },
  { title: "another element type", inputs: { x: { data: Int32Array.of(1), dims: [1] } } },
  { title: "another rank", inputs: { x: { data: Float32Array.of(1), dims: [1, 1] } } },
  {
    title: "data that does not fill its dimensions",
    inputs: { x: { data: Float32Array.of(1), dims: [2] } },
  },
  { title: "no inputs", inputs: {} },
])("refuses $title without quoting any of it", async ({ inputs }) => {
  await using model = await loadModel(DOUBLING, LIMIT);
  await expect(model.run(inputs)).rejects.toMatchObject({
    code: "EXECUTION_WORKLOAD_FAILED",
    message:
      "model: expected a run over inputs of the declared shapes, got a failure of the runtime",
  });
});

test.for([
  { title: "no bytes", bytes: new Uint8Array(0), code: "EXECUTION_WORKLOAD_FAILED" },
  { title: "other bytes", bytes: digestOfBytes("x", DOUBLING), code: "EXECUTION_WORKLOAD_FAILED" },
  { title: "half a model", bytes: DOUBLING.subarray(0, 60), code: "EXECUTION_WORKLOAD_FAILED" },
  { title: "too many bytes", bytes: new Uint8Array(4097), code: "EXECUTION_BOUND_EXCEEDED" },
])("refuses $title", async ({ bytes, code }) => {
  await expect(loadModel(bytes, LIMIT)).rejects.toMatchObject({ code });
});

test("works under the permission model with addons, and leaves telemetry off", () => {
  const script = `
    const { loadModel } = await import(${JSON.stringify(join(ROOT, "enclave/adapters/onnx.ts"))});
    const bytes = Buffer.from(${JSON.stringify(Buffer.from(DOUBLING).toString("base64"))}, "base64");
    const model = await loadModel(bytes, { bytesMax: 4096 });
    const { y } = await model.run({ x: { data: Float32Array.of(21), dims: [1] } });
    await model.close();
    console.log(JSON.stringify([y.data[0], process.env.ORT_DISABLE_TELEMETRY]));
  `;
  const options = ["--permission", "--allow-addons", `--allow-fs-read=${ROOT}`];
  const child = spawnSync(process.execPath, [...options, "--input-type=module", "-e", script], {
    encoding: "utf8",
    env: {},
  });
  expect([child.status, child.stdout.trim()], child.stderr).toEqual([0, '[42,"1"]']);
});
