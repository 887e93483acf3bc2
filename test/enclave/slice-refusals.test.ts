import { beforeAll, describe, expect, test } from "vitest";

import {
  TASK_ENVELOPE,
  WORK_ORDER,
  utf8,
  type GovernanceStatement,
  type SealedOrder,
  type TaskEnvelope,
  type WorkOrder,
} from "../../protocol/index.ts";
import { bootHosted, startEnclave } from "../helpers/enclave-rig.ts";
import { runRound, runSoleTask, type RunRequest } from "../helpers/enclave-round.ts";
import { customerData, customerRecords, testBatch } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  TEST_MEASUREMENT,
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  testActor,
  testSeed,
  type TestNetwork,
} from "../helpers/network.ts";
import { AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

const OTHER = testSeed("another value");

let network: TestNetwork;
let sole: TestTask;
let shared: TestTask;
let honest: { readonly governance: Uint8Array; readonly artifact: Uint8Array };

beforeAll(async () => {
  network = await createNetwork();
  sole = await testTask(network, {
    parameters: AGE_SCORES,
    data: customerData(["vault-1"], 40),
  });
  shared = await testTask(network, {
    parameters: AGE_SCORES,
    data: customerData(["vault-1", "vault-2"], 40),
  });
  const governance = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]);
  honest = { governance, artifact: AGE_MODEL };
});

test("the honest requests that the refusals below start from succeed", async () => {
  expect((await runSoleTask(sole, honest)).bundle.final).toBe(true);
  expect((await runRound(shared, honest)).bundle.final).toBe(true);
});

describe("orders", () => {
  test.for<{ title: string; changes: Partial<WorkOrder> }>([
    { title: "another envelope", changes: { envelope_digest: OTHER } },
    { title: "another request", changes: { request_digest: OTHER } },
    { title: "another network", changes: { genesis_digest: OTHER } },
    { title: "another policy", changes: { policy_digest: OTHER } },
    { title: "another round", changes: { round: 1 } },
    { title: "another attempt", changes: { attempt: 1 } },
    { title: "another role", changes: { role: "slice" } },
    { title: "another enclave", changes: { enclave_manifest: OTHER } },
    { title: "an aggregator", changes: { aggregator_manifest: OTHER } },
    { title: "another input", changes: { input_commitment: OTHER } },
    { title: "another consent", changes: { consent_commitment: OTHER } },
    { title: "another noise share", changes: { share_commitment: OTHER } },
    { title: "longer governance", changes: { governance_size: 2 } },
    { title: "a previous state", changes: { previous_state: OTHER } },
  ])("[XP-3] refuses an order for $title", async ({ changes }) => {
    const refused = runSoleTask(sole, { ...honest, order: () => changes });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_ORDER_MISMATCH" });
  });

  test("[XP-3] refuses an order that another Vault signed", async () => {
    const [, second] = network.vaults;
    const refused = runSoleTask(sole, {
      ...honest,
      signOrder: (order) => WORK_ORDER.sign(order, (second ?? network.submitter).signing),
    });
    await expect(refused).rejects.toMatchObject({ code: "PROOF_SIGNATURE_INVALID" });
  });

  test("[XP-3] refuses an order that has expired by the platform's clock", async () => {
    const refused = runSoleTask(sole, {
      ...honest,
      order: () => ({ expires_ms: NETWORK_TIME_MS + 60_000 }),
    });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_TIMED_OUT" });
  });

  test("[XP-3] obeys one order and no second", async () => {
    const end = startEnclave();
    let request: RunRequest | undefined;
    await runSoleTask(sole, { ...honest, end, run: (sent) => (request = sent) });
    if (request === undefined) throw new Error("no request");
    expect(await end.call(request)).toEqual({
      result: "failed",
      code: "COORDINATION_ROLE_REFUSED",
    });
  });
});

