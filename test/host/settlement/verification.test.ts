import { beforeAll, afterAll, expect, test } from "vitest";

import {
  verifyExecution,
  type RoundEvidence,
  type VerifiedExecution,
} from "../../../host/settlement/index.ts";
import {
  GOVERNANCE_SNAPSHOT,
  TASK_ENVELOPE,
  TASK_REQUEST,
  parseCose,
  resolveRequest,
  sha256,
  utf8,
  verifyGovernanceSnapshot,
  type GovernanceState,
  type PolicyVersion,
  type Policy,
  type TaskEnvelope,
  type TaskParameters,
  type TrainParameters,
} from "../../../protocol/index.ts";
import { QUERY, closeRun, runTask, verifyRun, type TestRun } from "../../helpers/evidence-rig.ts";
import { rigPlatform } from "../../helpers/enclave-rig.ts";
import { customerData } from "../../helpers/network-data.ts";
import { testTask, type TestTask } from "../../helpers/network-task.ts";
import {
  TEST_MEASUREMENT,
  artifactRegistered,
  createNetwork,
  governanceSnapshot,
  type TestNetwork,
} from "../../helpers/network.ts";
import {
  someDigest,
  syntheticRound,
  type SyntheticOptions,
} from "../../helpers/synthetic-round.ts";
import { ENVELOPES, FIRST, LIES, ROUNDS, SECOND } from "./lies.ts";

const MODEL = utf8("a step graph");
const FEATURE = {
  attribute: "customer.age",
  mean_micro: 0,
  scale_micro: 1,
  min_micro: 0,
  max_micro: 1,
};
const COMPUTE: TaskParameters = {
  task_class: "compute",
  model_digest: sha256(MODEL),
  features: [FEATURE],
  bin_edges_micro: [0, 1],
  work_units_max: 1,
};
const TRAIN: TrainParameters = {
  task_class: "train",
  model_digest: sha256(MODEL),
  features: [FEATURE],
  label: { attribute: "customer.subscribed", positive: 1 },
  rounds: 2,
  groups: 4,
  local_steps: 1,
  batch_size: 1,
  learning_rate_micro: 1,
  clip_norm_micro: 1,
  fraction_bits: 8,
  convergence_threshold_micro: null,
};
const PARSE: TaskParameters = { task_class: "parse", record_commitment: someDigest("record") };

/** A task admitted on a network, ready for made-up rounds. */
interface Case {
  readonly task: TestTask;
  readonly governance: GovernanceState;
}

async function caseOf(
  parameters: TaskParameters,
  options: {
    readonly network?: TestNetwork;
    readonly policy?: (policy: Policy) => Policy;
    readonly decisions?: Parameters<typeof governanceSnapshot>[1];
    readonly envelope?: (envelope: TaskEnvelope) => TaskEnvelope;
    readonly vaults?: number;
  } = {},
): Promise<Case> {
  const network =
    options.network ??
    (await createNetwork(options.policy === undefined ? {} : { policy: options.policy }));
  const decisions = options.decisions ?? [
    artifactRegistered(MODEL, parameters.task_class === "compute" ? "model" : "step_graph"),
  ];
  const snapshot = GOVERNANCE_SNAPSHOT.decode(governanceSnapshot(network, decisions));
  const governance = verifyGovernanceSnapshot(snapshot, network.genesisDigest);
  const vaultIds = network.vaults.map((vault) => vault.actorId).slice(0, options.vaults ?? 3);
  const task = await testTask(network, {
    parameters,
    data: customerData(vaultIds, 4),
    envelope: (plain) => {
      const { payload } = parseCose(plain.caller_context.signed_request);
      const request = TASK_REQUEST.decode(payload);
      const { attribute_composition } = resolveRequest(request, governance);
      const envelope = { ...plain, attribute_composition };
      return options.envelope?.(envelope) ?? envelope;
    },
  });
  return { task, governance };
}

