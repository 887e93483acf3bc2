import { randomBytes } from "node:crypto";

import {
  CONTRIBUTION,
  EXECUTION_RESULT_BUNDLE,
  SEALED_ORDER,
  SEALED_OUTCOME,
  SEAL_INFO,
  TASK_RESULT,
  batchWrapInfo,
  combineShares,
  decryptOnce,
  encryptOnce,
  open,
  outcomeAad,
  peerNonce,
  seal,
  sessionAad,
  vaultNonce,
  type EnclaveRequest,
  type EnclaveResponse,
  type ExecutionResultBundle,
  type SealedOrder,
  type SealedOutcome,
  type SlicePresentation,
  type SliceReference,
  type TaskResult,
  type WorkOrder,
} from "../../protocol/index.ts";
import { unpad } from "../../aggregation/index.ts";
import { sealForRecipient } from "../../host/sovereignty/custody/cms.ts";
import {
  bootHosted,
  codeOf,
  startEnclave,
  type EnclaveEnd,
  type HostedEnclave,
} from "./enclave-rig.ts";
import { noiseShare, signOrder, testOrder, type TestTask } from "./network-task.ts";
import type { TestBatch } from "./network-data.ts";
import { governanceSnapshot, type TestActor } from "./network.ts";

export type RunRequest = Extract<EnclaveRequest, { method: "run" }>;
export type BeginRequest = Extract<EnclaveRequest, { method: "begin" }>;
export type FinishRequest = Extract<EnclaveRequest, { method: "finish" }>;

/** What a round may differ in; every hook gets the honest value. */
export interface RoundOptions {
  readonly governance?: Uint8Array;
  readonly artifact?: Uint8Array;
  readonly round?: number;
  readonly previous?: FinishedTestRound;
  /** Vaults that take part; all of the task's unless given. */
  readonly vaultIds?: readonly string[];
  readonly startSlice?: (vaultId: string) => EnclaveEnd;
  readonly startAggregator?: () => EnclaveEnd;
  readonly genesisOfSlice?: (vaultId: string) => Uint8Array;
  readonly order?: (vaultId: string) => Partial<WorkOrder>;
  readonly signOrder?: (order: WorkOrder) => Uint8Array;
  readonly share?: (vaultId: string, share: Uint8Array) => Uint8Array;
  readonly begin?: (request: BeginRequest, round: StartedRound) => BeginRequest;
  readonly run?: (
    request: RunRequest,
    vaultId: string,
    slice: Pick<StartedSlice, "enclave" | "evidenceForAggregator">,
  ) => RunRequest | Promise<RunRequest>;
  /** Changes what a Vault seals to its slice enclave. */
  readonly sealedOrder?: (order: SealedOrder) => SealedOrder;
  readonly finish?: (request: FinishRequest) => FinishRequest;
}

/** One slice enclave with the evidence it gave. */
export interface StartedSlice {
  readonly vault: TestActor;
  readonly enclave: HostedEnclave;
  readonly vaultEvidence: Uint8Array;
  readonly evidenceForAggregator: Uint8Array;
  readonly aggregatorEvidence: Uint8Array;
  readonly order: WorkOrder;
  readonly presentation: SlicePresentation;
}

/** A round whose enclaves stand and have attested to each other. */
export interface StartedRound {
  readonly aggregator: HostedEnclave;
  readonly slices: readonly StartedSlice[];
}

/** A finished round with everything a test may want to look at. */
export interface FinishedTestRound {
  readonly bundle: ExecutionResultBundle;
  readonly bundleBytes: Uint8Array;
  readonly outcome: SealedOutcome;
  readonly begun: EnclaveResponse;
  readonly ran: readonly EnclaveResponse[];
  readonly started: StartedRound;
}

/** The first answer that was a failure. */
export class RoundRefused extends Error {
  readonly code: string;
  readonly method: string;

  constructor(method: string, code: string) {
    super(`${method}: ${code}`);
    this.method = method;
    this.code = code;
  }
}

