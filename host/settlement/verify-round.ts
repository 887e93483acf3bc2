import {
  appraiseSession,
  createChainCache,
  type AttestationReport,
  type ChainCache,
  type TrustAnchor,
} from "#attestation";
import {
  EXECUTION_RESULT_BUNDLE,
  RefusedError,
  SESSION_MANIFEST,
  SLICE_RESULT_BUNDLE,
  TASK_ENVELOPE,
  WORK_ORDER,
  peerNonce,
  roundsOf,
  vaultNonce,
  taskKeyOf,
  type ExecutionResultBundle,
  type GovernanceState,
  type SessionManifest,
  type SliceReference,
  type SliceResultBundle,
  type TaskEnvelope,
  type WorkOrder,
} from "#protocol";

import { expectAllSame, expectSame, expectThat, required } from "./reject.ts";
import type { AggregatorEvidence, RoundEvidence, SliceEvidence } from "./round-evidence.ts";

/** What every check of a task is made against. */
export interface TaskContext {
  readonly envelope: TaskEnvelope;
  readonly governance: GovernanceState;
  readonly anchors: readonly TrustAnchor[];
}

interface RoundContext extends TaskContext {
  /** The documents of one enclave follow one another: a slice has one or two, an aggregator one for each slice. */
  readonly chainCache: ChainCache;
}

/** A round whose every signature, attestation and binding holds. */
export interface VerifiedRound {
  readonly bundle: ExecutionResultBundle;
  readonly bundleDigest: Uint8Array;
  readonly orders: readonly WorkOrder[];
  readonly reports: readonly AttestationReport[];
}

interface VerifiedSlice {
  readonly manifest: SessionManifest;
  readonly manifestDigest: Uint8Array;
  readonly order: WorkOrder;
  readonly reports: readonly AttestationReport[];
}

/**
 * Verifies one round as an outsider does, from archived evidence.
 *
 * Attests every enclave of the bundle in replay mode with the nonces of its challengers, holds each order against the
 * envelope and the Vault's key, each slice bundle against its order and enclave, and the round's bundle against its
 * slices, the sealed outcome and the state before it. Slices that the bundle does not name are not looked at.
 *
 * @param inputState - Output commitment of the round before; null for the first.
 */
export function verifyRound(
  task: TaskContext,
  round: RoundEvidence,
  inputState: Uint8Array | null,
): VerifiedRound {
  const context: RoundContext = { ...task, chainCache: createChainCache({ entriesMax: 2 }) };
  const aggregator =
    round.aggregator === null ? null : SESSION_MANIFEST.decode(round.aggregator.manifest);
  const [only] = round.slices;
  const signer = aggregator ?? SESSION_MANIFEST.decode(required(only, "slice evidence").manifest);
  const bundle = EXECUTION_RESULT_BUNDLE.verify(round.bundle, signer.signing_key);
  verifyMethod(context, bundle, aggregator !== null);
  const slices = bundle.slices.map(({ vault_id }) => {
    const evidence = round.slices.find((slice) => slice.vault_id === vault_id);
    return verifySlice(context, round, {
      evidence: required(evidence, `slice evidence of ${vault_id}`),
      aggregator,
      inputState,
    });
  });
  const aggregatorReports =
    round.aggregator === null || aggregator === null
      ? []
      : attestAggregator(context, round.aggregator, { manifest: aggregator, slices });
  const reports = [...slices.flatMap((slice) => slice.reports), ...aggregatorReports];
  verifyBundle(context, { round, bundle, inputState, signer });
  verifyBundleSlices(context, { round, bundle, slices });
  for (const report of reports) expectSame("platform", bundle.platform, report.platform);
  return {
    bundle,
    bundleDigest: EXECUTION_RESULT_BUNDLE.digest(bundle),
    orders: slices.map((slice) => slice.order),
    reports,
  };
}

function referenceOf(context: TaskContext, order: WorkOrder): SliceReference {
  return {
    envelope_digest: TASK_ENVELOPE.digest(context.envelope),
    vault_id: order.vault_id,
    round: order.round,
    attempt: order.attempt,
  };
}

