import { expect, test } from "vitest";

import {
  CONSUMPTION_RECORD,
  EXECUTION_RESULT_BUNDLE,
  TASK_ENVELOPE,
  WORK_ORDER,
  hex,
  parseEvent,
  type ExecutionResultBundle,
  type TaskEnvelope,
  type TaskParameters,
} from "../../../../protocol/index.ts";
import { testSeed } from "../../../helpers/network.ts";
import {
  QUERY,
  beginning,
  envelopeOf,
  newFixture,
  requestOf,
  stocked,
  type Fixture,
} from "../vault-fixture.ts";

const COST = 9_000_000;
const ROUNDS = 3;
const TRAIN: TaskParameters = {
  task_class: "train",
  model_digest: testSeed("step graph"),
  features: [
    { attribute: "customer.age", mean_micro: 0, scale_micro: 1, min_micro: 0, max_micro: 1 },
  ],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: ROUNDS,
  groups: 8,
  local_steps: 1,
  batch_size: 8,
  learning_rate_micro: 1,
  clip_norm_micro: 1,
  fraction_bits: 16,
  convergence_threshold_micro: null,
};

async function world(): Promise<Fixture> {
  const fixture = await newFixture();
  await stocked(fixture);
  const digest = testSeed("step graph");
  const artifact = { digest, kind: "step_graph", description: "" } as const;
  const artifacts = new Map([[hex(digest), artifact]]);
  return { ...fixture, governance: { ...fixture.governance, artifacts } };
}

/** Begins every round of a task; gives the bundle of each round for what it is to have consumed. */
async function executed(fixture: Fixture, parameters: TaskParameters) {
  const { vault, governance } = fixture;
  const request = await requestOf(fixture, "t", { epsilon_micro: COST }, parameters);
  const envelope = envelopeOf(fixture, request, await vault.decide(request.signed, governance));
  const rounds = envelope.iteration_policy?.maximum_rounds ?? 1;
  const orders: Uint8Array[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const plan = await vault.prepareSlice(envelope, governance, { round, attempt: 0 });
    const signed = await vault.beginExecution(beginning(fixture, envelope, plan));
    const order = WORK_ORDER.verify(signed, fixture.actor.signing.publicKey);
    orders.push(WORK_ORDER.digest(order));
  }
  const bundles = (...consumed: number[]): Uint8Array[] =>
    consumed.map((epsilon_micro, round) =>
      bundleOf(fixture, {
        ...{ envelope, round, epsilon_micro, final: round === rounds - 1 },
        orderDigest: orders[round] ?? new Uint8Array(32),
      }),
    );
  return { envelope, bundles };
}

function bundleOf(
  fixture: Fixture,
  args: {
    readonly envelope: TaskEnvelope;
    readonly round: number;
    readonly final: boolean;
    readonly epsilon_micro: number;
    readonly orderDigest: Uint8Array;
  },
): Uint8Array {
  const { envelope, round, final, epsilon_micro } = args;
  const slice = {
    vault_id: fixture.actor.actorId,
    manifest: testSeed("slice manifest"),
    order_digest: args.orderDigest,
    output_commitment: testSeed("slice output"),
    sealed_output_digest: testSeed("sealed slice output"),
    epsilon_micro,
  };
  const bundle: ExecutionResultBundle = {
    version: 1,
    platform: "sim",
    ...{ attempt: 0, partial_coverage: true, share_threshold: 2, input_state: null },
    model_change_micro: null,
    ...{ round, final, slices: [slice], epsilon_micro },
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    task_class: envelope.task_class,
    enclave_manifest: testSeed("aggregator manifest"),
    aggregation_method: envelope.coordination_envelope?.aggregation_method ?? "none",
    output_commitment: testSeed("output"),
    sealed_digest: testSeed("sealed"),
    key_commitment: testSeed("key"),
    share_digests: [{ vault_id: fixture.actor.actorId, digest: testSeed("share") }],
  };
  return EXECUTION_RESULT_BUNDLE.sign(bundle, fixture.network.aggregator.signing);
}

