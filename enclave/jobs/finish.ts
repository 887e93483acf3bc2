import {
  SEAL_INFO,
  SLICE_RESULT_BUNDLE,
  WORK_ORDER,
  compareBytes,
  encodeCbor,
  epsilonOfRound,
  equalBytes,
  noiseKey,
  outputCommitment,
  policyDigest,
  sealedOutputDigest,
  sliceOutputKey,
  utf8,
  type CborValue,
  type EnclaveRequest,
  type SliceResultBundle,
} from "#protocol";

import type { BootedEnclave } from "../boot.ts";
import { WORKLOADS } from "../limits.ts";
import { aggregateRound, sliceOutputBytes } from "./aggregate-round.ts";
import { artifactDigestOf } from "./artifact.ts";
import {
  requireParticipants,
  requireQuorum,
  stateOf,
  type BegunRound,
  type BegunSlice,
} from "./begin.ts";
import { judgeEach } from "./judge.ts";
import { requireCommitted } from "./order.ts";
import { sealOutcome, type SignedOutcome } from "./outcome.ts";
import { mismatch } from "./task.ts";

/** A host's request to finish the round it began. */
export type FinishRequest = Extract<EnclaveRequest, { method: "finish" }>;

interface OpenedSlice {
  readonly slice: BegunSlice;
  readonly bundle: SliceResultBundle;
  readonly padded: Uint8Array;
}

/**
 * Finishes a round with the slices that arrived: verifies and opens them, applies the envelope's method with its
 * thresholds, caps and noise, and signs the outcome. A slice that does not verify is left out, and the result says that
 * coverage is partial.
 *
 * @throws {@link RefusedError} COORDINATION_QUORUM_NOT_MET when fewer verify than the quorum
 * @throws {@link ConflictError} COORDINATION_CONFLICT for one Vault twice
 * @throws {@link VerificationError} EXECUTION_ORDER_MISMATCH for a Vault outside the envelope
 * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH
 * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED
 */
export async function finishRound(
  enclave: BootedEnclave,
  round: BegunRound,
  request: FinishRequest,
): Promise<SignedOutcome> {
  const { task } = round;
  requireParticipants(
    task,
    request.outputs.map((output) => output.vault_id),
  );
  const { kept: opened } = await judgeEach(
    request.outputs.toSorted((left, right) =>
      compareBytes(utf8(left.vault_id), utf8(right.vault_id)),
    ),
    (output) => openOutput(enclave, round, output),
  );
  requireQuorum(task, opened.length);
  const key = noiseKey({
    envelopeDigest: task.envelopeDigest,
    round: task.round,
    attempt: task.attempt,
    participants: opened.map(({ slice, bundle }) => ({
      vaultId: slice.vaultId,
      sliceCommitment: bundle.output_commitment,
      consentCommitment: slice.order.consent_commitment,
      share: slice.contribution.noise_share,
    })),
    workload: WORKLOADS[task.envelope.task_class],
    policyDigest: policyDigest(task.policy),
  });
  const platforms = [round.own.platform, ...round.slices.map(({ peer }) => peer.platform)];
  const outcome = aggregateRound(task, {
    outputs: opened.map(({ padded }) => padded),
    noiseKey: key,
    state: stateOf(round),
    simulated: platforms.includes("sim"),
  });
  for (const { padded } of opened) padded.fill(0);
  for (const { contribution } of round.slices) contribution.noise_share.fill(0);
  round.tokenKey.fill(0);
  return sealOutcome(enclave, task, {
    outcome,
    noiseKey: key,
    platform: round.own.platform,
    inputState: round.state?.commitment ?? null,
    slices: opened.map(({ slice, bundle }) => ({
      vault_id: slice.vaultId,
      manifest: slice.peer.manifestDigest,
      order_digest: bundle.order_digest,
      output_commitment: bundle.output_commitment,
      sealed_output_digest: bundle.sealed_output_digest,
      epsilon_micro: bundle.epsilon_micro,
    })),
  });
}

async function openOutput(
  enclave: BootedEnclave,
  round: BegunRound,
  output: FinishRequest["outputs"][number],
): Promise<OpenedSlice> {
  const slice = round.slices.find((candidate) => candidate.vaultId === output.vault_id);
  if (slice === undefined) throw mismatch("a slice of this round");
  const { task } = round;
  const bundle = SLICE_RESULT_BUNDLE.verify(output.bundle, slice.peer.manifest.signing_key);
  requireBundle(bundle, { round, slice, aggregator: enclave.manifestDigest });
  requireCommitted(bundle.sealed_output_digest, sealedOutputDigest(output.sealed_output), {
    subject: "sealed output",
  });
  const padded = await enclave.openFromPeer({
    peer: slice.peer.manifest,
    reference: task.reference(slice.vaultId),
    info: SEAL_INFO.sliceOutput,
    sealed: output.sealed_output,
  });
  const { noise_share: noiseShare } = slice.contribution;
  const key = sliceOutputKey({ noiseShare, tokenKey: round.tokenKey });
  const commitment = outputCommitment(key, padded);
  requireCommitted(bundle.output_commitment, commitment, { subject: "slice output" });
  if (padded.length !== sliceOutputBytes(task)) throw mismatch("an output of the public size");
  return { slice, bundle, padded };
}

/** Holds every field of a slice's bundle that this enclave knows against what it knows. */
function requireBundle(
  bundle: SliceResultBundle,
  expected: {
    readonly round: BegunRound;
    readonly slice: BegunSlice;
    readonly aggregator: Uint8Array;
  },
): void {
  const { round, slice, aggregator } = expected;
  const { task } = round;
  const known: readonly (readonly [CborValue, CborValue])[] = [
    [bundle.envelope_digest, task.envelopeDigest],
    [bundle.order_digest, WORK_ORDER.digest(slice.order)],
    [bundle.vault_id, slice.vaultId],
    [bundle.round, task.round],
    [bundle.attempt, task.attempt],
    [bundle.task_class, task.envelope.task_class],
    [bundle.enclave_manifest, slice.peer.manifestDigest],
    [bundle.aggregator_manifest, aggregator],
    [bundle.input_commitment, slice.order.input_commitment],
    [bundle.workload, WORKLOADS[task.envelope.task_class]],
    [bundle.model_digest, artifactDigestOf(task.envelope.parameters)],
    [bundle.epsilon_micro, epsilonOfRound(task.envelope)],
  ];
  const same = known.every(([said, is]) => equalBytes(encodeCbor(said), encodeCbor(is)));
  if (!same) throw mismatch("a slice bundle for this round");
}
