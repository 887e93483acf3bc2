import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";

import {
  ROUND_SECRET,
  SEAL_INFO,
  SLICE_RESULT_BUNDLE,
  SymphonyError,
  TASK_ENVELOPE,
  WORK_ORDER,
  seal,
  sealedOutputDigest,
  sessionAad,
  type CoordinationEnvelope,
  type GovernanceStatement,
  type SlicePresentation,
  type TaskEnvelope,
} from "../../protocol/index.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { startEnclave } from "../helpers/enclave-rig.ts";
import {
  runRound,
  type BeginRequest,
  type FinishRequest,
  type FinishedTestRound,
} from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  TEST_MEASUREMENT,
  createNetwork,
  governanceSnapshot,
  testSeed,
  type TestNetwork,
} from "../helpers/network.ts";
import { ADULTS } from "../helpers/sample-parameters.ts";

const judged = vi.hoisted(() => ({ codes: new Array<string>() }));
vi.mock("../../enclave/jobs/judge.ts", async (importOriginal) => {
  const real = await importOriginal<typeof import("../../enclave/jobs/judge.ts")>();
  const judgeEach: typeof real.judgeEach = async (parts, verify) => {
    const answer = await real.judgeEach(parts, verify);
    for (const { reason } of answer.dropped) {
      judged.codes.push(reason instanceof SymphonyError ? reason.code : String(reason));
    }
    return answer;
  };
  return { ...real, judgeEach };
});

const VAULTS = ["vault-1", "vault-2", "vault-3"];
const OTHER = testSeed("another value");
const DEBUG = { pcr0: "00".repeat(48), pcr1: "00".repeat(48), pcr2: "00".repeat(48) };

let network: TestNetwork;
let task: TestTask;

beforeAll(async () => {
  network = await createNetwork();
  task = await testTask(network, { parameters: ADULTS, data: customerData(VAULTS, 20) });
});

beforeEach(() => {
  judged.codes.length = 0;
});

/** A round went on without the slices that fail with `code`, or ended because too few were left. */
async function expectDropped(round: Promise<FinishedTestRound>, code: string): Promise<void> {
  const [outcome] = await Promise.allSettled([round]);
  expect(new Set(judged.codes)).toEqual(new Set([code]));
  const left = VAULTS.length - judged.codes.length;
  const quorumNotMet = { reason: { code: "COORDINATION_QUORUM_NOT_MET" } };
  const goesOn = { value: { bundle: { partial_coverage: true, slices: { length: left } } } };
  expect(outcome).toMatchObject(left < 2 ? quorumNotMet : goesOn);
}

/** Changes what an envelope says of coordination. */
function coordination(change: Partial<CoordinationEnvelope>) {
  return (envelope: TaskEnvelope): TaskEnvelope => {
    const { coordination_envelope: honest } = envelope;
    return {
      ...envelope,
      coordination_envelope: honest === null ? null : { ...honest, ...change },
    };
  };
}

/** Presents something else in the place of the first slice. */
function first(change: (slice: SlicePresentation) => Partial<SlicePresentation>) {
  return (request: BeginRequest): BeginRequest => ({
    ...request,
    slices: request.slices.map((slice, at) => (at === 0 ? { ...slice, ...change(slice) } : slice)),
  });
}