function random(bytes: number): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

function referenceOf(task: TestTask, vaultId: string, round: number): SliceReference {
  return { envelope_digest: task.envelopeDigest, vault_id: vaultId, round, attempt: 0 };
}

/** Boots every enclave of a round, lets them attest to each other, and signs the orders. */
export async function startRound(
  task: TestTask,
  options: RoundOptions = {},
): Promise<StartedRound> {
  const { round = 0 } = options;
  const genesis = task.network.genesisBytes;
  const aggregatorEnd = options.startAggregator?.() ?? startEnclave();
  const aggregator = await bootHosted(aggregatorEnd, "aggregate", genesis);
  const ids = options.vaultIds ?? task.envelope.inputs.map((input) => input.vault_id);
  const slices: StartedSlice[] = [];
  for (const vaultId of ids) {
    const vault = task.network.vaults.find((candidate) => candidate.actorId === vaultId);
    if (vault === undefined) throw new Error("no such vault");
    const end = options.startSlice?.(vaultId) ?? startEnclave();
    const enclave = await bootHosted(end, "slice", options.genesisOfSlice?.(vaultId) ?? genesis);
    const reference = referenceOf(task, vaultId, round);
    const vaultEvidence = await enclave.attest(vaultNonce(reference, random(32)));
    const evidenceForAggregator = await enclave.attest(
      peerNonce(aggregator.manifest.challenge, enclave.manifestDigest),
    );
    const aggregatorEvidence = await aggregator.attest(
      peerNonce(enclave.manifest.challenge, aggregator.manifestDigest),
    );
    const order = testOrder(task, {
      vaultId,
      enclaveManifest: enclave.manifestDigest,
      aggregatorManifest: aggregator.manifestDigest,
      round,
      previousState: options.previous?.bundle.output_commitment ?? null,
      changes: options.order?.(vaultId) ?? {},
    });
    const honest = noiseShare(task.request, vaultId, round);
    const contribution = CONTRIBUTION.encode({
      noise_share: options.share?.(vaultId, honest) ?? honest,
      state_key_share: await stateKeyShare(task, vault, options.previous),
    });
    const presentation: SlicePresentation = {
      vault_id: vaultId,
      peer: { manifest: enclave.manifestBytes, evidence: evidenceForAggregator },
      order: options.signOrder?.(order) ?? signOrder(task, order),
      contribution: await seal({
        to: aggregator.manifest.box_key,
        info: SEAL_INFO.contribution,
        aad: sessionAad(reference, aggregatorEvidence),
        plaintext: contribution,
      }),
    };
    slices.push({
      vault,
      enclave,
      vaultEvidence,
      evidenceForAggregator,
      aggregatorEvidence,
      order,
      presentation,
    });
  }
  return { aggregator, slices };
}

async function stateKeyShare(
  task: TestTask,
  vault: TestActor,
  previous: FinishedTestRound | undefined,
): Promise<Uint8Array | null> {
  const sealed = previous?.outcome.shares.find((share) => share.vault_id === vault.actorId)?.sealed;
  return sealed === undefined ? null : openShare(task, vault, sealed);
}

function openShare(
  task: Pick<TestTask, "envelopeDigest">,
  vault: TestActor,
  sealed: Uint8Array,
): Promise<Uint8Array> {
  return open({
    key: vault.box,
    info: SEAL_INFO.resultShare,
    aad: task.envelopeDigest,
    sealed,
  });
}