describe("what is sealed to the enclave", () => {
  test.for<{ title: string; code: string; change: (order: SealedOrder) => Partial<SealedOrder> }>([
    {
      title: "a consent bitmap that was not committed to",
      code: "PROOF_COMMITMENT_MISMATCH",
      change: ({ consent_bitmap: bitmap }) => ({ consent_bitmap: bitmap.with(0, 0xfe) }),
    },
    {
      title: "another consent key",
      code: "PROOF_COMMITMENT_MISMATCH",
      change: () => ({ consent_key: OTHER }),
    },
    {
      title: "a noise share that was not committed to",
      code: "PROOF_COMMITMENT_MISMATCH",
      change: () => ({ noise_share: OTHER }),
    },
    {
      title: "another batch secret",
      code: "INTERNAL_OPEN_FAILED",
      change: (order) => ({
        batch_secrets: order.batch_secrets.map((entry) => ({ ...entry, secret: OTHER })),
      }),
    },
    {
      title: "a batch secret too few",
      code: "EXECUTION_INPUT_MISMATCH",
      change: (order) => ({ batch_secrets: order.batch_secrets.slice(1) }),
    },
    {
      title: "a batch secret twice",
      code: "EXECUTION_INPUT_MISMATCH",
      change: (order) => ({ batch_secrets: [...order.batch_secrets, ...order.batch_secrets] }),
    },
  ])("[XP-3] refuses $title", async ({ code, change }) => {
    const refused = runSoleTask(sole, {
      ...honest,
      sealedOrder: (order) => ({ ...order, ...change(order) }),
    });
    await expect(refused).rejects.toMatchObject({ method: "run", code });
  });
});

describe("what the host hands over", () => {
  const swapped = testBatch("swapped", customerRecords("vault-9", { count: 20 }));

  test.for<{ title: string; code: string; change: (request: RunRequest) => Partial<RunRequest> }>([
    {
      title: "a batch that was not committed to",
      code: "EXECUTION_INPUT_MISMATCH",
      change: ({ batches }) => ({ batches: [swapped.bytes, ...batches.slice(1)] }),
    },
    {
      title: "a batch too few",
      code: "EXECUTION_INPUT_MISMATCH",
      change: ({ batches }) => ({ batches: batches.slice(1) }),
    },
    {
      title: "batches in another order",
      code: "EXECUTION_INPUT_MISMATCH",
      change: ({ batches }) => ({ batches: batches.toReversed() }),
    },
    {
      title: "a batch with one bit altered",
      code: "EXECUTION_WORKLOAD_FAILED",
      change: ({ batches }) => ({ batches: batches.map(damaged) }),
    },
    {
      title: "a batch key twice",
      code: "EXECUTION_INPUT_MISMATCH",
      change: ({ batch_keys: keys }) => ({ batch_keys: [...keys, ...keys] }),
    },
    {
      title: "a sealed order with one bit altered",
      code: "INTERNAL_OPEN_FAILED",
      change: ({ sealed_order: sealed }) => ({ sealed_order: damaged(sealed) }),
    },
    {
      title: "evidence that is not this enclave's",
      code: "EXECUTION_ORDER_MISMATCH",
      change: ({ evidence }) => ({ evidence: damaged(evidence) }),
    },
    {
      title: "another artifact",
      code: "EXECUTION_WORKLOAD_UNREGISTERED",
      change: () => ({ artifact: utf8("another model") }),
    },
    {
      title: "no artifact",
      code: "EXECUTION_WORKLOAD_UNREGISTERED",
      change: () => ({ artifact: null }),
    },
    {
      title: "a Vault outside the envelope",
      code: "INTERNAL_OPEN_FAILED",
      change: () => ({ vault_id: "vault-2" }),
    },
    {
      title: "another round",
      code: "EXECUTION_ORDER_MISMATCH",
      change: () => ({ round: 1 }),
    },
    {
      title: "a secret without an aggregator",
      code: "EXECUTION_ORDER_MISMATCH",
      change: () => ({ sealed_secret: new Uint8Array(64) }),
    },
  ])("[XP-3][TT-3] refuses $title", async ({ code, change }) => {
    const refused = runSoleTask(sole, {
      ...honest,
      run: (request) => ({ ...request, ...change(request) }),
    });
    await expect(refused).rejects.toMatchObject({ method: "run", code });
  });

  test("[XP-3] refuses a model that governance has not registered", async () => {
    const refused = runSoleTask(sole, { ...honest, governance: governanceSnapshot(network) });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_WORKLOAD_UNREGISTERED" });
  });

  test("[XP-3] refuses a step graph registered where a model is asked for", async () => {
    const governance = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "step_graph")]);
    const refused = runSoleTask(sole, { ...honest, governance });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_WORKLOAD_UNREGISTERED" });
  });

  test("[XP-3] refuses governance of another genesis", async () => {
    const other = await createNetwork({ genesis: (genesis) => ({ ...genesis, network: "other" }) });
    const governance = governanceSnapshot(other, [artifactRegistered(AGE_MODEL, "model")]);
    const refused = runSoleTask(sole, { ...honest, governance });
    await expect(refused).rejects.toMatchObject({ code: "GOVERNANCE_GENESIS_MISMATCH" });
  });
});

