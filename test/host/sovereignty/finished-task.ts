// Tasks of a Vault from their beginning to their settlement, as an honest network would bring them there.
import {
  CONSUMPTION_RECORD,
  EXECUTION_RESULT_BUNDLE,
  SEAL_INFO,
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  TASK_ENVELOPE,
  WORK_ORDER,
  seal,
  sealedShareDigest,
  settlementEntriesRoot,
  type ConsumptionRecord,
  type ExecutionResultBundle,
  type SettlementEntry,
  type SettlementRoot,
  type TaskEnvelope,
  type WorkOrder,
} from "../../../protocol/index.ts";
import type { Release } from "../../../host/sovereignty/tasks/release.ts";
import { testSeed, type TestActor } from "../../helpers/network.ts";
import { beginning, envelopeOf, requestOf, type Fixture } from "./vault-world.ts";

export const ROUND = { round: 0, attempt: 0 };

/** What the share of a finished task's key is. */
export const SHARE = testSeed("share");

/** A task whose only round has begun. */
export interface Executed {
  readonly fixture: Fixture;
  readonly envelope: TaskEnvelope;
  readonly order: WorkOrder;
}

/** Admits a request and begins its round. */
export async function execute(fixture: Fixture, name: string): Promise<Executed> {
  const { vault, governance } = fixture;
  const request = await requestOf(fixture, name);
  const decision = await vault.decide(request.signed, governance);
  return await beginRound(fixture, envelopeOf(fixture, request, decision));
}

/** Begins the round of an admitted task; `sessions` are archived with it. */
export async function beginRound(
  fixture: Fixture,
  envelope: TaskEnvelope,
  sessions = testSeed("sessions"),
): Promise<Executed> {
  const { vault, governance } = fixture;
  const plan = await vault.prepareSlice(envelope, governance, ROUND);
  const signed = await vault.beginExecution({ ...beginning(fixture, envelope, plan), sessions });
  const order = WORK_ORDER.verify(signed, fixture.actor.signing.publicKey);
  return { fixture, envelope, order };
}

/** The bundle that the aggregator of {@link beginning} would make of it. */
export function bundleOf(
  { envelope, order }: Executed,
  changes: Partial<ExecutionResultBundle> = {},
): ExecutionResultBundle {
  return {
    version: 1,
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    task_class: envelope.task_class,
    round: 0,
    final: true,
    attempt: 0,
    platform: "sim",
    enclave_manifest: testSeed("aggregator manifest"),
    aggregation_method: "union",
    slices: [
      {
        vault_id: "vault-1",
        manifest: testSeed("slice manifest"),
        order_digest: WORK_ORDER.digest(order),
        output_commitment: testSeed("slice output"),
        sealed_output_digest: testSeed("sealed slice output"),
        epsilon_micro: envelope.epsilon_micro,
      },
    ],
    partial_coverage: true,
    input_state: null,
    model_change_micro: null,
    output_commitment: testSeed("output"),
    sealed_digest: testSeed("sealed"),
    key_commitment: testSeed("key"),
    share_digests: [{ vault_id: "vault-1", digest: testSeed("share digest") }],
    share_threshold: 2,
    epsilon_micro: envelope.epsilon_micro,
    ...changes,
  };
}

export function signedBundle({ fixture }: Executed, bundle: ExecutionResultBundle): Uint8Array {
  return EXECUTION_RESULT_BUNDLE.sign(bundle, fixture.network.aggregator.signing);
}

export function recordOf({ fixture }: Executed, bytes: Uint8Array): ConsumptionRecord {
  return CONSUMPTION_RECORD.verify(bytes, fixture.actor.signing.publicKey);
}

/** A task that the Vault has settled, with its share of the result's key. */
export interface Finished extends Executed {
  readonly bundle: ExecutionResultBundle;
  readonly sealedShare: Uint8Array;
  readonly record: Uint8Array;
}

/** The bundle of a task and the share it names for this Vault. */
export async function resultOf(task: Executed): Promise<Omit<Finished, "record">> {
  const sealedShare = await seal({
    to: task.fixture.actor.box.publicKey,
    info: SEAL_INFO.resultShare,
    aad: TASK_ENVELOPE.digest(task.envelope),
    plaintext: SHARE,
  });
  const digest = sealedShareDigest(sealedShare);
  const bundle = bundleOf(task, { share_digests: [{ vault_id: "vault-1", digest }] });
  return { ...task, bundle, sealedShare };
}

/** Settles a task at what its bundle says. */
export async function finish(task: Executed): Promise<Finished> {
  const result = await resultOf(task);
  const { vault } = task.fixture;
  const record = await vault.settle(task.envelope, [signedBundle(task, result.bundle)]);
  return { ...result, record };
}

/** A settlement of that task alone, by the coordinator unless `by` another. */
export function proofOf(
  task: Finished,
  changes: {
    readonly entry?: Partial<SettlementEntry>;
    readonly root?: Partial<SettlementRoot>;
    readonly by?: TestActor;
  } = {},
): Uint8Array {
  const { envelope, fixture } = task;
  const entry: SettlementEntry = {
    task_id: envelope.task_id,
    envelope_digest: TASK_ENVELOPE.digest(envelope),
    epoch_id: envelope.epoch_id,
    output_commitment: task.bundle.output_commitment,
    round_bundles: [EXECUTION_RESULT_BUNDLE.digest(task.bundle)],
    verified_governance_size: 0,
    consumption: [CONSUMPTION_RECORD.digest(recordOf(task, task.record))],
    accounting: [],
    ...changes.entry,
  };
  const root: SettlementRoot = {
    version: 1,
    genesis_digest: fixture.governance.genesisDigest,
    epoch_id: envelope.epoch_id,
    policy_version: envelope.policy_version,
    semantic_version: envelope.semantic_version,
    previous_root: new Uint8Array(32),
    entry_count: 1,
    entries_root: settlementEntriesRoot([entry]),
    reward_total_minor: 0,
    penalty_total_minor: 0,
    governance_size: 0,
    finalized_ms: fixture.clock.nowMs,
    ...changes.root,
  };
  return SETTLEMENT_PROOF.encode({
    root: SETTLEMENT_ROOT.sign(root, (changes.by ?? fixture.network.coordinator).signing),
    entry: SETTLEMENT_ENTRY.encode(entry),
    index: 0,
    proof: [],
  });
}

/** What releases the share of a finished task. */
export function releaseOf(task: Finished, settlementProof = proofOf(task)): Release {
  return {
    envelope: task.envelope,
    settlementProof,
    signedBundle: signedBundle(task, task.bundle),
    sealedShare: task.sealedShare,
    governance: task.fixture.governance,
  };
}
