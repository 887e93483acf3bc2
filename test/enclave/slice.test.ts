import { beforeAll, describe, expect, test } from "vitest";

import {
  RESULT_BYTES,
  SLICE_RESULT_BUNDLE,
  commitRecord,
  equalBytes,
  type QueryParameters,
  type TaskResult,
} from "../../protocol/index.ts";
import { generateDemoReceipts } from "../../sim/data/receipts.ts";
import { RoundRefused, openResult, runRound, runSoleTask } from "../helpers/enclave-round.ts";
import {
  RECEIPT_COLUMNS,
  customerData,
  receiptRecords,
  testBatch,
  vaultData,
} from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../helpers/network.ts";
import { AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

const VAULTS = ["vault-1", "vault-2", "vault-3"];

/** Adults older than `min`; a minimum of 0 is everybody. */
function olderThan(min: number, audienceCap = 1000): QueryParameters {
  return {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [{ attribute: "customer.age", op: "range", min, max: 121 }],
    },
    audience_cap: audienceCap,
  };
}

let network: TestNetwork;
let withModel: Uint8Array;

beforeAll(async () => {
  network = await createNetwork();
  withModel = governanceSnapshot(network, [artifactRegistered(AGE_MODEL, "model")]);
});

async function queryTask(parameters: QueryParameters, count = 120): Promise<TestTask> {
  return testTask(network, { parameters, data: customerData(VAULTS, count) });
}

function sizeOf({ result }: TaskResult): number {
  return result.kind === "audience" ? result.size : -1;
}

describe("query", () => {
  test("[RT-4][AG-4][XP-6] counts distinct subjects over all Vaults and signs what it did", async () => {
    const task = await queryTask(olderThan(0));
    const round = await runRound(task);
    const { result, padded } = await openResult(task, round);
    expect(result).toMatchObject({ task_class: "query", simulated: true, partial_coverage: false });
    // 120 people in the first Vault and 60 more in each other one.
    expect(Math.abs(sizeOf(result) - 240)).toBeLessThan(40);
    expect(padded).toHaveLength(RESULT_BYTES.query);
    expect(round.bundle).toMatchObject({
      aggregation_method: "union",
      platform: "sim",
      epsilon_micro: 8_000_000,
      share_threshold: 2,
      final: true,
    });
    expect(round.bundle.slices.map((slice) => slice.vault_id)).toEqual(VAULTS);
  });

  test("[XP-7][AG-1] gives equal commitments for equal inputs, in new processes with new keys", async () => {
    const task = await queryTask(olderThan(40));
    const [first, second] = [await runRound(task), await runRound(task)];
    expect(second.bundle.output_commitment).toEqual(first.bundle.output_commitment);
    expect(second.bundle.sealed_digest).not.toEqual(first.bundle.sealed_digest);
    expect((await openResult(task, second)).padded).toEqual((await openResult(task, first)).padded);
  });

  test("[XP-12][AC-3][TC-3] an outcome below the thresholds is suppressed, in as many bytes", async () => {
    const nobody = await queryTask(olderThan(100));
    const round = await runRound(nobody);
    const { result, padded } = await openResult(nobody, round);
    expect(result.result).toEqual({ kind: "suppressed" });
    const released = await runRound(await queryTask(olderThan(0)));
    expect(padded).toHaveLength(RESULT_BYTES.query);
    expect(round.outcome.ciphertext).toHaveLength(released.outcome.ciphertext.length);
    expect(round.ran.map(sealedLength)).toEqual(released.ran.map(sealedLength));
  });

  test("[TC-3] never reports more than the audience cap", async () => {
    const task = await queryTask(olderThan(0, 100));
    const { result } = await openResult(task, await runRound(task));
    expect(sizeOf(result)).toBeLessThanOrEqual(100);
    const small = await queryTask(olderThan(0, 5));
    expect((await openResult(small, await runRound(small))).result.result.kind).toBe("suppressed");
  });

  test("[DS-5] counts nobody who does not consent", async () => {
    const data = customerData(VAULTS, 120).map((each, index) =>
      vaultData(
        VAULTS[index] ?? "",
        each.batches,
        Array.from({ length: 120 }, (_, row) => row),
      ),
    );
    const task = await testTask(network, { parameters: olderThan(0), data });
    const { result } = await openResult(task, await runRound(task));
    expect(result.result.kind).toBe("suppressed");
  });

  test("[DS-5] looks at no value of those who do not consent, wherever their records stand", async () => {
    const [own] = customerData(["vault-1"], 240);
    if (own === undefined) throw new Error("no data");
    const people = own.batches.flatMap(({ records }) => records);
    const withheld = people.flatMap(({ attributes }, row) =>
      Number(attributes["customer.age"]) >= 40 ? [row] : [],
    );
    const data = [vaultData("vault-1", own.batches, withheld)];
    const older = await testTask(network, { parameters: olderThan(40), data });
    const { result } = await openResult(older, await runSoleTask(older));
    expect(result.result.kind).toBe("suppressed");
    const all = await testTask(network, { parameters: olderThan(0), data });
    const { result: young } = await openResult(all, await runSoleTask(all));
    expect(Math.abs(sizeOf(young) - (240 - withheld.length))).toBeLessThan(40);
  });

  test("[MV-4] says partial_coverage at quorum with a Vault missing", async () => {
    const task = await queryTask(olderThan(0));
    const round = await runRound(task, { vaultIds: ["vault-1", "vault-3"] });
    expect(round.bundle.partial_coverage).toBe(true);
    expect((await openResult(task, round)).result.partial_coverage).toBe(true);
  });

  test("[MV-2] a slice bundle holds commitments and no word of the data", async () => {
    const task = await queryTask(olderThan(0));
    const round = await runRound(task);
    const [slice] = round.started.slices;
    const [ran] = round.ran;
    if (slice === undefined || ran?.result !== "ran") throw new Error("no slice");
    const bundle = SLICE_RESULT_BUNDLE.verify(ran.bundle, slice.enclave.manifest.signing_key);
    expect(bundle.input_commitment).toEqual(task.data[0]?.inputCommitment);
    for (const bytes of [ran.bundle, ran.sealed, round.bundleBytes, round.outcome.ciphertext]) {
      expect(Buffer.from(bytes).toString("latin1")).not.toContain("erson-");
    }
  });

  test("[RT-4] a task of one Vault runs in one enclave", async () => {
    const task = await testTask(network, {
      parameters: olderThan(0),
      data: customerData(["vault-1"], 240),
    });
    const done = await runSoleTask(task);
    const { result } = await openResult(task, done);
    expect(Math.abs(sizeOf(result) - 240)).toBeLessThan(40);
    expect(done.bundle).toMatchObject({ aggregation_method: "none", share_threshold: 1 });
  });
});