describe("who takes part", () => {
  test("[MV-4] refuses to begin below the quorum", async () => {
    const refused = runRound(task, { vaultIds: ["vault-2"] });
    await expect(refused).rejects.toMatchObject({
      method: "begin",
      code: "COORDINATION_QUORUM_NOT_MET",
    });
  });

  test("[MV-4] needs more than half of the Vaults, so that no two rounds stand apart", async () => {
    const low = await testTask(network, {
      parameters: ADULTS,
      data: customerData(VAULTS, 20),
      envelope: coordination({ minimum_vault_quorum: 1 }),
    });
    const code = "COORDINATION_QUORUM_NOT_MET";
    await expect(runRound(low, { vaultIds: ["vault-2"] })).rejects.toMatchObject({ code });
  });

  test("[MV-4] refuses to finish below the quorum", async () => {
    const refused = runRound(task, {
      finish: (request) => ({ ...request, outputs: request.outputs.slice(0, 1) }),
    });
    await expect(refused).rejects.toMatchObject({
      method: "finish",
      code: "COORDINATION_QUORUM_NOT_MET",
    });
  });

  test("[MV-4] counts a Vault once, however often it is presented", async () => {
    const begin = (request: BeginRequest): BeginRequest => {
      const [slice] = request.slices;
      return { ...request, slices: slice === undefined ? [] : [slice, slice] };
    };
    await expect(runRound(task, { begin })).rejects.toMatchObject({
      method: "begin",
      code: "COORDINATION_CONFLICT",
    });
    const finish = (request: FinishRequest): FinishRequest => {
      const [output] = request.outputs;
      return { ...request, outputs: output === undefined ? [] : [output, output] };
    };
    await expect(runRound(task, { finish })).rejects.toMatchObject({
      method: "finish",
      code: "COORDINATION_CONFLICT",
    });
  });

  test("[MV-4] refuses a Vault outside the envelope", async () => {
    const refused = runRound(task, { begin: first(() => ({ vault_id: "vault-9" })) });
    await expect(refused).rejects.toMatchObject({ code: "EXECUTION_ORDER_MISMATCH" });
  });

  test("[MV-4] one enclave does not speak for two Vaults", async () => {
    const shared = startEnclave();
    let booted: ReturnType<typeof shared.call> | undefined;
    const startSlice = (vaultId: string) => {
      if (vaultId === "vault-3") return startEnclave();
      return {
        call: (request: Parameters<typeof shared.call>[0]) => {
          if (request.method !== "boot") return shared.call(request);
          booted ??= shared.call(request);
          return booted;
        },
      };
    };
    await expect(runRound(task, { startSlice })).rejects.toMatchObject({
      method: "begin",
      code: "COORDINATION_CONFLICT",
    });
  });

  test("[AG-3][XP-13] refuses an aggregator who is the submitter", async () => {
    const own = await createNetwork({
      genesis: (genesis) => ({ ...genesis, aggregator_id: "analyst" }),
    });
    const combined = await testTask(own, {
      parameters: ADULTS,
      data: customerData(VAULTS, 20),
      envelope: coordination({ aggregator_id: "analyst" }),
    });
    await expect(runRound(combined)).rejects.toMatchObject({
      method: "begin",
      code: "COORDINATION_ROLE_REFUSED",
    });
  });

  test("[XP-13] refuses a submitter whom governance calls an aggregator too", async () => {
    const own = await createNetwork({
      genesis: (genesis) => ({
        ...genesis,
        aggregator_id: "analyst",
        actors: genesis.actors.map((actor) =>
          actor.actor_id === "analyst" ? { ...actor, role: "aggregator" } : actor,
        ),
      }),
    });
    const combined = await testTask(own, {
      parameters: ADULTS,
      data: customerData(VAULTS, 20),
      envelope: coordination({ aggregator_id: "analyst" }),
    });
    await expect(runRound(combined)).rejects.toMatchObject({ code: "COORDINATION_ROLE_REFUSED" });
  });

  test.for([
    { title: "environment", change: { aggregation_environment: "mpc" } as const },
    { title: "method", change: { aggregation_method: "secure_sum" } as const },
  ])("[AG-1][AG-2] refuses an envelope with another $title than its class", async ({ change }) => {
    const odd = await testTask(network, {
      parameters: ADULTS,
      data: customerData(VAULTS, 20),
      envelope: coordination(change),
    });
    await expect(runRound(odd)).rejects.toMatchObject({
      method: "begin",
      code: "EXECUTION_ORDER_MISMATCH",
    });
  });
});