function verify({ task, governance }: Case, rounds: readonly RoundEvidence[]): VerifiedExecution {
  const anchors = [rigPlatform().anchor];
  return verifyExecution({ envelope: task.envelope, governance, anchors, rounds });
}

function trainRounds(task: TestTask, second: SyntheticOptions = {}): RoundEvidence[] {
  const first = syntheticRound(task);
  return [first, syntheticRound(task, { round: 1, previous: first, ...second })];
}

const refused = (code: string) => expect.objectContaining({ code });

let run: TestRun;
let query: Case;

beforeAll(async () => {
  run = await runTask();
  query = await caseOf(QUERY);
});

afterAll(() => closeRun(run));

test("[SP-1][TT-2][AG-4][VR-2] accepts what real enclaves did, from archived evidence alone", () => {
  const checks: string[] = [];
  const execution = verifyRun(run, { observe: (check) => checks.push(check) });
  expect(checks).toEqual(["request and envelope", "round 0", "acceptance criteria"]);
  expect(execution.participants).toEqual(["vault-1", "vault-2", "vault-3"]);
  expect(execution.reports).toHaveLength(9);
  expect(execution.simulated).toBe(true);
  expect(execution.outputCommitment).toEqual(run.finished[0]?.bundle.output_commitment);
});

test("[SP-8] leaves the evidence it judged as it was", () => {
  const before = structuredClone(run.rounds);
  verifyRun(run);
  expect(run.rounds).toEqual(before);
});

test("[SP-1] accepts an honest made-up round, twice with equal result", () => {
  const rounds = [syntheticRound(query.task)];
  expect(verify(query, rounds).bundleDigests).toEqual(verify(query, rounds).bundleDigests);
});

test.for(ENVELOPES)("refuses an envelope with $title", ({ code, damage }) => {
  const envelope = damage(run.task.envelope);
  expect(() => verifyRun(run, { envelope })).toThrow(refused(code));
});

test.for(ROUNDS)("[SP-1] refuses a round with $title", ({ code, damage }) => {
  expect(() => verifyRun(run, { rounds: run.rounds.map(damage) })).toThrow(refused(code));
});

test("[SP-1] refuses no rounds, and a round too many", () => {
  expect(() => verifyRun(run, { rounds: [] })).toThrow(refused("VERIFY_RESULT_REJECTED"));
  const doubled = [...run.rounds, ...run.rounds];
  expect(() => verifyRun(run, { rounds: doubled })).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
});

test.for(LIES)("[SP-1] refuses $title", ({ code, lie }) => {
  expect(() => verify(query, [syntheticRound(query.task, lie)])).toThrow(refused(code));
});

test("[SP-1] refuses an order its Vault did not sign", () => {
  const evidence = syntheticRound(query.task);
  const [one, two] = evidence.slices;
  if (one === undefined || two === undefined) throw new Error("too few slices");
  const slices = evidence.slices.map((slice) =>
    slice === one ? { ...one, order: two.order } : slice,
  );
  expect(() => verify(query, [{ ...evidence, slices }])).toThrow(
    refused("PROOF_SIGNATURE_INVALID"),
  );
});

test("[TT-2] replays evidence of a leaf that has long expired, under its root alone", () => {
  const old = { timeMs: 1_600_000_000_000 };
  const rounds = [syntheticRound(query.task, { enclave: old, aggregatorEnclave: old })];
  expect(verify(query, rounds).participants).toHaveLength(3);
  const { task, governance } = query;
  const claim = { envelope: task.envelope, governance, rounds };
  expect(() => verifyExecution({ ...claim, anchors: [] })).toThrow(refused("TEE_POLICY_EMPTY"));
});

test("[TT-2] refuses a measurement that governance has revoked", async () => {
  const { pcr0 } = TEST_MEASUREMENT;
  const revoked = await caseOf(QUERY, { decisions: [{ type: "measurement_revoked", pcr0 }] });
  const rounds = [syntheticRound(revoked.task)];
  expect(() => verify(revoked, rounds)).toThrow(refused("TEE_MEASUREMENT_REVOKED"));
});