function verifySlice(
  context: RoundContext,
  round: RoundEvidence,
  claim: {
    readonly evidence: SliceEvidence;
    readonly aggregator: SessionManifest | null;
    readonly inputState: Uint8Array | null;
  },
): VerifiedSlice {
  const { evidence, aggregator, inputState } = claim;
  const manifest = SESSION_MANIFEST.decode(evidence.manifest);
  const manifestDigest = SESSION_MANIFEST.digest(manifest);
  const vault = required(context.governance.actors.get(evidence.vault_id), "vault");
  expectSame("vault role", "enterprise", vault.role, "AUTH_ROLE_REFUSED");
  const order = WORK_ORDER.verify(
    evidence.order,
    taskKeyOf(vault, evidence.order, context.envelope.epoch_id),
  );
  verifyOrder(context, order, { round, vaultId: evidence.vault_id, inputState });
  const subject = `order of ${evidence.vault_id}`;
  expectSame(`${subject} enclave`, manifestDigest, order.enclave_manifest);
  const aggregatorDigest = aggregator === null ? null : SESSION_MANIFEST.digest(aggregator);
  expectSame(`${subject} aggregator`, aggregatorDigest, order.aggregator_manifest);
  expectSame(`${subject} role`, aggregator === null ? "sole" : "slice", order.role);
  const reports = attestSlice(context, { evidence, manifest, manifestDigest, order, aggregator });
  for (const report of reports) {
    expectThat(report.time_ms <= order.expires_ms, {
      subject: `${subject} expiry`,
      expected: "evidence from before it",
      got: "later evidence",
    });
  }
  return { manifest, manifestDigest, order, reports };
}

function attestSlice(
  context: RoundContext,
  slice: {
    readonly evidence: SliceEvidence;
    readonly manifest: SessionManifest;
    readonly manifestDigest: Uint8Array;
    readonly order: WorkOrder;
    readonly aggregator: SessionManifest | null;
  },
): AttestationReport[] {
  const { evidence, manifest, manifestDigest, aggregator } = slice;
  const { governance, anchors, chainCache } = context;
  const at = { mode: "replay", chainCache } as const;
  const common = { manifest, role: "slice", governance, anchors, at } as const;
  const nonce = vaultNonce(referenceOf(context, slice.order), evidence.vault_random);
  const forVault = appraiseSession({ ...common, evidence: evidence.vault_evidence, nonce });
  if (aggregator === null) return [forVault];
  const forAggregator = appraiseSession({
    ...common,
    evidence: required(evidence.evidence_for_aggregator, "evidence for the aggregator"),
    nonce: peerNonce(aggregator.challenge, manifestDigest),
  });
  return [forVault, forAggregator];
}

function attestAggregator(
  context: RoundContext,
  evidence: AggregatorEvidence,
  claim: { readonly manifest: SessionManifest; readonly slices: readonly VerifiedSlice[] },
): AttestationReport[] {
  const { governance, anchors, chainCache } = context;
  const { manifest } = claim;
  const digest = SESSION_MANIFEST.digest(manifest);
  return claim.slices.map((slice) => {
    const { vault_id } = slice.order;
    const own = evidence.evidence.find((each) => each.vault_id === vault_id);
    return appraiseSession({
      manifest,
      role: "aggregate",
      governance,
      anchors,
      at: { mode: "replay", chainCache },
      evidence: required(own, `aggregator evidence for ${vault_id}`).evidence,
      nonce: peerNonce(slice.manifest.challenge, digest),
    });
  });
}

function verifyOrder(
  context: TaskContext,
  order: WorkOrder,
  claim: {
    readonly round: RoundEvidence;
    readonly vaultId: string;
    readonly inputState: Uint8Array | null;
  },
): void {
  const { envelope } = context;
  const { round, vaultId, inputState } = claim;
  const input = required(
    envelope.inputs.find((each) => each.vault_id === vaultId),
    `input of ${vaultId}`,
  );
  const consent = envelope.consent_references.find((each) => each.vault_id === vaultId);
  const pairs = {
    envelope: [TASK_ENVELOPE.digest(envelope), order.envelope_digest],
    request: [envelope.caller_context.request_digest, order.request_digest],
    genesis: [envelope.genesis_digest, order.genesis_digest],
    policy: [envelope.policy_digest, order.policy_digest],
    vault: [vaultId, order.vault_id],
    round: [round.round, order.round],
    attempt: [round.attempt, order.attempt],
    input: [input.input_commitment, order.input_commitment],
    consent: [consent?.consent_commitment ?? null, order.consent_commitment],
    share: [input.share_commitments[round.round] ?? null, order.share_commitment],
    state: [inputState, order.previous_state],
  } as const;
  for (const [field, [expected, actual]] of Object.entries(pairs)) {
    expectSame(`order of ${vaultId} ${field}`, expected, actual, "EXECUTION_ORDER_MISMATCH");
  }
}

