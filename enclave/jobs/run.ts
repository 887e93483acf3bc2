import {
  ROUND_SECRET,
  SEALED_ORDER,
  SEAL_INFO,
  SLICE_RESULT_BUNDLE,
  VerificationError,
  WORK_ORDER,
  epsilonOfRound,
  hkdf,
  noiseKey,
  open,
  outputCommitment,
  policyDigest,
  seal,
  sealedOutputDigest,
  sessionAad,
  shareCommitment,
  sliceOutputKey,
  stateCommitment,
  stateContent,
  utf8,
  type EnclaveRequest,
  type RoundSecret,
  type SealedOrder,
  type WorkOrder,
} from "#protocol";
import { unpad } from "#aggregation";

import type { BootedEnclave, OwnEvidence } from "../boot.ts";
import { WORKLOADS } from "../limits.ts";
import { verifyPeer, type VerifiedPeer } from "../peer.ts";
import { aggregateRound } from "./aggregate-round.ts";
import { artifactDigestOf, verifyArtifact, type VerifiedArtifact } from "./artifact.ts";
import { closed } from "./closed.ts";
import { openInputs, usableRows, verifyInputs, type VerifiedInputs } from "./inputs.ts";
import { requireCommitted, verifyOrder } from "./order.ts";
import { sealOutcome, type RoundOutcome } from "./outcome.ts";
import { computeSlice } from "./slices/compute.ts";
import { parseSlice } from "./slices/parse.ts";
import { querySlice } from "./slices/query.ts";
import { trainSlice } from "./slices/train.ts";
import type { SliceWork } from "./slices/work.ts";
import { mismatch, verifyTask, type VerifiedTask } from "./task.ts";

/** A host's request to run one slice, or one task of a single Vault. */
export type RunRequest = Extract<EnclaveRequest, { method: "run" }>;

/** What leaves a slice enclave. */
export interface RunAnswer {
  readonly bundle: Uint8Array;
  readonly sealed: Uint8Array;
}

/** A verified order with everything it was held against. */
interface VerifiedJob {
  readonly enclave: BootedEnclave;
  readonly own: OwnEvidence;
  readonly task: VerifiedTask;
  readonly order: WorkOrder;
  readonly sealedOrder: SealedOrder;
  readonly artifact: VerifiedArtifact | null;
  readonly inputs: VerifiedInputs;
  readonly request: RunRequest;
}

/**
 * Runs one Vault's part of a task, or the whole of a task of one Vault.
 *
 * Nothing is opened before governance, envelope, order, artifact and, for a slice, the aggregator's evidence and secret
 * are verified. From then on every failure is the same one.
 *
 * @throws {@link VerificationError} EXECUTION_ORDER_MISMATCH, EXECUTION_INPUT_MISMATCH, PROOF_COMMITMENT_MISMATCH,
 *   EXECUTION_WORKLOAD_UNREGISTERED, PROOF_SIGNATURE_INVALID, INTERNAL_OPEN_FAILED, GOVERNANCE_*, TEE_*
 * @throws {@link AppraisalError} TEE_*
 * @throws {@link RefusedError} EXECUTION_TIMED_OUT, AUTH_*; EXECUTION_WORKLOAD_FAILED for whatever fails once data is
 *   opened
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED for less declared work than the public bounds need
 */
export async function runJob(enclave: BootedEnclave, request: RunRequest): Promise<RunAnswer> {
  const task = verifyTask(request, enclave.genesisDigest);
  const own = await enclave.ownEvidence();
  const sealedOrder = await openOrder(enclave, task, request);
  try {
    const { job, peer } = verifyJob({ enclave, own, task, sealedOrder, request });
    return await (peer === null ? runSole(job) : runSlice(job, peer));
  } finally {
    forget(sealedOrder);
  }
}

/** Holds the order against envelope, session and aggregator; opens no batch. */
function verifyJob(given: Omit<VerifiedJob, "order" | "artifact" | "inputs">): {
  readonly job: VerifiedJob;
  readonly peer: VerifiedPeer | null;
} {
  const { enclave, own, task, sealedOrder, request } = given;
  const aggregator = presentedAggregator(task, request);
  const peer =
    aggregator === null
      ? null
      : verifyPeer({ enclave, evidence: own }, task.state, { ...aggregator, role: "aggregate" });
  const order = verifyOrder(sealedOrder.order, task, {
    vaultId: request.vault_id,
    role: peer === null ? "sole" : "slice",
    enclaveManifest: enclave.manifestDigest,
    aggregatorManifest: peer?.manifestDigest ?? null,
    timeMs: own.timeMs,
  });
  requireCommitted(order.share_commitment, shareCommitment(sealedOrder.noise_share), {
    subject: "noise share",
  });
  const artifact = verifyArtifact(request.artifact, task);
  const inputs = verifyInputs(enclave, {
    batches: request.batches,
    batchKeys: request.batch_keys,
    sealedOrder,
    order,
  });
  return { job: { ...given, order, artifact, inputs }, peer };
}