describe("the slices an aggregator takes", () => {
  test("[XP-10] refuses an order that another Vault signed", async () => {
    const [, second] = network.vaults;
    const refused = runRound(task, {
      signOrder: (order) => WORK_ORDER.sign(order, (second ?? network.submitter).signing),
    });
    await expectDropped(refused, "PROOF_SIGNATURE_INVALID");
  });

  test("[XP-10] refuses an order to another aggregator", async () => {
    const refused = runRound(task, { order: () => ({ aggregator_manifest: OTHER }) });
    await expectDropped(refused, "EXECUTION_ORDER_MISMATCH");
  });

  test("[XP-10] goes on without a Vault that knows governance this enclave was not shown", async () => {
    const known = runRound(task, {
      order: (vaultId) => ({ governance_size: vaultId === "vault-2" ? 1 : 0 }),
    });
    await expectDropped(known, "EXECUTION_ORDER_MISMATCH");
  });

  test("[AG-4] refuses a noise share that was not committed to", async () => {
    let finishing = false;
    const refused = runRound(task, {
      share: () => OTHER,
      finish: (request) => {
        finishing = true;
        return request;
      },
    });
    await expectDropped(refused, "PROOF_COMMITMENT_MISMATCH");
    expect(finishing, "no slice is given a secret for such a share").toBe(false);
  });

  test("[XP-10][MV-3] goes on without a slice with evidence over another challenge", async () => {
    const refused = runRound(task, {
      begin: (request, { slices }) =>
        first((slice) => ({
          peer: {
            manifest: slice.peer.manifest,
            evidence: slices[0]?.vaultEvidence ?? OTHER,
          },
        }))(request),
    });
    await expectDropped(refused, "TEE_NONCE_MISMATCH");
  });

  test("[XP-10] refuses evidence replayed from another round", async () => {
    const earlier = await runRound(task);
    const refused = runRound(task, {
      begin: first(() => earlier.started.slices[0]?.presentation ?? {}),
    });
    await expectDropped(refused, "TEE_NONCE_MISMATCH");
  });

  test("[XP-10] refuses a manifest that its evidence does not name", async () => {
    const refused = runRound(task, {
      begin: (request, { slices }) =>
        first((slice) => ({
          peer: {
            manifest: slices[1]?.enclave.manifestBytes ?? OTHER,
            evidence: slice.peer.evidence,
          },
        }))(request),
    });
    await expectDropped(refused, "TEE_NONCE_MISMATCH");
  });

  test.for([
    {
      title: "another image",
      measurement: { ...TEST_MEASUREMENT, pcr2: "cd".repeat(48) },
      code: "TEE_MEASUREMENT_MISMATCH",
    },
    { title: "debug mode", measurement: DEBUG, code: "TEE_DEBUG_REFUSED" },
  ])("[XP-10][AG-2] refuses a slice in $title", async ({ measurement, code }) => {
    const refused = runRound(task, {
      startSlice: (vaultId) => startEnclave(vaultId === "vault-2" ? { measurement } : {}),
    });
    await expectDropped(refused, code);
  });

  test("[XP-10] refuses a slice of a platform it has no root for", async () => {
    const platform = createInsecureSimPlatform(mkdtempSync(join(tmpdir(), "symphony-other-")));
    const refused = runRound(task, {
      startSlice: (vaultId) => startEnclave(vaultId === "vault-2" ? { platform } : {}),
    });
    await expectDropped(refused, "TEE_PLATFORM_REFUSED");
  });

  test("[XP-10] refuses evidence that is too old for the policy", async () => {
    const refused = runRound(task, {
      startSlice: () => startEnclave({ timeMs: NETWORK_TIME_MS - 700_000 }),
    });
    await expectDropped(refused, "TEE_DOCUMENT_STALE");
  });

  test("[XP-10] refuses an enclave whose platform governance has revoked", async () => {
    const decisions: GovernanceStatement["decision"][] = [
      { type: "platform_revoked", module_id: "i-0123456789abcdef" },
      { type: "measurement_revoked", pcr0: TEST_MEASUREMENT.pcr0 },
    ];
    const refused = runRound(task, { governance: governanceSnapshot(network, decisions) });
    await expectDropped(refused, "TEE_MEASUREMENT_REVOKED");
  });

  test("[XP-10] refuses a slice booted for another network", async () => {
    const other = await createNetwork({ genesis: (genesis) => ({ ...genesis, network: "other" }) });
    const refused = runRound(task, { genesisOfSlice: () => other.genesisBytes });
    await expectDropped(refused, "GOVERNANCE_GENESIS_MISMATCH");
  });

  test("[XP-10] refuses governance of another genesis", async () => {
    const other = await createNetwork({ genesis: (genesis) => ({ ...genesis, network: "other" }) });
    const refused = runRound(task, {
      begin: (request) => ({ ...request, governance: governanceSnapshot(other) }),
    });
    await expect(refused).rejects.toMatchObject({ code: "GOVERNANCE_GENESIS_MISMATCH" });
  });

  test("[TE-2] refuses another envelope than the orders name", async () => {
    const changed = { ...task.envelope, task_timeout: task.envelope.task_timeout + 1 };
    const refused = runRound(task, {
      begin: (request) => ({ ...request, envelope: TASK_ENVELOPE.encode(changed) }),
    });
    await expectDropped(refused, "EXECUTION_ORDER_MISMATCH");
  });
});

