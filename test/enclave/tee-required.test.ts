import { beforeAll, describe, expect, test } from "vitest";

import { buildLogisticStepGraph } from "../../enclave/workloads/train/index.ts";
import {
  GENESIS,
  commitRecord,
  encodeCbor,
  sha256,
  type TaskClass,
  type TaskParameters,
} from "../../protocol/index.ts";
import { bootHosted, codeOf, startEnclave } from "../helpers/enclave-rig.ts";
import { runRequest, runRound } from "../helpers/enclave-round.ts";
import {
  customerData,
  RECEIPT_COLUMNS,
  receiptRecords,
  testBatch,
  vaultData,
  type VaultData,
} from "../helpers/network-data.ts";
import { signOrder, testOrder, testTask } from "../helpers/network-task.ts";
import {
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../helpers/network.ts";
import { ADULTS, AGE_MODEL, AGE_SCORES } from "../helpers/sample-parameters.ts";

const STEP = buildLogisticStepGraph({ features: 1 });
const VAULTS = ["vault-1", "vault-2"];

const RECORDS = receiptRecords("vault-1", [new Uint8Array(64)]);
const [RECEIPT] = RECORDS;
if (RECEIPT === undefined) throw new Error("no receipt");

/** One task of each class; its artifact, and its data where one Vault runs it. */
const CLASSES: Readonly<
  Record<
    TaskClass,
    { parameters: TaskParameters; artifact: Uint8Array | null; sole: readonly VaultData[] }
  >
> = {
  parse: {
    parameters: { task_class: "parse", record_commitment: commitRecord(RECEIPT) },
    artifact: null,
    sole: [vaultData("vault-1", [testBatch("receipts", RECORDS, RECEIPT_COLUMNS)])],
  },
  query: { parameters: ADULTS, artifact: null, sole: customerData(["vault-1"], 20) },
  compute: { parameters: AGE_SCORES, artifact: AGE_MODEL, sole: customerData(["vault-1"], 20) },
  train: {
    parameters: {
      task_class: "train",
      model_digest: sha256(STEP),
      features: AGE_SCORES.features,
      label: { attribute: "customer.subscribed", positive: 1 },
      rounds: 2,
      groups: 64,
      local_steps: 4,
      batch_size: 16,
      learning_rate_micro: 1_000_000,
      clip_norm_micro: 1_000_000,
      fraction_bits: 12,
      convergence_threshold_micro: null,
    },
    artifact: STEP,
    sole: customerData(["vault-1"], 20),
  },
};

let network: TestNetwork;
let governance: Uint8Array;

beforeAll(async () => {
  network = await createNetwork();
  governance = governanceSnapshot(network, [
    artifactRegistered(AGE_MODEL, "model"),
    artifactRegistered(STEP, "step_graph"),
  ]);
});

describe("a policy that permits to run outside an attested enclave", () => {
  test.for(["parse", "query", "compute", "train"] as const)(
    "[TT-6] is refused for %s, and no enclave boots under it",
    async (taskClass) => {
      const { policy } = network.genesis;
      const constraints = { ...policy.classes[taskClass], tee_required: false };
      const classes = { ...policy.classes, [taskClass]: constraints };
      const genesis = { ...network.genesis, policy: { ...policy, classes } };
      const bytes = encodeCbor(genesis);
      expect(() => GENESIS.decode(bytes)).toThrow(
        expect.objectContaining({ code: "SCHEMA_MALFORMED" }),
      );
      const answer = await startEnclave().call({ method: "boot", role: "slice", genesis: bytes });
      expect(codeOf(answer)).toBe("SCHEMA_MALFORMED");
    },
  );
});

describe("without attestation", () => {
  test.for(["parse", "query", "compute", "train"] as const)(
    "[TT-6] an enclave runs no %s, for an order sealed over no evidence",
    async (taskClass) => {
      const { parameters, artifact, sole } = CLASSES[taskClass];
      const task = await testTask(network, { parameters, data: sole });
      const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
      const [vault] = network.vaults;
      if (vault === undefined) throw new Error("no vault");
      const order = testOrder(task, {
        vaultId: vault.actorId,
        enclaveManifest: enclave.manifestDigest,
        aggregatorManifest: null,
      });
      const vaultEvidence = new Uint8Array(0);
      const presentation = {
        vault_id: vault.actorId,
        peer: { manifest: enclave.manifestBytes, evidence: vaultEvidence },
        order: signOrder(task, order),
        contribution: vaultEvidence,
      };
      const request = await runRequest(
        task,
        { vault, enclave, vaultEvidence, order, presentation },
        { envelope: task.envelopeBytes, governance, round: 0, attempt: 0 },
      );
      expect(codeOf(await enclave.call({ ...request, artifact }))).toBe("EXECUTION_ORDER_MISMATCH");
    },
  );

  const crossVault = ["query", "compute", "train"] as const;

  const crossTask = async (taskClass: (typeof crossVault)[number]) => {
    const { parameters, artifact } = CLASSES[taskClass];
    const data = customerData(VAULTS, 20);
    const changes = taskClass === "train" ? { request: { epsilon_micro: 40_000_000 } } : {};
    const task = await testTask(network, { parameters, data, ...changes });
    return { task, options: { governance, ...(artifact === null ? {} : { artifact }) } };
  };

  test.for(crossVault)("[TT-6] no slice takes part in a %s over Vaults", async (taskClass) => {
    const { task, options } = await crossTask(taskClass);
    const refused = runRound(task, {
      ...options,
      begin: (request) => ({
        ...request,
        slices: request.slices.map((slice) => ({
          ...slice,
          peer: { ...slice.peer, evidence: new Uint8Array(0) },
        })),
      }),
    });
    const code = "COORDINATION_QUORUM_NOT_MET";
    await expect(refused).rejects.toMatchObject({ method: "begin", code });
  });

  test.for(crossVault)("[TT-6] no slice seals its %s to an aggregator", async (taskClass) => {
    const { task, options } = await crossTask(taskClass);
    for (const [evidence, code] of [
      [new Uint8Array(0), "TEE_DOCUMENT_MALFORMED"],
      [null, "EXECUTION_ORDER_MISMATCH"],
    ] as const) {
      const refused = runRound(task, {
        ...options,
        run: (request) => ({
          ...request,
          aggregator:
            evidence === null || request.aggregator === null
              ? null
              : { ...request.aggregator, evidence },
        }),
      });
      await expect(refused).rejects.toMatchObject({ method: "run", code });
    }
  });
});