describe("compute", () => {
  test("[RT-4][XP-3][XP-7][VR-3] a histogram of scores, and the same commitment a second time", async () => {
    const data = customerData(VAULTS, 200);
    const task = await testTask(network, { parameters: AGE_SCORES, data });
    const options = { governance: withModel, artifact: AGE_MODEL };
    const [first, second] = [await runRound(task, options), await runRound(task, options)];
    const { result, padded } = await openResult(task, first);
    const rows = data.flatMap((each) => each.batches.flatMap((batch) => batch.records));
    const young = rows.filter((record) => Number(record.attributes["customer.age"]) < 48).length;
    if (result.result.kind !== "histogram") throw new Error("no histogram");
    const [low, high] = result.result.counts;
    expect(Math.abs((low ?? 0) - young)).toBeLessThan(40);
    expect(Math.abs((high ?? 0) - (rows.length - young))).toBeLessThan(40);
    expect(padded).toHaveLength(RESULT_BYTES.compute);
    expect(second.bundle.output_commitment).toEqual(first.bundle.output_commitment);
    expect(first.bundle.slices.map((slice) => slice.output_commitment)).toEqual(
      second.bundle.slices.map((slice) => slice.output_commitment),
    );
  });

  test("[XP-12][AC-3] bins below the threshold are null", async () => {
    const parameters = { ...AGE_SCORES, bin_edges_micro: [0, 1, 1_000_000] };
    const task = await testTask(network, { parameters, data: customerData(VAULTS, 200) });
    const round = await runRound(task, { governance: withModel, artifact: AGE_MODEL });
    const { result } = await openResult(task, round);
    expect(result.result).toMatchObject({ kind: "histogram", counts: [null, expect.any(Number)] });
  });

  test("[XP-3] refuses to exceed the declared work units", async () => {
    const parameters = { ...AGE_SCORES, work_units_max: 10 };
    const task = await testTask(network, { parameters, data: customerData(VAULTS, 40) });
    const round = runRound(task, { governance: withModel, artifact: AGE_MODEL });
    await expect(round).rejects.toMatchObject({
      method: "begin",
      code: "EXECUTION_BOUND_EXCEEDED",
    });
  });

  test("[TC-4][PB-6] whether declared work suffices says nothing of a Vault's rows", async () => {
    // Enough for the 40 rows there are, and less than the policy's 256 need.
    const parameters = { ...AGE_SCORES, work_units_max: 800 };
    const data = customerData(["vault-1"], 40);
    const task = await testTask(network, { parameters, data });
    const refused = runSoleTask(task, { governance: withModel, artifact: AGE_MODEL });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_BOUND_EXCEEDED" });
  });

  test("[XP-3][DS-5] more rows than the policy's bound fail as everything about the data does", async () => {
    const task = await testTask(network, {
      parameters: AGE_SCORES,
      data: customerData(VAULTS, 300),
    });
    const round = runRound(task, { governance: withModel, artifact: AGE_MODEL });
    await expect(round).rejects.toMatchObject({ method: "run", code: "EXECUTION_WORKLOAD_FAILED" });
  });
});

