import { beforeAll, expect, test } from "vitest";

import { loadModel } from "../../enclave/adapters/onnx.ts";
import { buildLogisticStepGraph } from "../../enclave/workloads/train/index.ts";
import { padTo } from "../../aggregation/index.ts";
import {
  ROUND_SECRET,
  SEAL_INFO,
  encodeState,
  seal,
  sessionAad,
  sha256,
  type TrainParameters,
} from "../../protocol/index.ts";
import { openResult, runRound, type RoundOptions } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../helpers/network.ts";
import { SCALED_AGE } from "../helpers/sample-parameters.ts";

const VAULTS = ["vault-1", "vault-2", "vault-3"];
const STEP = buildLogisticStepGraph({ features: 1 });
const TRAIN: TrainParameters = {
  task_class: "train",
  model_digest: sha256(STEP),
  features: [SCALED_AGE],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: 2,
  groups: 64,
  local_steps: 4,
  batch_size: 16,
  learning_rate_micro: 1_000_000,
  clip_norm_micro: 1_000_000,
  fraction_bits: 12,
  convergence_threshold_micro: null,
};

let network: TestNetwork;
let task: TestTask;
let options: RoundOptions;

beforeAll(async () => {
  network = await createNetwork();
  task = await testTask(network, {
    parameters: TRAIN,
    data: customerData(VAULTS, 200),
    request: { epsilon_micro: 40_000_000 },
  });
  const governance = governanceSnapshot(network, [artifactRegistered(STEP, "step_graph")]);
  options = { governance, artifact: STEP };
});

test("[RT-4][CT-3] trains over two rounds, each with its bundle, state passing by commitment", async () => {
  const first = await runRound(task, options);
  expect(first.bundle).toMatchObject({ round: 0, final: false, input_state: null });
  expect(first.bundle.model_change_micro).toBeNull();
  expect(first.bundle.epsilon_micro).toBe(20_000_000);
  const second = await runRound(task, { ...options, round: 1, previous: first });
  expect(second.bundle).toMatchObject({ round: 1, final: true });
  expect(second.bundle.input_state).toEqual(first.bundle.output_commitment);
  const { result } = await openResult(task, second);
  if (result.result.kind !== "model") throw new Error("no model");
  await using model = await loadModel(result.result.model, { bytesMax: 1_000_000 });
  const { probability } = await model.run({
    attributes: { data: Float32Array.of(20, 75), dims: [2, 1] },
  });
  const [young = 0, old = 0] = probability?.data ?? [];
  expect(Number(old)).toBeGreaterThan(Number(young));
});

test("[TC-5] says how far the round moved the model that it delivers, where a threshold asks", async () => {
  const asked = await testTask(network, {
    parameters: { ...TRAIN, rounds: 1, convergence_threshold_micro: 1 },
    data: customerData(VAULTS, 200),
    request: { epsilon_micro: 40_000_000 },
  });
  const only = await runRound(asked, options);
  const { result } = await openResult(asked, only);
  if (result.result.kind !== "model") throw new Error("no model");
  await using model = await loadModel(result.result.model, { bytesMax: 1_000_000 });
  // At the mean of the feature the logit is the bias, and one scale above it the slope more.
  const { probability } = await model.run({
    attributes: { data: Float32Array.of(48, 66), dims: [2, 1] },
  });
  const [bias = NaN, both = NaN] = [...(probability?.data ?? [])].map((value) =>
    Math.log(Number(value) / (1 - Number(value))),
  );
  // The model before the only round is all zeros.
  const norm = Math.hypot(bias, both - bias);
  expect(only.bundle.model_change_micro ?? 0).toBeGreaterThan(0);
  expect((only.bundle.model_change_micro ?? 0) / 1e6).toBeCloseTo(norm, 3);
});

test("[XP-7] training twice from equal shares gives equal commitments", async () => {
  const [first, second] = [await runRound(task, options), await runRound(task, options)];
  expect(second.bundle.output_commitment).toEqual(first.bundle.output_commitment);
});

test("[CT-3] refuses a state that is not the one the orders name", async () => {
  const first = await runRound(task, options);
  const other = await runRound(task, { ...options, vaultIds: ["vault-1", "vault-2"] });
  const forged = { ...first, bundle: other.bundle };
  await expect(runRound(task, { ...options, round: 1, previous: forged })).rejects.toMatchObject({
    method: "begin",
    code: "COORDINATION_QUORUM_NOT_MET",
  });
  const flipped = first.outcome.ciphertext.with(0, (first.outcome.ciphertext[0] ?? 0) ^ 1);
  await expect(
    runRound(task, {
      ...options,
      round: 1,
      previous: { ...first, outcome: { ...first.outcome, ciphertext: flipped } },
    }),
  ).rejects.toMatchObject({ method: "begin", code: "PROOF_COMMITMENT_MISMATCH" });
});

test("[CT-3] a slice does not train from a state its order does not name", async () => {
  const first = await runRound(task, options);
  const refused = runRound(task, {
    ...options,
    round: 1,
    previous: first,
    run: async (request, vaultId, { enclave, evidenceForAggregator }) => ({
      ...request,
      sealed_secret: await seal({
        to: enclave.manifest.box_key,
        info: SEAL_INFO.secret,
        aad: sessionAad(
          { envelope_digest: task.envelopeDigest, vault_id: vaultId, round: 1, attempt: 0 },
          evidenceForAggregator,
        ),
        plaintext: ROUND_SECRET.encode({
          token_key: new Uint8Array(32),
          state: encodeState(new Uint8Array(32), padTo(new Uint8Array(8), 12)),
        }),
      }),
    }),
  });
  await expect(refused).rejects.toMatchObject({
    method: "run",
    code: "PROOF_COMMITMENT_MISMATCH",
  });
});

test("[CT-3] refuses a later round without the state before it", async () => {
  const refused = runRound(task, { ...options, round: 1 });
  await expect(refused).rejects.toMatchObject({ code: "EXECUTION_ORDER_MISMATCH" });
});

test("[PB-7] refuses to train over fewer Vaults than the policy's minimum", async () => {
  const strict = await createNetwork({
    policy: (policy) => ({
      ...policy,
      privacy: { ...policy.privacy, minimum_train_vaults: 3 },
    }),
  });
  const training = await testTask(strict, { parameters: TRAIN, data: customerData(VAULTS, 40) });
  const governance = governanceSnapshot(strict, [artifactRegistered(STEP, "step_graph")]);
  const refused = runRound(training, {
    governance,
    artifact: STEP,
    vaultIds: ["vault-1", "vault-2"],
  });
  await expect(refused).rejects.toMatchObject({ code: "COORDINATION_QUORUM_NOT_MET" });
});
