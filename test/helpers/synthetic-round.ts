import { randomBytes } from "node:crypto";

import { decodeHardwareCbor } from "../../attestation/index.ts";
import type { RoundEvidence, SliceEvidence } from "../../host/settlement/index.ts";
import {
  EXECUTION_RESULT_BUNDLE,
  SEALED_OUTCOME,
  SESSION_MANIFEST,
  SLICE_RESULT_BUNDLE,
  WORK_ORDER,
  encodeCbor,
  epsilonOfRound,
  fromHex,
  peerNonce,
  roundsOf,
  sealedOutcomeDigest,
  sealedOutputDigest,
  sealedShareDigest,
  sha256,
  signingKeyFromSeed,
  utf8,
  vaultNonce,
  type EnclaveRole,
  type ExecutionResultBundle,
  type RoundMessage,
  type SessionManifest,
  type SigningKey,
  type SliceResultBundle,
  type WorkOrder,
} from "../../protocol/index.ts";
import { InsecureSimNsm } from "../../sim/nsm.ts";
import { rigPlatform, rigRecipient, type RigEnclaveOptions } from "./enclave-rig.ts";
import { signOrder, testOrder, type TestTask } from "./network-task.ts";
import { NETWORK_TIME_MS, TEST_MEASUREMENT, type TestActor, type TestNetwork } from "./network.ts";

/** What of a task its made-up rounds are made from. */
export type SyntheticTask = Pick<TestTask, "network" | "delivery" | "envelope" | "envelopeDigest">;

/** An enclave whose signing key the test holds: attested truly, free to say anything. */
interface LyingEnclave {
  readonly manifest: SessionManifest;
  readonly bytes: Uint8Array;
  readonly digest: Uint8Array;
  readonly key: SigningKey;
  attest(nonce: Uint8Array): Uint8Array;
}

/** What a made-up round may differ in; every hook gets the honest value. */
export interface SyntheticOptions {
  readonly round?: number;
  readonly vaultIds?: readonly string[];
  readonly previous?: RoundEvidence;
  readonly enclave?: RigEnclaveOptions;
  readonly aggregatorEnclave?: RigEnclaveOptions;
  readonly manifest?: (manifest: SessionManifest) => SessionManifest;
  readonly order?: (order: WorkOrder) => WorkOrder;
  readonly slice?: (bundle: SliceResultBundle) => SliceResultBundle;
  readonly bundle?: (bundle: ExecutionResultBundle) => ExecutionResultBundle;
  readonly evidence?: (slice: SliceEvidence) => SliceEvidence;
}

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));

/** 32 bytes that stand for a digest nobody recomputes. */
export function someDigest(label: string): Uint8Array {
  return sha256(utf8(label));
}

function lyingEnclave(
  task: SyntheticTask,
  role: EnclaveRole,
  options: Pick<SyntheticOptions, "manifest"> & { readonly enclave?: RigEnclaveOptions },
): LyingEnclave {
  const platform = options.enclave?.platform ?? rigPlatform();
  const { pcr0, pcr1, pcr2 } = options.enclave?.measurement ?? TEST_MEASUREMENT;
  const nsm = new InsecureSimNsm({
    platform,
    pcrs: new Map([pcr0, pcr1, pcr2].map((pcr, index) => [index, fromHex(pcr)])),
    moduleId: platform.moduleId(random(8)),
    nowMs: () => options.enclave?.timeMs ?? NETWORK_TIME_MS + 60_000,
    random,
  });
  const key = signingKeyFromSeed(random(32));
  const honest: SessionManifest = {
    version: 1,
    role,
    box_key: task.delivery.publicKey,
    signing_key: key.publicKey,
    recipient_key: rigRecipient().publicKey,
    genesis_digest: task.network.genesisDigest,
    anchors: [{ platform: "sim", sha256: sha256(platform.anchor.certificate) }],
    configuration_digest: someDigest("configuration"),
    runtime: "test",
    cpu_features: [],
    challenge: random(32),
  };
  const manifest = options.manifest?.(honest) ?? honest;
  const digest = SESSION_MANIFEST.digest(manifest);
  return {
    manifest,
    bytes: SESSION_MANIFEST.encode(manifest),
    digest,
    key,
    attest: (nonce) => {
      const fields = { public_key: manifest.recipient_key, user_data: digest, nonce };
      return documentOf(nsm.handle(encodeCbor({ Attestation: fields })));
    },
  };
}