/** The method is the envelope's, and its environment is attested: there is an aggregator whenever Vaults combine. */
function verifyMethod(
  { envelope }: TaskContext,
  bundle: ExecutionResultBundle,
  aggregated: boolean,
): void {
  const coordination = envelope.coordination_envelope;
  expectSame("aggregator evidence", coordination !== null, aggregated, "PROOF_BUNDLE_INCOMPLETE");
  const method = coordination?.aggregation_method ?? "none";
  expectSame("aggregation method", method, bundle.aggregation_method);
  expectSame("aggregation environment", "tee", coordination?.aggregation_environment ?? "tee");
  const quorum = coordination?.minimum_vault_quorum ?? 1;
  if (bundle.slices.length < quorum) {
    throw new RefusedError(
      {
        code: "COORDINATION_QUORUM_NOT_MET",
        round: bundle.round,
        expected: quorum,
        actual: bundle.slices.length,
      },
      `round ${bundle.round}: expected slices of ${quorum} Vaults, got ${bundle.slices.length}`,
    );
  }
}

function verifyBundle(
  { envelope }: TaskContext,
  claim: {
    readonly round: RoundEvidence;
    readonly bundle: ExecutionResultBundle;
    readonly inputState: Uint8Array | null;
    readonly signer: SessionManifest;
  },
): void {
  const { round, bundle, inputState, signer } = claim;
  const participants = bundle.slices.map((slice) => slice.vault_id);
  const coordination = envelope.coordination_envelope;
  expectAllSame(`round ${bundle.round}`, {
    envelope: [TASK_ENVELOPE.digest(envelope), bundle.envelope_digest],
    task_class: [envelope.task_class, bundle.task_class],
    round: [round.round, bundle.round],
    attempt: [round.attempt, bundle.attempt],
    final: [round.round === roundsOf(envelope) - 1, bundle.final],
    enclave: [SESSION_MANIFEST.digest(signer), bundle.enclave_manifest],
    input_state: [inputState, bundle.input_state],
    sealed_digest: [round.outcome.ciphertext, bundle.sealed_digest],
    shares: [round.outcome.shares, bundle.share_digests],
    participants: [[...new Set(participants)].sort(), participants],
    share_holders: [participants, bundle.share_digests.map((share) => share.vault_id)],
    share_threshold: [coordination?.minimum_vault_quorum ?? 1, bundle.share_threshold],
    partial_coverage: [participants.length < envelope.inputs.length, bundle.partial_coverage],
  });
}

function verifyBundleSlices(
  context: TaskContext,
  claim: {
    readonly round: RoundEvidence;
    readonly bundle: ExecutionResultBundle;
    readonly slices: readonly VerifiedSlice[];
  },
): void {
  const { round, bundle, slices } = claim;
  for (const [index, named] of bundle.slices.entries()) {
    const slice = required(slices[index], "slice");
    const subject = `round ${bundle.round} slice of ${named.vault_id}`;
    expectSame(`${subject} manifest`, slice.manifestDigest, named.manifest);
    expectSame(`${subject} order`, WORK_ORDER.digest(slice.order), named.order_digest);
    const evidence = round.slices.find((each) => each.vault_id === named.vault_id);
    if (round.aggregator === null) continue;
    const signed = required(evidence?.bundle, `${subject} bundle`);
    const own = SLICE_RESULT_BUNDLE.verify(signed, slice.manifest.signing_key);
    verifySliceBundle(context, slice, own);
    expectSame(`${subject} output`, own.output_commitment, named.output_commitment);
    expectSame(`${subject} sealed`, own.sealed_output_digest, named.sealed_output_digest);
    const travelled = evidence?.sealed_output_digest ?? null;
    expectSame(`${subject} sealed`, own.sealed_output_digest, travelled);
    expectSame(`${subject} epsilon`, own.epsilon_micro, named.epsilon_micro);
  }
}

function verifySliceBundle(
  { envelope }: TaskContext,
  slice: VerifiedSlice,
  bundle: SliceResultBundle,
): void {
  const { order } = slice;
  const { parameters } = envelope;
  const model = "model_digest" in parameters ? parameters.model_digest : null;
  expectAllSame(`slice bundle of ${order.vault_id}`, {
    envelope: [order.envelope_digest, bundle.envelope_digest],
    order: [WORK_ORDER.digest(order), bundle.order_digest],
    vault: [order.vault_id, bundle.vault_id],
    round: [order.round, bundle.round],
    attempt: [order.attempt, bundle.attempt],
    task_class: [envelope.task_class, bundle.task_class],
    enclave: [order.enclave_manifest, bundle.enclave_manifest],
    aggregator: [order.aggregator_manifest, bundle.aggregator_manifest],
    input: [order.input_commitment, bundle.input_commitment],
    model: [model, bundle.model_digest],
  });
}