test("[MV-4] refuses fewer slices than the quorum, and partial coverage where policy refuses it", async () => {
  const lonely = syntheticRound(query.task, { vaultIds: [FIRST] });
  expect(() => verify(query, [lonely])).toThrow(refused("COORDINATION_QUORUM_NOT_MET"));
  const partial = { vaultIds: [FIRST, SECOND] };
  expect(verify(query, [syntheticRound(query.task, partial)]).participants).toEqual([
    FIRST,
    SECOND,
  ]);
  const strict = await caseOf(QUERY, {
    policy: (policy) => ({
      ...policy,
      multi_vault: { ...policy.multi_vault, partial_coverage_accepted: false },
    }),
  });
  const rounds = [syntheticRound(strict.task, partial)];
  expect(() => verify(strict, rounds)).toThrow(refused("VERIFY_RESULT_REJECTED"));
});

test("[GS-6] a deprecated policy still governs what it admitted; a retired one nothing", async () => {
  const admitted = await caseOf(QUERY);
  const rounds = [syntheticRound(admitted.task)];
  const { governance } = admitted;
  const successor = { ...governance.policy, policy_version_id: "policy-2" };
  const strict = {
    ...successor,
    privacy: { ...successor.privacy, minimum_result_cardinality: 99 },
  };
  const later = (status: "deprecated" | "retired"): GovernanceState => {
    const [first] = governance.policies.values();
    if (first === undefined) throw new Error("no version");
    const next: PolicyVersion = { ...first, policy: strict, activeFrom: 1 };
    const policies = new Map<string, PolicyVersion>([
      ["policy-1", { ...first, status, activeUntil: 1 }],
      ["policy-2", next],
    ]);
    const epoch = { ...governance.epoch, epochId: 1 };
    return { ...governance, policy: strict, policies, epoch };
  };
  const deprecated = { ...admitted, governance: later("deprecated") };
  const execution = verify(deprecated, rounds);
  expect(execution.participants).toHaveLength(3);
  expect(execution.governance.policy).toEqual(governance.policy);
  const retired = { ...admitted, governance: later("retired") };
  expect(() => verify(retired, rounds)).toThrow(refused("POLICY_NOT_ACTIVE"));
});

test("[VR-2] refuses a query without an audience cap", async () => {
  const uncapped = await caseOf({ ...QUERY, audience_cap: 0 });
  const rounds = [syntheticRound(uncapped.task)];
  expect(() => verify(uncapped, rounds)).toThrow(refused("VERIFY_RESULT_REJECTED"));
});

test("compute runs a registered model once", async () => {
  const compute = await caseOf(COMPUTE);
  expect(verify(compute, [syntheticRound(compute.task)]).participants).toHaveLength(3);
  const wrongKind = await caseOf(COMPUTE, { decisions: [artifactRegistered(MODEL, "step_graph")] });
  const rounds = [syntheticRound(wrongKind.task)];
  expect(() => verify(wrongKind, rounds)).toThrow(refused("EXECUTION_WORKLOAD_UNREGISTERED"));
});

test("[VR-1] parse is one slice of one Vault that commits to its input record", async () => {
  const parse = await caseOf(PARSE, { vaults: 1 });
  expect(verify(parse, [syntheticRound(parse.task)]).participants).toEqual([FIRST]);
  const unlinked = syntheticRound(parse.task, {
    bundle: (bundle) => ({
      ...bundle,
      slices: bundle.slices.map((slice) => ({ ...slice, output_commitment: someDigest("x") })),
    }),
  });
  expect(() => verify(parse, [unlinked])).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
});

