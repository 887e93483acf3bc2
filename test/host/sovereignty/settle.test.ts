import { expect, test } from "vitest";

import {
  CONSUMPTION_RECORD,
  DELIVERY_SHARE,
  EXECUTION_RESULT_BUNDLE,
  SEAL_INFO,
  TASK_ENVELOPE,
  WORK_ORDER,
  hex,
  leafHash,
  merkleRoot,
  open,
  type ChallengeResolution,
  type ExecutionResultBundle,
  type GovernanceState,
  type TaskParameters,
} from "../../../protocol/index.ts";
import { testSeed } from "../../helpers/network.ts";
import { deliveryKey } from "../../helpers/network-task.ts";
import {
  ROUND,
  SHARE,
  bundleOf,
  execute,
  finish,
  proofOf,
  recordOf,
  releaseOf,
  signedBundle,
  type Executed,
  type Finished,
} from "./finished-task.ts";
import {
  beginning,
  envelopeOf,
  newFixture,
  requestOf,
  stocked,
  type Fixture,
} from "./vault-fixture.ts";

const COST = 8_000_000;

async function executed(name = "a"): Promise<Executed> {
  const fixture = await newFixture();
  await stocked(fixture);
  return await execute(fixture, name);
}

async function finished(): Promise<Finished> {
  return await finish(await executed());
}

async function marketing(fixture: Fixture) {
  const { budgets } = await fixture.vault.status();
  const found = budgets.find((each) => each.usageScope === "marketing");
  return { consumed: found?.consumedMaxMicro, reserved: found?.reservedMaxMicro };
}

function withEpsilon(task: Executed, epsilon_micro: number): ExecutionResultBundle {
  const bundle = bundleOf(task);
  return { ...bundle, slices: bundle.slices.map((slice) => ({ ...slice, epsilon_micro })) };
}

test("[PB-3] settling commits what the verified bundle says, once, and flags what exceeds tolerance", async () => {
  const task = await executed();
  const { vault } = task.fixture;
  const bundle = signedBundle(task, withEpsilon(task, COST - 7));
  const record = await vault.settle(task.envelope, [bundle]);
  expect(recordOf(task, record)).toMatchObject({
    consumed_epsilon_micro: COST - 7,
    reserved_epsilon_micro: COST,
    flagged: false,
    epoch_id: 3,
    ledger_size: vault.log.size,
    ledger_root: vault.log.root(),
  });
  expect(await vault.settle(task.envelope, [bundle])).toEqual(record);
  expect(await vault.settle(task.envelope, [])).toEqual(record);
  expect(await marketing(task.fixture)).toEqual({ consumed: COST - 7, reserved: 0 });
  const other = await execute(task.fixture, "b");
  const over = await vault.settle(other.envelope, [
    signedBundle(other, withEpsilon(other, COST + 1)),
  ]);
  expect(recordOf(other, over)).toMatchObject({ consumed_epsilon_micro: COST + 1, flagged: true });
});

test("[PB-4] what failed after execution began is committed at its estimate", async () => {
  const task = await executed();
  const record = await task.fixture.vault.settle(task.envelope, []);
  expect(recordOf(task, record)).toMatchObject({ consumed_epsilon_micro: COST });
  const aborted = await execute(task.fixture, "b");
  await task.fixture.vault.abort({
    envelopeDigest: TASK_ENVELOPE.digest(aborted.envelope),
    requestDigest: aborted.envelope.caller_context.request_digest,
  });
  expect(await marketing(task.fixture)).toEqual({ consumed: 2 * COST, reserved: 0 });
});

test("[PB-4] what failed before execution is given back, and no later call takes it", async () => {
  const fixture = await newFixture();
  await stocked(fixture);
  const { vault, governance } = fixture;
  const request = await requestOf(fixture, "a");
  const decision = await vault.decide(request.signed, governance);
  const envelope = envelopeOf(fixture, request, decision);
  expect(await marketing(fixture)).toEqual({ consumed: 0, reserved: COST });
  const requestDigest = envelope.caller_context.request_digest;
  const envelopeDigest = TASK_ENVELOPE.digest(envelope);
  await vault.abort({ envelopeDigest, requestDigest });
  await vault.abort({ envelopeDigest, requestDigest });
  expect(await marketing(fixture)).toEqual({ consumed: 0, reserved: 0 });
  await expect(vault.prepareSlice(envelope, governance, ROUND)).rejects.toMatchObject({
    code: "PRIVACY_BUDGET_STATE_CONFLICT",
  });
  await vault.abort({ envelopeDigest, requestDigest: testSeed("unknown") });
});