/** Runs one round from boot to bundle. @throws {@link RoundRefused} at the first refusal */
export async function runRound(
  task: TestTask,
  options: RoundOptions = {},
): Promise<FinishedTestRound> {
  const started = await startRound(task, options);
  const { round = 0, previous } = options;
  const governance = options.governance ?? governanceSnapshot(task.network);
  const common = { envelope: task.envelopeBytes, governance, round, attempt: 0 };
  const artifact = options.artifact ?? null;
  const begin: BeginRequest = {
    method: "begin",
    ...common,
    slices: started.slices.map((slice) => slice.presentation),
    previous:
      previous === undefined
        ? null
        : { bundle: previous.bundleBytes, ciphertext: previous.outcome.ciphertext },
    artifact,
  };
  const begun = await expectSuccess(started.aggregator, options.begin?.(begin, started) ?? begin);
  if (begun.result !== "begun") throw new RoundRefused("begin", codeOf(begun));
  const ran: EnclaveResponse[] = [];
  const outputs: FinishRequest["outputs"] = [];
  for (const slice of started.slices) {
    const vaultId = slice.vault.actorId;
    const secret = begun.secrets.find((candidate) => candidate.vault_id === vaultId);
    // The aggregator went on without this slice.
    if (secret === undefined) continue;
    const request: RunRequest = {
      ...(await runRequest(task, slice, { ...common, sealedOrder: options.sealedOrder })),
      aggregator: {
        manifest: started.aggregator.manifestBytes,
        evidence: slice.aggregatorEvidence,
      },
      sealed_secret: secret.sealed,
      artifact,
    };
    const answer = await expectSuccess(
      slice.enclave,
      (await options.run?.(request, vaultId, slice)) ?? request,
    );
    ran.push(answer);
    if (answer.result !== "ran") throw new RoundRefused("run", codeOf(answer));
    outputs.push({ vault_id: vaultId, bundle: answer.bundle, sealed_output: answer.sealed });
  }
  const finish: FinishRequest = { method: "finish", outputs };
  const finished = await expectSuccess(started.aggregator, options.finish?.(finish) ?? finish);
  if (finished.result !== "finished") throw new RoundRefused("finish", codeOf(finished));
  const bundle = EXECUTION_RESULT_BUNDLE.verify(
    finished.bundle,
    started.aggregator.manifest.signing_key,
  );
  return {
    bundle,
    bundleBytes: finished.bundle,
    outcome: SEALED_OUTCOME.decode(finished.outcome),
    begun,
    ran,
    started,
  };
}

async function expectSuccess(end: EnclaveEnd, request: EnclaveRequest): Promise<EnclaveResponse> {
  const response = await end.call(request);
  if (response.result === "failed") throw new RoundRefused(request.method, response.code);
  return response;
}

/** The honest run request of one Vault, without an aggregator. */
export async function runRequest(
  task: TestTask,
  slice: Pick<StartedSlice, "vault" | "enclave" | "vaultEvidence" | "order" | "presentation">,
  options: Pick<RunRequest, "envelope" | "governance" | "round" | "attempt"> & {
    readonly sealedOrder?: RoundOptions["sealedOrder"] | undefined;
  },
): Promise<RunRequest> {
  const { sealedOrder: change = (order: SealedOrder) => order, ...common } = options;
  const vaultId = slice.vault.actorId;
  const index = task.envelope.inputs.findIndex((input) => input.vault_id === vaultId);
  const data = task.data[index];
  if (data === undefined) throw new Error("no data for this vault");
  const honest: SealedOrder = {
    order: slice.presentation.order,
    batch_secrets: data.batches.map((batch) => ({
      batch_id: batch.batchId,
      secret: batch.secret,
    })),
    consent_bitmap: data.consentBitmap,
    consent_key: data.consentKey,
    noise_share: noiseShare(task.request, vaultId, common.round),
  };
  return {
    method: "run",
    ...common,
    sealed_order: await seal({
      to: slice.enclave.manifest.box_key,
      info: SEAL_INFO.order,
      aad: sessionAad(referenceOf(task, vaultId, common.round), slice.vaultEvidence),
      plaintext: SEALED_ORDER.encode(change(honest)),
    }),
    vault_id: vaultId,
    evidence: slice.vaultEvidence,
    batch_keys: data.batches.map((batch) => batchKey(batch, slice.enclave)),
    batches: data.batches.map((batch) => batch.bytes),
    aggregator: null,
    sealed_secret: null,
    artifact: null,
  };
}