describe("envelopes", () => {
  test.for<{
    title: string;
    change: (envelope: TaskEnvelope) => Partial<TaskEnvelope>;
    code?: string;
  }>([
    {
      title: "delivers to another key",
      change: (e) => ({ delivery_key: flipped(e.delivery_key) }),
    },
    { title: "spends more", change: (e) => ({ epsilon_micro: e.epsilon_micro + 1 }) },
    { title: "leaves less to chance", change: (e) => ({ delta_pico: e.delta_pico + 1 }) },
    { title: "reads another scope", change: () => ({ record_scope: "receipts" }) },
    { title: "serves another purpose", change: () => ({ usage_scope: "training" }) },
    {
      title: "names another policy",
      change: () => ({ policy_digest: OTHER }),
      code: "POLICY_NOT_ACTIVE",
    },
    { title: "names other semantics", change: () => ({ semantic_version: "semantics-2" }) },
    {
      title: "asks something else",
      change: () => ({ parameters: { ...AGE_SCORES, work_units_max: 9 } }),
    },
    {
      title: "names another request",
      change: (e) => ({ caller_context: { ...e.caller_context, request_digest: OTHER } }),
    },
    {
      title: "has more iterations",
      change: () => ({
        iteration_policy: {
          ...{ maximum_rounds: 1, convergence_threshold_micro: 1 },
          ...{ early_stop: false, failed_round: "reject" as const },
        },
      }),
    },
    { title: "has an input too many", change: (e) => ({ inputs: [...e.inputs, ...e.inputs] }) },
    { title: "has no consent", change: () => ({ consent_references: [] }) },
  ])("[TE-2] refuses an envelope that $title than its request", async ({ change, code }) => {
    const envelope = { ...sole.envelope, ...change(sole.envelope) };
    const task: TestTask = {
      ...sole,
      envelope,
      envelopeBytes: TASK_ENVELOPE.encode(envelope),
      envelopeDigest: TASK_ENVELOPE.digest(envelope),
    };
    await expect(runSoleTask(task, honest)).rejects.toMatchObject({
      code: code ?? "EXECUTION_ORDER_MISMATCH",
    });
  });

  test("[TC-3] refuses a query by an attribute that is not queryable", async () => {
    const task = await testTask(network, {
      parameters: {
        task_class: "query",
        predicate: {
          operator: "AND",
          operands: [{ attribute: "customer.email", op: "eq", value: "Person-1@example.org" }],
        },
        audience_cap: 1000,
      },
      data: sole.data,
    });
    await expect(runSoleTask(task, { governance: honest.governance })).rejects.toMatchObject({
      code: "DERIVATION_UNRESOLVED",
    });
  });

  test("[TE-2] refuses an envelope with another composition than its request", async () => {
    const task = await testTask(network, {
      parameters: AGE_SCORES,
      data: sole.data,
      envelope: (envelope) => ({
        ...envelope,
        attribute_composition: {
          composition_id: "other",
          operator: "OR",
          operand_attributes: [{ attribute: "customer.age", op: "eq", value: 1 }],
          combined_privacy_class: 0,
          minimum_result_cardinality: 0,
        },
      }),
    });
    await expect(runSoleTask(task, honest)).rejects.toMatchObject({
      code: "EXECUTION_ORDER_MISMATCH",
    });
  });

  test("[TE-2] refuses a request that its submitter did not sign", async () => {
    const stranger = await testActor("stranger", "submitter");
    const forger = { ...network, submitter: { ...network.submitter, signing: stranger.signing } };
    const task = await testTask(forger, { parameters: AGE_SCORES, data: sole.data });
    await expect(runSoleTask(task, honest)).rejects.toMatchObject({
      code: "PROOF_SIGNATURE_INVALID",
    });
  });
});