test("train takes every round, each from the state the last one committed to", async () => {
  const train = await caseOf(TRAIN);
  const honest = trainRounds(train.task);
  expect(verify(train, honest).bundles.map((bundle) => bundle.final)).toEqual([false, true]);
  expect(() => verify(train, honest.slice(0, 1))).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
  expect(() => verify(train, honest.toReversed())).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
  const forked = trainRounds(train.task, {
    bundle: (bundle) => ({ ...bundle, input_state: someDigest("other") }),
  });
  expect(() => verify(train, forked)).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
  const dear = trainRounds(train.task, {
    bundle: (bundle) => ({ ...bundle, epsilon_micro: bundle.epsilon_micro + 1 }),
  });
  expect(() => verify(train, dear)).toThrow(refused("VERIFY_RESULT_REJECTED"));
});

/** Rounds of a train whose two rounds moved the model so far, as their aggregators say. */
function movedRounds(task: TestTask, [first, last]: readonly (number | null)[]): RoundEvidence[] {
  const moved = (change: number | null = null): Pick<SyntheticOptions, "bundle"> => ({
    bundle: (bundle) => ({ ...bundle, model_change_micro: change }),
  });
  const previous = syntheticRound(task, moved(first));
  return [previous, syntheticRound(task, { round: 1, previous, ...moved(last) })];
}

test("[TC-5][VR-4] a threshold is met by the last round or by none, and asked of nobody who set none", async () => {
  const still = await caseOf({ ...TRAIN, convergence_threshold_micro: 500 });
  const judged = (changes: readonly (number | null)[]) =>
    verify(still, movedRounds(still.task, changes));
  expect(judged([9_000, 500]).bundles.at(-1)?.model_change_micro).toBe(500);
  expect(() => judged([500, 501])).toThrow(refused("VERIFY_CONVERGENCE_NOT_MET"));
  for (const untold of [
    [null, 500],
    [500, null],
  ]) {
    expect(() => judged(untold)).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
  }
  const free = await caseOf(TRAIN);
  expect(verify(free, movedRounds(free.task, [null, null])).bundles).toHaveLength(2);
  const told = movedRounds(free.task, [null, 1]);
  expect(() => verify(free, told)).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
});

test.for([
  { title: "no threshold", change: { convergence_threshold_micro: null } },
  { title: "a higher threshold", change: { convergence_threshold_micro: 501 } },
  { title: "fewer rounds", change: { maximum_rounds: 1 } },
  { title: "an early stop", change: { early_stop: true } },
])("[CT-4][TC-5] refuses an envelope with $title than its request", async ({ change }) => {
  const parameters = { ...TRAIN, convergence_threshold_micro: 500 };
  const lax = await caseOf(parameters, {
    envelope: (envelope) => ({
      ...envelope,
      iteration_policy: envelope.iteration_policy && { ...envelope.iteration_policy, ...change },
    }),
  });
  const rounds = movedRounds(lax.task, [500, 500]);
  expect(() => verify(lax, rounds)).toThrow(refused("PROOF_COMMITMENT_MISMATCH"));
});

test("train refuses a round over fewer Vaults than the policy's minimum", async () => {
  const strict = await caseOf(TRAIN, {
    policy: (policy) => ({
      ...policy,
      privacy: { ...policy.privacy, minimum_train_vaults: 3 },
    }),
  });
  const rounds = trainRounds(strict.task, { vaultIds: [FIRST, SECOND] });
  expect(() => verify(strict, rounds)).toThrow(refused("VERIFY_RESULT_REJECTED"));
});

test("refuses an offer below the price of its composition", async () => {
  const cheap = await createNetwork({
    genesis: (genesis) => ({
      ...genesis,
      semantics: {
        ...genesis.semantics,
        attributes: genesis.semantics.attributes.map((attribute) => ({
          ...attribute,
          privacy_impact_epsilon_micro: 8_000_000,
        })),
      },
    }),
  });
  const underpriced = await caseOf(QUERY, { network: cheap });
  const rounds = [syntheticRound(underpriced.task)];
  expect(TASK_ENVELOPE.digest(underpriced.task.envelope)).toHaveLength(32);
  expect(() => verify(underpriced, rounds)).toThrow(refused("VERIFY_RESULT_REJECTED"));
});