test("[PB-4] an execution whose settlement never comes is committed when its deadline has passed", async () => {
  const task = await executed();
  task.fixture.clock.nowMs += 130_000 + 600_000;
  const request = await requestOf(task.fixture, "b");
  await task.fixture.vault.decide(request.signed, task.fixture.governance);
  expect(await marketing(task.fixture)).toEqual({ consumed: COST, reserved: COST });
  const bundle = signedBundle(task, withEpsilon(task, 1));
  const record = await task.fixture.vault.settle(task.envelope, [bundle]);
  expect(recordOf(task, record)).toMatchObject({ consumed_epsilon_micro: COST });
});

test("[PB-5] the ledger's table takes no change and no deletion", async () => {
  const { fixture } = await executed();
  await fixture.vault.close();
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(`${fixture.directory}/vault.db`);
  for (const statement of ["delete from ledger", "update ledger set epsilon_micro = 0"]) {
    expect(() => database.exec(statement)).toThrow("append-only");
  }
  database.close();
});

const other = testSeed("something else");
test.for<{ title: string; change: Partial<ExecutionResultBundle>; code: string }>([
  {
    title: "another envelope",
    change: { envelope_digest: other },
    code: "PROOF_COMMITMENT_MISMATCH",
  },
  {
    title: "another enclave",
    change: { enclave_manifest: other },
    code: "PROOF_COMMITMENT_MISMATCH",
  },
  { title: "no finality", change: { final: false }, code: "PROOF_COMMITMENT_MISMATCH" },
])("a bundle of $title is refused and nothing is committed", async ({ change, code }) => {
  const task = await executed();
  const refused = task.fixture.vault.settle(task.envelope, [
    signedBundle(task, bundleOf(task, change)),
  ]);
  await expect(refused).rejects.toMatchObject({ code });
  expect(await marketing(task.fixture)).toEqual({ consumed: 0, reserved: COST });
});

test("a bundle by another key, or over another order, is refused; one without this Vault costs the estimate", async () => {
  const task = await executed();
  const { vault, network } = task.fixture;
  const forged = EXECUTION_RESULT_BUNDLE.sign(bundleOf(task), network.coordinator.signing);
  await expect(vault.settle(task.envelope, [forged])).rejects.toMatchObject({
    code: "PROOF_SIGNATURE_INVALID",
  });
  const bundle = bundleOf(task);
  const swapped = bundle.slices.map((slice) => ({ ...slice, order_digest: other }));
  const overOther = signedBundle(task, { ...bundle, slices: swapped });
  await expect(vault.settle(task.envelope, [overOther])).rejects.toMatchObject({
    code: "PROOF_COMMITMENT_MISMATCH",
  });
  const without = bundle.slices.map((slice) => ({
    ...slice,
    vault_id: "vault-2",
    epsilon_micro: 1,
  }));
  const record = await vault.settle(task.envelope, [
    signedBundle(task, { ...bundle, slices: without }),
  ]);
  expect(recordOf(task, record)).toMatchObject({ consumed_epsilon_micro: COST });
});

const TRAIN: TaskParameters = {
  task_class: "train",
  model_digest: testSeed("step graph"),
  features: [
    { attribute: "customer.age", mean_micro: 0, scale_micro: 1, min_micro: 0, max_micro: 1 },
  ],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: 3,
  groups: 8,
  local_steps: 1,
  batch_size: 8,
  learning_rate_micro: 1,
  clip_norm_micro: 1,
  fraction_bits: 16,
  convergence_threshold_micro: null,
};

test("[PB-1] an epsilon that its rounds do not divide is refused before anything is reserved", async () => {
  const { fixture, vault, governance, trained } = await training();
  const request = await requestOf(trained, "t", { epsilon_micro: 10_000_000 }, TRAIN);
  await expect(vault.decide(request.signed, governance)).rejects.toMatchObject({
    code: "SCHEMA_MALFORMED",
    details: { field: "epsilon_micro" },
  });
  expect((await fixture.vault.status()).reservations).toEqual({ reserved: 0, executing: 0 });
});