describe("parse", () => {
  const [receipt] = generateDemoReceipts(1);

  function parseTask(withheld: readonly number[] = []): Promise<TestTask> {
    const records = receiptRecords("vault-1", receipt === undefined ? [] : [receipt.image]);
    const [record] = records;
    if (record === undefined) throw new Error("no receipt");
    const batch = testBatch("vault-1 receipts", records, RECEIPT_COLUMNS);
    return testTask(network, {
      parameters: { task_class: "parse", record_commitment: commitRecord(record) },
      data: [vaultData("vault-1", [batch], withheld)],
    });
  }

  test("[RT-4][VR-1] reads the receipt of one record, linked to its commitment", async () => {
    const task = await parseTask();
    const done = await runSoleTask(task);
    const { result, padded } = await openResult(task, done);
    if (result.result.kind !== "receipt") throw new Error("no receipt");
    const { record_commitment: commitment, receipt: read } = result.result;
    const { parameters } = task.envelope;
    const named = parameters.task_class === "parse" ? parameters.record_commitment : null;
    expect(named !== null && equalBytes(commitment, named)).toBe(true);
    expect(read.total?.value).toBe(receipt?.spec.total);
    expect(read.date?.value).toBe(receipt?.spec.date);
    expect(padded).toHaveLength(RESULT_BYTES.parse);
    expect(done.bundle.epsilon_micro).toBe(0);
  });

  test("[VR-1][DS-5] refuses a commitment that no opened record has, and does not say so", async () => {
    const honest = await parseTask();
    const task = await testTask(network, {
      parameters: { task_class: "parse", record_commitment: new Uint8Array(32) },
      data: honest.data,
    });
    await expect(runSoleTask(task)).rejects.toMatchObject({ code: "EXECUTION_WORKLOAD_FAILED" });
  });

  test("[DS-5] refuses a record whose subject does not consent, and does not say so", async () => {
    const refused = runSoleTask(await parseTask([0]));
    await expect(refused).rejects.toBeInstanceOf(RoundRefused);
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_WORKLOAD_FAILED" });
  });

  test("[DS-5] an image that cannot be read fails as everything about the data does", async () => {
    const records = receiptRecords("vault-1", [new Uint8Array(64)]);
    const [record] = records;
    if (record === undefined) throw new Error("no receipt");
    const task = await testTask(network, {
      parameters: { task_class: "parse", record_commitment: commitRecord(record) },
      data: [vaultData("vault-1", [testBatch("vault-1 receipts", records, RECEIPT_COLUMNS)])],
    });
    const refused = runSoleTask(task);
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_WORKLOAD_FAILED" });
  });
});

function sealedLength(answer: { readonly result: string; readonly sealed?: Uint8Array }): number {
  return answer.sealed?.length ?? -1;
}