/** Overwrites the secrets of an order; the rest of the job's memory goes with the process. */
function forget(sealedOrder: SealedOrder): void {
  sealedOrder.noise_share.fill(0);
  sealedOrder.consent_key.fill(0);
  for (const { secret } of sealedOrder.batch_secrets) secret.fill(0);
}

async function openOrder(
  enclave: BootedEnclave,
  task: VerifiedTask,
  request: RunRequest,
): Promise<SealedOrder> {
  if (!enclave.hasIssued(request.evidence)) throw mismatch("evidence of this enclave");
  const opened = await open({
    key: enclave.box,
    info: SEAL_INFO.order,
    aad: sessionAad(task.reference(request.vault_id), request.evidence),
    sealed: request.sealed_order,
  });
  const order = SEALED_ORDER.decode(opened);
  opened.fill(0);
  return order;
}

/** A task of many Vaults needs an aggregator and a secret; a task of one has neither. */
function presentedAggregator(task: VerifiedTask, request: RunRequest): RunRequest["aggregator"] {
  const coordinated = task.envelope.coordination_envelope !== null;
  const presented = request.aggregator !== null && request.sealed_secret !== null;
  const absent = request.aggregator === null && request.sealed_secret === null;
  if (coordinated ? presented : absent) return request.aggregator;
  throw mismatch("an aggregator and its secret for a task of many Vaults, and for no other");
}

async function runSlice(job: VerifiedJob, aggregator: VerifiedPeer): Promise<RunAnswer> {
  if (job.task.envelope.task_class === "parse") throw mismatch("a parse task of one Vault");
  const secret = await openSecret(job, aggregator);
  const state = startingState(job.order, secret);
  const tokenKey = secret.token_key;
  return closed(() => finishSlice(job, aggregator, { tokenKey, state }));
}

/** Opens the data; whatever fails from here on is one failure. */
async function finishSlice(
  job: VerifiedJob,
  aggregator: VerifiedPeer,
  secret: { readonly tokenKey: Uint8Array; readonly state: Uint8Array | null },
): Promise<RunAnswer> {
  const { enclave, task, order, sealedOrder, request } = job;
  const { tokenKey } = secret;
  const padded = await sliceOutput(job, secret);
  const key = sliceOutputKey({ noiseShare: sealedOrder.noise_share, tokenKey });
  const sealed = await seal({
    to: aggregator.manifest.box_key,
    info: SEAL_INFO.sliceOutput,
    aad: sessionAad(task.reference(request.vault_id), aggregator.evidence),
    plaintext: padded,
  });
  const bundle = SLICE_RESULT_BUNDLE.sign(
    {
      version: 1,
      envelope_digest: task.envelopeDigest,
      order_digest: WORK_ORDER.digest(order),
      vault_id: order.vault_id,
      round: task.round,
      attempt: task.attempt,
      task_class: task.envelope.task_class,
      enclave_manifest: enclave.manifestDigest,
      aggregator_manifest: aggregator.manifestDigest,
      input_commitment: order.input_commitment,
      workload: WORKLOADS[task.envelope.task_class],
      model_digest: artifactDigestOf(task.envelope.parameters),
      output_commitment: outputCommitment(key, padded),
      sealed_output_digest: sealedOutputDigest(sealed),
      epsilon_micro: epsilonOfRound(task.envelope),
      bounds_met: true,
    },
    enclave.signing,
  );
  return { bundle, sealed };
}

async function openSecret(
  { enclave, task, request }: VerifiedJob,
  aggregator: VerifiedPeer,
): Promise<RoundSecret> {
  const opened = await enclave.openFromPeer({
    peer: aggregator.manifest,
    reference: task.reference(request.vault_id),
    info: SEAL_INFO.secret,
    sealed: request.sealed_secret ?? new Uint8Array(0),
  });
  return ROUND_SECRET.decode(opened);
}