test("[PB-4] a training task of which two of three rounds began costs those two, each its share", async () => {
  const { fixture, vault, governance, trained } = await training();
  const request = await requestOf(trained, "t", { epsilon_micro: 9_000_000 }, TRAIN);
  const envelope = envelopeOf(trained, request, await vault.decide(request.signed, governance));
  const share = 3_000_000;
  const bundles: Uint8Array[] = [];
  for (const round of [0, 1]) {
    const plan = await vault.prepareSlice(envelope, governance, { round, attempt: 0 });
    const order = await vault.beginExecution(beginning(trained, envelope, plan));
    const task = {
      fixture,
      envelope,
      order: WORK_ORDER.verify(order, fixture.actor.signing.publicKey),
    };
    const bundle = { ...bundleOf(task), round, final: false };
    const slices = bundle.slices.map((slice) => ({ ...slice, epsilon_micro: share - round }));
    bundles.push(signedBundle(task, { ...bundle, slices }));
    const last = bundles.at(-1) ?? other;
    await expect(vault.verifyRound(envelope, last)).resolves.toMatchObject({ round, final: false });
  }
  const record = await vault.settle(envelope, bundles);
  const read = CONSUMPTION_RECORD.verify(record, fixture.actor.signing.publicKey);
  expect(read).toMatchObject({
    consumed_epsilon_micro: 2 * share - 1,
    reserved_epsilon_micro: 3 * share,
  });
  const { budgets } = await vault.status();
  expect(budgets.find((each) => each.usageScope === "training")).toMatchObject({
    consumedMaxMicro: 2 * share - 1,
    reservedMaxMicro: 0,
  });
});

async function training() {
  const fixture = await newFixture();
  await stocked(fixture);
  const digest = hex(testSeed("step graph"));
  const artifact = { digest: testSeed("step graph"), kind: "step_graph", description: "" } as const;
  const governance = { ...fixture.governance, artifacts: new Map([[digest, artifact]]) };
  return { fixture, vault: fixture.vault, governance, trained: { ...fixture, governance } };
}

test("[RD-2] a final result's share reaches the delivery key, once and with the same bytes", async () => {
  const task = await finished();
  const { vault, clock, actor } = task.fixture;
  clock.nowMs += 2_000;
  const answers = await Promise.all([
    vault.releaseShare(releaseOf(task)),
    vault.releaseShare(releaseOf(task)),
  ]);
  expect(answers[0]).toEqual(answers[1]);
  const share = DELIVERY_SHARE.verify(answers[0] ?? other, actor.signing.publicKey);
  const opened = await open({
    key: await deliveryKey(),
    info: SEAL_INFO.deliveryShare,
    aad: TASK_ENVELOPE.digest(task.envelope),
    sealed: share.sealed_share,
  });
  expect(opened).toEqual(SHARE);
  const reopened = await task.fixture.reopen();
  expect(await reopened.releaseShare(releaseOf(task))).toEqual(answers[0]);
});

test("[SP-11] no share before settlement, nor inside the challenge window on the Vault's own clock", async () => {
  const task = await finished();
  const { vault, clock } = task.fixture;
  clock.nowMs += 1_999;
  const future = { finalized_ms: clock.nowMs + 1_000_000 };
  const early = vault.releaseShare(releaseOf(task, proofOf(task, { root: future })));
  await expect(early).rejects.toMatchObject({ code: "SETTLEMENT_NOT_FINAL" });
  clock.nowMs += 1;
  await expect(vault.releaseShare(releaseOf(task))).resolves.toBeDefined();
  const unsettled = await execute(task.fixture, "b");
  const none = vault.releaseShare({ ...releaseOf(task), envelope: unsettled.envelope });
  await expect(none).rejects.toMatchObject({ code: "SETTLEMENT_NOT_FINAL" });
});