describe("the outputs an aggregator takes", () => {
  function output(change: (request: FinishRequest) => FinishRequest["outputs"]) {
    return runRound(task, { finish: (request) => ({ ...request, outputs: change(request) }) });
  }

  test("[AG-4] refuses a bundle that its enclave did not sign", async () => {
    const refused = output(({ outputs }) =>
      outputs.map((each, at) => ({
        ...each,
        bundle: outputs[(at + 1) % outputs.length]?.bundle ?? each.bundle,
      })),
    );
    await expectDropped(refused, "PROOF_SIGNATURE_INVALID");
  });

  test("[AG-4][MV-4] refuses sealed outputs that their bundles do not name, and ends below the quorum", async () => {
    const refused = output(({ outputs }) =>
      outputs.map((each) => ({ ...each, sealed_output: each.sealed_output.with(0, 1) })),
    );
    await expectDropped(refused, "PROOF_COMMITMENT_MISMATCH");
  });

  test("[AG-4] refuses a bundle from another round of the same enclaves' task", async () => {
    const earlier = await runRound(task);
    const [ran] = earlier.ran;
    const refused = output(({ outputs }) =>
      outputs.map((each, at) =>
        at === 0 && ran?.result === "ran" ? { ...each, bundle: ran.bundle } : each,
      ),
    );
    await expectDropped(refused, "PROOF_SIGNATURE_INVALID");
  });

  test("[AG-4] refuses the output of a slice whose host gave it another token key", async () => {
    const forged = ROUND_SECRET.encode({ token_key: OTHER, state: null });
    const refused = runRound(task, {
      run: async (request, vaultId, { enclave, evidenceForAggregator }) => ({
        ...request,
        sealed_secret: await seal({
          to: enclave.manifest.box_key,
          info: SEAL_INFO.secret,
          aad: sessionAad(
            { envelope_digest: task.envelopeDigest, vault_id: vaultId, round: 0, attempt: 0 },
            evidenceForAggregator,
          ),
          plaintext: forged,
        }),
      }),
    });
    await expectDropped(refused, "PROOF_COMMITMENT_MISMATCH");
  });

  test("[AG-4] the signed bundle names what each Vault's enclave said", async () => {
    const round = await runRound(task);
    for (const [at, slice] of round.started.slices.entries()) {
      const ran = round.ran[at];
      if (ran?.result !== "ran") throw new Error("no slice");
      const signed = SLICE_RESULT_BUNDLE.verify(ran.bundle, slice.enclave.manifest.signing_key);
      expect(round.bundle.slices[at]).toMatchObject({
        vault_id: slice.vault.actorId,
        manifest: slice.enclave.manifestDigest,
        order_digest: WORK_ORDER.digest(slice.order),
        output_commitment: signed.output_commitment,
        sealed_output_digest: sealedOutputDigest(ran.sealed),
      });
    }
  });
});