describe("the aggregator a slice seals to", () => {
  const debug = { pcr0: "00".repeat(48), pcr1: "00".repeat(48), pcr2: "00".repeat(48) };

  /** A round whose slices are handed something else than the honest request. */
  function shown(change: (request: RunRequest) => Partial<RunRequest>): Promise<unknown> {
    const run = (request: RunRequest): RunRequest => ({ ...request, ...change(request) });
    return runRound(shared, { ...honest, run });
  }

  test("[XP-10][AG-2] refuses one whose manifest the order does not name", async () => {
    const other = await bootHosted(startEnclave(), "aggregate", network.genesisBytes);
    const refused = shown((request) => ({
      aggregator: {
        manifest: other.manifestBytes,
        evidence: request.aggregator?.evidence ?? OTHER,
      },
    }));
    await expect(refused).rejects.toMatchObject({ method: "run", code: "TEE_NONCE_MISMATCH" });
  });

  test.for([
    {
      title: "evidence with one bit altered",
      code: /^TEE_(SIGNATURE_INVALID|DOCUMENT_MALFORMED)$/,
    },
  ])("[XP-10] refuses $title", async ({ code }) => {
    const refused = shown((request) => ({
      aggregator: {
        manifest: request.aggregator?.manifest ?? OTHER,
        evidence: damaged(request.aggregator?.evidence ?? OTHER),
      },
    }));
    await expect(refused).rejects.toMatchObject({
      method: "run",
      code: expect.stringMatching(code),
    });
  });

  test.for([
    {
      title: "another measurement",
      measurement: { ...TEST_MEASUREMENT, pcr0: "ab".repeat(48) },
      code: "TEE_MEASUREMENT_MISMATCH",
    },
    { title: "debug mode", measurement: debug, code: "TEE_DEBUG_REFUSED" },
  ])("[XP-10][AG-2] refuses an aggregator in $title", async ({ measurement, code }) => {
    const refused = runRound(shared, {
      ...honest,
      startAggregator: () => startEnclave({ measurement }),
    });
    await expect(refused).rejects.toMatchObject({ method: "run", code });
  });

  test("[XP-10] refuses a measurement that governance has revoked", async () => {
    const decisions: GovernanceStatement["decision"][] = [
      artifactRegistered(AGE_MODEL, "model"),
      { type: "measurement_revoked", pcr0: TEST_MEASUREMENT.pcr0 },
    ];
    const refused = runRound(shared, {
      ...honest,
      run: (request) => ({ ...request, governance: governanceSnapshot(network, decisions) }),
    });
    await expect(refused).rejects.toMatchObject({ method: "run", code: "TEE_MEASUREMENT_REVOKED" });
  });

  test("[XP-10] refuses an aggregator on a platform without a pinned root", async () => {
    const refused = shown((request) => ({
      aggregator: {
        manifest: request.aggregator?.manifest ?? OTHER,
        evidence: new Uint8Array(0),
      },
    }));
    await expect(refused).rejects.toMatchObject({ method: "run", code: "TEE_DOCUMENT_MALFORMED" });
  });

  test("[XP-13] a slice does not take another slice for the aggregator", async () => {
    const slice = await bootHosted(startEnclave(), "slice", network.genesisBytes);
    const refused = shown(() => ({
      aggregator: { manifest: slice.manifestBytes, evidence: new Uint8Array(0) },
    }));
    await expect(refused).rejects.toMatchObject({ code: "COORDINATION_ROLE_REFUSED" });
  });

  test("[XP-3] refuses a secret made for another slice", async () => {
    const refused = shown(({ sealed_secret: sealed }) => ({
      sealed_secret: damaged(sealed ?? OTHER),
    }));
    await expect(refused).rejects.toMatchObject({ method: "run", code: "INTERNAL_OPEN_FAILED" });
  });
});

function damaged(bytes: Uint8Array): Uint8Array {
  const at = bytes.length - 1;
  return bytes.with(at, (bytes[at] ?? 0) ^ 1);
}

function flipped(bytes: Uint8Array): Uint8Array {
  return bytes.with(0, (bytes[0] ?? 0) ^ 1);
}