test("[RD-2] nothing is released without a settlement of exactly this output by the coordinator", async () => {
  const task = await finished();
  const { vault, clock, network } = task.fixture;
  clock.nowMs += 2_000;
  const [vault2 = network.coordinator] = network.vaults.slice(1);
  const damaged: readonly { title: string; proof: Uint8Array; code: string }[] = [
    {
      title: "another signer",
      proof: proofOf(task, { by: vault2 }),
      code: "PROOF_SIGNATURE_INVALID",
    },
    {
      title: "another tree",
      proof: proofOf(task, { root: { entries_root: merkleRoot([leafHash(other)]) } }),
      code: "PROOF_INCLUSION_INVALID",
    },
    ...[
      { output_commitment: other },
      { envelope_digest: other },
      { task_id: "t-1" },
      { epoch_id: 4 },
      { consumption: [] },
      { round_bundles: [other] },
      { round_bundles: [other, EXECUTION_RESULT_BUNDLE.digest(task.bundle)] },
    ].map((entry) => ({
      title: JSON.stringify(Object.keys(entry)),
      proof: proofOf(task, { entry }),
      code: "SETTLEMENT_INVALID",
    })),
    ...[{ genesis_digest: other }, { policy_version: "p" }].map((root) => ({
      title: JSON.stringify(Object.keys(root)),
      proof: proofOf(task, { root }),
      code: "SETTLEMENT_INVALID",
    })),
  ];
  for (const { title, proof, code } of damaged) {
    const refused = vault.releaseShare(releaseOf(task, proof));
    await expect(refused, title).rejects.toMatchObject({ code });
  }
});

test("[RD-2] a task that settled in a later epoch than its own is delivered, in an earlier one not", async () => {
  const task = await finished();
  const { vault, clock } = task.fixture;
  clock.nowMs += 2_000;
  const early = proofOf(task, { root: { epoch_id: task.envelope.epoch_id - 1 } });
  await expect(vault.releaseShare(releaseOf(task, early))).rejects.toMatchObject({
    code: "SETTLEMENT_INVALID",
    details: { field: "epoch_id" },
  });
  const deferred = proofOf(task, { root: { epoch_id: task.envelope.epoch_id + 1 } });
  await expect(vault.releaseShare(releaseOf(task, deferred))).resolves.toBeDefined();
});

test("[RD-2] nothing is released of a task whose challenge governance approved, whatever the proof", async () => {
  const task = await finished();
  const { vault, clock, governance } = task.fixture;
  clock.nowMs += 2_000;
  const decided = (resolution: ChallengeResolution): GovernanceState => ({
    ...governance,
    challengeResolutions: new Map([[task.envelope.task_id, { resolution, penalty: null }]]),
  });
  const release = releaseOf(task);
  await expect(
    vault.releaseShare({ ...release, governance: decided("approved") }),
  ).rejects.toMatchObject({ code: "DELIVERY_REFUSED" });
  const standing = { ...release, governance: decided("not_confirmed") };
  await expect(vault.releaseShare(standing)).resolves.toBeDefined();
});

test("[RD-2] another bundle, another share, a task without a result and a revoked grant are refused", async () => {
  const task = await finished();
  const { vault, clock } = task.fixture;
  clock.nowMs += 2_000;
  const release = releaseOf(task);
  const another = { ...task.bundle, output_commitment: other };
  await expect(
    vault.releaseShare({ ...release, signedBundle: signedBundle(task, another) }),
  ).rejects.toMatchObject({ code: "DELIVERY_REFUSED" });
  await expect(
    vault.releaseShare({ ...release, sealedShare: testSeed("x") }),
  ).rejects.toMatchObject({ code: "PROOF_COMMITMENT_MISMATCH" });
  const failed = await execute(task.fixture, "b");
  await vault.settle(failed.envelope, []);
  await expect(
    vault.releaseShare({
      ...release,
      envelope: failed.envelope,
      signedBundle: signedBundle(failed, bundleOf(failed)),
    }),
  ).rejects.toMatchObject({ code: "DELIVERY_REFUSED" });
  await vault.revokeGrant("grant-query");
  await expect(vault.releaseShare(release)).rejects.toMatchObject({ code: "DELIVERY_REFUSED" });
});

test("[CO-3] consent leaves the Vault as a keyed commitment, the same for nobody else", async () => {
  const [one, two] = [await executed("a"), await executed("b")];
  const [first, second] = [one, two].map(({ order }) => order.consent_commitment);
  expect(first).toHaveLength(32);
  expect(first).not.toEqual(second);
  expect(one.envelope.consent_references[0]?.consent_commitment).toEqual(first);
});