/** The state of the round, held against the commitment that the Vault's order names (CT-3). */
function startingState(order: WorkOrder, secret: RoundSecret): Uint8Array | null {
  if ((order.previous_state === null) !== (secret.state === null)) {
    throw new VerificationError(
      { code: "PROOF_COMMITMENT_MISMATCH", subject: "state" },
      "state: expected one exactly when the order names one",
    );
  }
  if (order.previous_state === null || secret.state === null) return null;
  requireCommitted(order.previous_state, stateCommitment(secret.state), { subject: "state" });
  return unpad(stateContent(secret.state));
}

async function sliceOutput(
  job: VerifiedJob,
  secret: { readonly tokenKey: Uint8Array; readonly state: Uint8Array | null },
): Promise<Uint8Array> {
  const { task, sealedOrder, request, enclave } = job;
  const { parameters } = task.envelope;
  const work: SliceWork = {
    task,
    vaultId: request.vault_id,
    artifact: job.artifact,
    rows: usableRows(openInputs(job.inputs, task.rowsMax), task),
    tokenKey: secret.tokenKey,
    noiseShare: sealedOrder.noise_share,
    state: secret.state,
    clockMs: enclave.environment.clockMs,
  };
  switch (parameters.task_class) {
    case "parse":
      throw mismatch("a parse task of one Vault");
    case "query":
      return querySlice(work, parameters);
    case "compute":
      return computeSlice(work, parameters);
    case "train":
      return trainSlice(work, parameters);
  }
}

/** A task of one Vault, whole: no other enclave, and the Vault's own share is the noise key's only one. */
async function runSole(job: VerifiedJob): Promise<RunAnswer> {
  if (job.task.envelope.task_class === "train") throw mismatch("training over several Vaults");
  return closed(() => finishSole(job));
}

async function finishSole(job: VerifiedJob): Promise<RunAnswer> {
  const { enclave, own, task, order, sealedOrder } = job;
  const { parameters } = task.envelope;
  const simulated = own.platform === "sim";
  const key = (sliceCommitment: Uint8Array): Uint8Array => soleNoiseKey(job, sliceCommitment);
  if (parameters.task_class === "parse") {
    const { startOcr } = enclave.environment;
    const inputs = openInputs(job.inputs, task.rowsMax);
    const receipt = await parseSlice({ task, inputs, parameters, startOcr });
    const result = {
      kind: "receipt",
      record_commitment: parameters.record_commitment,
      receipt,
    } as const;
    const commitment = order.input_commitment;
    return sealSole(job, {
      sliceCommitment: commitment,
      noiseKey: key(commitment),
      outcome: { kind: "result", result, simulated, modelChangeMicro: null },
    });
  }
  const tokenKey = hkdf(sealedOrder.noise_share, utf8("symphony/token-key/v1"));
  const padded = await sliceOutput(job, { tokenKey, state: null });
  const sliceKey = sliceOutputKey({ noiseShare: sealedOrder.noise_share, tokenKey });
  const sliceCommitment = outputCommitment(sliceKey, padded);
  const noise = key(sliceCommitment);
  const outcome = aggregateRound(task, {
    outputs: [padded],
    noiseKey: noise,
    state: null,
    simulated,
  });
  return sealSole(job, { sliceCommitment, noiseKey: noise, outcome });
}

function soleNoiseKey(
  { task, order, sealedOrder }: VerifiedJob,
  sliceCommitment: Uint8Array,
): Uint8Array {
  return noiseKey({
    envelopeDigest: task.envelopeDigest,
    round: task.round,
    attempt: task.attempt,
    participants: [
      {
        vaultId: order.vault_id,
        sliceCommitment,
        consentCommitment: order.consent_commitment,
        share: sealedOrder.noise_share,
      },
    ],
    workload: WORKLOADS[task.envelope.task_class],
    policyDigest: policyDigest(task.policy),
  });
}

async function sealSole(
  { enclave, own, task, order }: VerifiedJob,
  done: {
    readonly sliceCommitment: Uint8Array;
    readonly noiseKey: Uint8Array;
    readonly outcome: RoundOutcome;
  },
): Promise<RunAnswer> {
  const { bundle, outcome } = await sealOutcome(enclave, task, {
    outcome: done.outcome,
    noiseKey: done.noiseKey,
    platform: own.platform,
    inputState: null,
    slices: [
      {
        vault_id: order.vault_id,
        manifest: enclave.manifestDigest,
        order_digest: WORK_ORDER.digest(order),
        output_commitment: done.sliceCommitment,
        // Nothing of a sole task travels between enclaves.
        sealed_output_digest: sealedOutputDigest(new Uint8Array(0)),
        epsilon_micro: epsilonOfRound(task.envelope),
      },
    ],
  });
  return { bundle, sealed: outcome };
}