/** A batch's data key as the key service releases it to one enclave: wrapped under the batch's secret. */
export function batchKey(
  batch: TestBatch,
  enclave: HostedEnclave,
): { batch_id: Uint8Array; cms: Uint8Array } {
  const plaintext = encryptOnce(batch.secret, batchWrapInfo(batch.batchId), batch.dataKey);
  const spki = enclave.manifest.recipient_key;
  return { batch_id: batch.batchId, cms: sealForRecipient({ plaintext, spki, random }) };
}

/** Runs a task of a single Vault in one enclave. @throws {@link RoundRefused} */
export async function runSoleTask(
  task: TestTask,
  options: Pick<
    RoundOptions,
    "governance" | "artifact" | "run" | "order" | "signOrder" | "sealedOrder"
  > & {
    readonly end?: EnclaveEnd;
  } = {},
): Promise<{
  readonly bundle: ExecutionResultBundle;
  readonly bundleBytes: Uint8Array;
  readonly outcome: SealedOutcome;
  readonly enclave: HostedEnclave;
}> {
  const enclave = await bootHosted(
    options.end ?? startEnclave(),
    "slice",
    task.network.genesisBytes,
  );
  const [vault] = task.network.vaults;
  if (vault === undefined) throw new Error("no vault");
  const vaultEvidence = await enclave.attest(
    vaultNonce(referenceOf(task, vault.actorId, 0), random(32)),
  );
  const order = testOrder(task, {
    vaultId: vault.actorId,
    enclaveManifest: enclave.manifestDigest,
    aggregatorManifest: null,
    changes: options.order?.(vault.actorId) ?? {},
  });
  const presentation = {
    vault_id: vault.actorId,
    peer: { manifest: enclave.manifestBytes, evidence: vaultEvidence },
    order: options.signOrder?.(order) ?? signOrder(task, order),
    contribution: new Uint8Array(0),
  };
  const request = await runRequest(
    task,
    { vault, enclave, vaultEvidence, order, presentation },
    {
      envelope: task.envelopeBytes,
      governance: options.governance ?? governanceSnapshot(task.network),
      round: 0,
      attempt: 0,
      sealedOrder: options.sealedOrder,
    },
  );
  const honest = { ...request, artifact: options.artifact ?? null };
  const answer = await expectSuccess(
    enclave,
    (await options.run?.(honest, vault.actorId, {
      enclave,
      evidenceForAggregator: vaultEvidence,
    })) ?? honest,
  );
  if (answer.result !== "ran") throw new RoundRefused("run", codeOf(answer));
  return {
    bundle: EXECUTION_RESULT_BUNDLE.verify(answer.bundle, enclave.manifest.signing_key),
    bundleBytes: answer.bundle,
    outcome: SEALED_OUTCOME.decode(answer.sealed),
    enclave,
  };
}

/** What the submitter does after settlement: combines `threshold` shares and opens the result. */
export async function openResult(
  task: Pick<TestTask, "network" | "delivery" | "envelopeDigest">,
  { bundle, outcome }: Pick<FinishedTestRound, "bundle" | "outcome">,
): Promise<{ readonly result: TaskResult; readonly padded: Uint8Array }> {
  const shares = await Promise.all(
    outcome.shares.slice(0, bundle.share_threshold).map(({ vault_id, sealed }) => {
      const vault = task.network.vaults.find((candidate) => candidate.actorId === vault_id);
      if (vault === undefined) throw new Error("no such vault");
      return openShare(task, vault, sealed);
    }),
  );
  const key = await combineShares(shares);
  const aad = outcomeAad(task.envelopeDigest, bundle.round);
  const padded = await open({
    key: task.delivery,
    info: SEAL_INFO.result,
    aad: task.envelopeDigest,
    sealed: decryptOnce(key, aad, outcome.ciphertext),
  });
  return { result: TASK_RESULT.decode(unpad(padded)), padded };
}