function documentOf(response: Uint8Array): Uint8Array {
  const decoded = decodeHardwareCbor(response, 1 << 16);
  const answer = decoded instanceof Map ? decoded.get("Attestation") : undefined;
  const document = answer instanceof Map ? answer.get("document") : undefined;
  if (!(document instanceof Uint8Array)) throw new Error("no document");
  return document;
}

/**
 * Evidence of one round made up by enclaves that are attested truly and whose keys the test holds: the way to see what
 * verification says to every lie an enclave could sign.
 */
export function syntheticRound(task: SyntheticTask, options: SyntheticOptions = {}): RoundEvidence {
  const { round = 0 } = options;
  const sole = task.envelope.coordination_envelope === null;
  const aggregator = sole
    ? null
    : lyingEnclave(task, "aggregate", {
        ...(options.aggregatorEnclave === undefined ? {} : { enclave: options.aggregatorEnclave }),
      });
  const ids = options.vaultIds ?? task.envelope.inputs.map((input) => input.vault_id);
  const slices = ids.map((vaultId) =>
    syntheticSlice(task, { ...options, round, vaultId, aggregator }),
  );
  const signer = aggregator ?? slices[0]?.enclave;
  if (signer === undefined) throw new Error("no slices");
  const inputState = stateOf(options.previous);
  const shares = sealedShares(ids).map(({ vault_id, sealed }) => ({
    vault_id,
    digest: sealedShareDigest(sealed),
  }));
  const ciphertext = sealedOutcomeDigest(sealedOutcome(round));
  const honest: ExecutionResultBundle = {
    version: 1,
    envelope_digest: task.envelopeDigest,
    task_class: task.envelope.task_class,
    round,
    final: round === roundsOf(task.envelope) - 1,
    attempt: 0,
    platform: "sim",
    enclave_manifest: signer.digest,
    aggregation_method: task.envelope.coordination_envelope?.aggregation_method ?? "none",
    slices: slices.map((slice) => slice.named),
    partial_coverage: ids.length < task.envelope.inputs.length,
    input_state: inputState,
    model_change_micro: null,
    output_commitment: someDigest(`output ${round}`),
    sealed_digest: ciphertext,
    key_commitment: someDigest(`key ${round}`),
    share_digests: shares,
    share_threshold: task.envelope.coordination_envelope?.minimum_vault_quorum ?? 1,
    epsilon_micro: epsilonOfRound(task.envelope),
  };
  const bundle = options.bundle?.(honest) ?? honest;
  return {
    round,
    attempt: 0,
    aggregator:
      aggregator === null
        ? null
        : {
            manifest: aggregator.bytes,
            evidence: slices.map(({ evidence, enclave }) => ({
              vault_id: evidence.vault_id,
              evidence: aggregator.attest(peerNonce(enclave.manifest.challenge, aggregator.digest)),
            })),
          },
    slices: slices.map(({ evidence }) => options.evidence?.(evidence) ?? evidence),
    bundle: EXECUTION_RESULT_BUNDLE.sign(bundle, signer.key),
    outcome: { ciphertext, shares },
  };
}

const sealedOutcome = (round: number): Uint8Array => utf8(`sealed ${round}`);
const sealedOutput = (vaultId: string): Uint8Array => utf8(`sealed output ${vaultId}`);

function sealedShares(vaultIds: readonly string[]): { vault_id: string; sealed: Uint8Array }[] {
  return vaultIds.map((vault_id) => ({ vault_id, sealed: utf8(`share ${vault_id}`) }));
}