async function settled(fixture: Fixture, envelope: TaskEnvelope, bundles: Uint8Array[]) {
  const record = await fixture.vault.settle(envelope, bundles);
  return CONSUMPTION_RECORD.verify(record, fixture.actor.signing.publicKey);
}

/** Where the operator, and whoever audits the log, sees that a task is up for review. */
async function flags({ vault }: Fixture, envelope: TaskEnvelope) {
  const lines = await vault.ledger.statement({ after: 0, limit: 100 });
  const subject = await vault.ledger.subjectStatement({ subject: "c-1", after: 0, limit: 100 });
  const entries = await vault.log.entriesForTask(envelope.task_id);
  const events = entries.map(({ event }) => parseEvent(event));
  return {
    statement: lines.filter(({ flagged }) => flagged).map(({ kind }) => kind),
    subject: subject.lines.map(({ flagged }) => flagged),
    event: events.filter(({ type }) => type === "budget.flagged").map(({ body }) => body),
  };
}

const UNFLAGGED = { statement: [], subject: [false], event: [] };

test("[PB-3] consumption within the reservation flags nothing", async () => {
  const fixture = await world();
  const { envelope, bundles } = await executed(fixture, TRAIN);
  const part = COST / ROUNDS;
  const record = await settled(fixture, envelope, bundles(part, part - 1, part));
  expect(record).toMatchObject({ consumed_epsilon_micro: COST - 1, flagged: false });
  expect(await flags(fixture, envelope)).toEqual(UNFLAGGED);
});

test("[PB-3] consumption beyond the reservation is committed whole, and flagged where anybody looks", async () => {
  const fixture = await world();
  const { envelope, bundles } = await executed(fixture, QUERY);
  const record = await settled(fixture, envelope, bundles(COST + 5));
  expect(record).toMatchObject({ consumed_epsilon_micro: COST + 5, flagged: true });
  const body = { reserved_micro: COST, actual_micro: COST + 5, tolerance_micro: 0 };
  expect(await flags(fixture, envelope)).toEqual({
    statement: ["commit"],
    subject: [true],
    event: [expect.objectContaining(body)],
  });
  await fixture.vault.settle(envelope, bundles(COST + 5));
  expect((await flags(fixture, envelope)).event).toHaveLength(1);
});

test("[PB-3] a round beyond its own part is flagged though the whole is within the reservation", async () => {
  const fixture = await world();
  const { envelope, bundles } = await executed(fixture, TRAIN);
  const part = COST / ROUNDS;
  const record = await settled(fixture, envelope, bundles(part + 1, 0, 0));
  // What settlement compares with the whole reservation says nothing of rounds.
  expect(record).toMatchObject({ consumed_epsilon_micro: part + 1, flagged: false });
  expect(await flags(fixture, envelope)).toMatchObject({
    statement: ["commit"],
    event: [expect.objectContaining({ actual_micro: part + 1 })],
  });
});

test("[PB-3] [PB-4] what comes to light after the deadline's commit is flagged, and the commit stands", async () => {
  const fixture = await world();
  const { envelope, bundles } = await executed(fixture, TRAIN);
  fixture.clock.nowMs += 130_000 + 600_000;
  const { signed } = await requestOf(fixture, "next");
  await fixture.vault.decide(signed, fixture.governance);
  const [, ...ends] = (await fixture.vault.ledger.statement({ after: 0, limit: 100 })).filter(
    ({ kind, epsilon_micro }) => kind === "commit" || epsilon_micro === COST,
  );
  expect(ends[0]).toMatchObject({ kind: "commit", epsilon_micro: COST, flagged: false });
  const record = await settled(fixture, envelope, bundles(COST, COST, COST));
  expect(record).toMatchObject({ consumed_epsilon_micro: COST, flagged: false });
  expect(await flags(fixture, envelope)).toMatchObject({
    statement: ["commit"],
    event: [expect.objectContaining({ actual_micro: 3 * COST })],
  });
});