/** What a made-up round of several Vaults was said in, in an order that makes sense: sender and body. */
export function syntheticMessages(
  { network }: SyntheticTask,
  { round, aggregator, slices, bundle }: RoundEvidence,
): { readonly sender: TestActor; readonly body: RoundMessage["body"] }[] {
  if (aggregator === null) throw new Error("expected a round of several Vaults");
  const vaultIds = slices.map(({ vault_id: vaultId }) => vaultId);
  const byAggregator = (body: RoundMessage["body"]) => ({ sender: network.aggregator, body });
  const outcome = { ciphertext: sealedOutcome(round), shares: sealedShares(vaultIds) };
  return [
    byAggregator({ kind: "aggregator_ready", manifest: aggregator.manifest }),
    ...aggregator.evidence.map((each) => byAggregator({ kind: "aggregator_evidence", ...each })),
    ...slices.flatMap((slice) => sliceMessages(network, slice)),
    byAggregator({ kind: "round_result", bundle, outcome: SEALED_OUTCOME.encode(outcome) }),
  ];
}

function sliceMessages(
  { vaults }: TestNetwork,
  { vault_id: vaultId, order, bundle, ...slice }: SliceEvidence,
): { readonly sender: TestActor; readonly body: RoundMessage["body"] }[] {
  const sender = vaults.find(({ actorId }) => actorId === vaultId);
  if (sender === undefined || bundle === null) throw new Error("expected a slice of a Vault");
  const sealed = sealedOutput(vaultId);
  const { manifest, evidence_for_aggregator, vault_evidence, vault_random } = slice;
  const attested = { manifest, evidence_for_aggregator, vault_evidence, vault_random };
  return [
    { sender, body: { kind: "slice_attested", ...attested } },
    { sender, body: { kind: "contribution", order, sealed: utf8("contribution") } },
    { sender, body: { kind: "slice_result", order: null, bundle, sealed } },
  ];
}

function stateOf(previous: RoundEvidence | undefined): Uint8Array | null {
  return previous === undefined ? null : someDigest(`output ${previous.round}`);
}

function syntheticSlice(
  task: SyntheticTask,
  args: SyntheticOptions & {
    readonly round: number;
    readonly vaultId: string;
    readonly aggregator: LyingEnclave | null;
  },
): {
  readonly enclave: LyingEnclave;
  readonly evidence: SliceEvidence;
  readonly named: ExecutionResultBundle["slices"][number];
} {
  const { round, vaultId, aggregator } = args;
  const enclave = lyingEnclave(task, "slice", args);
  const honest = testOrder(task, {
    vaultId,
    enclaveManifest: enclave.digest,
    aggregatorManifest: aggregator?.digest ?? null,
    round,
    previousState: stateOf(args.previous),
  });
  const order = args.order?.(honest) ?? honest;
  const sealed = sealedOutputDigest(sealedOutput(vaultId));
  const { parameters } = task.envelope;
  const plain: SliceResultBundle = {
    version: 1,
    envelope_digest: task.envelopeDigest,
    order_digest: WORK_ORDER.digest(order),
    vault_id: vaultId,
    round,
    attempt: 0,
    task_class: task.envelope.task_class,
    enclave_manifest: enclave.digest,
    aggregator_manifest: aggregator?.digest ?? someDigest("none"),
    input_commitment: order.input_commitment,
    workload: "synthetic",
    model_digest: "model_digest" in parameters ? parameters.model_digest : null,
    output_commitment: aggregator === null ? order.input_commitment : someDigest(vaultId),
    sealed_output_digest: sealed,
    epsilon_micro: epsilonOfRound(task.envelope),
    bounds_met: true,
  };
  const bundle = args.slice?.(plain) ?? plain;
  const vaultRandom = random(32);
  const reference = { envelope_digest: task.envelopeDigest, vault_id: vaultId, round, attempt: 0 };
  return {
    enclave,
    evidence: {
      vault_id: vaultId,
      manifest: enclave.bytes,
      evidence_for_aggregator:
        aggregator === null
          ? null
          : enclave.attest(peerNonce(aggregator.manifest.challenge, enclave.digest)),
      vault_evidence: enclave.attest(vaultNonce(reference, vaultRandom)),
      vault_random: vaultRandom,
      order: signOrder(task, order),
      bundle: aggregator === null ? null : SLICE_RESULT_BUNDLE.sign(bundle, enclave.key),
      sealed_output_digest: aggregator === null ? null : sealed,
    },
    named: {
      vault_id: vaultId,
      manifest: enclave.digest,
      order_digest: WORK_ORDER.digest(order),
      output_commitment: bundle.output_commitment,
      sealed_output_digest: sealed,
      epsilon_micro: bundle.epsilon_micro,
    },
  };
}
