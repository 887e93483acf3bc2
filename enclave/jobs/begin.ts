import {
  CONTRIBUTION,
  ConflictError,
  EXECUTION_RESULT_BUNDLE,
  ROUND_SECRET,
  RefusedError,
  SEAL_INFO,
  activeActor,
  combineShares,
  compareBytes,
  concat,
  decryptOnce,
  encodeCbor,
  equalBytes,
  hex,
  hkdf,
  keyCommitment,
  outcomeAad,
  parseCose,
  seal,
  sealedOutcomeDigest,
  sessionAad,
  shareCommitment,
  stateCommitment,
  stateContent,
  utf8,
  type Contribution,
  type EnclaveRequest,
  type ExecutionResultBundle,
  type SlicePresentation,
  type WorkOrder,
} from "#protocol";
import { unpad } from "#aggregation";

import type { BootedEnclave, OwnEvidence } from "../boot.ts";
import { verifyPeer, type VerifiedPeer } from "../peer.ts";
import { methodOf } from "./aggregate-round.ts";
import { verifyArtifact } from "./artifact.ts";
import { judgeEach } from "./judge.ts";
import { requireCommitted, verifyOrder } from "./order.ts";
import { mismatch, verifyTask, type VerifiedTask } from "./task.ts";

/** A host's request to begin the aggregation of one round. */
export type BeginRequest = Extract<EnclaveRequest, { method: "begin" }>;

/** A slice that the aggregator has verified before it runs. */
export interface BegunSlice {
  readonly vaultId: string;
  readonly peer: VerifiedPeer;
  readonly order: WorkOrder;
  readonly contribution: Contribution;
}

/** A round whose slices are verified and may run. */
export interface BegunRound {
  readonly task: VerifiedTask;
  readonly own: OwnEvidence;
  /** In order of Vault. */
  readonly slices: readonly BegunSlice[];
  /** Key of the tokens of this round, 32 bytes. */
  readonly tokenKey: Uint8Array;
  /** The state as it travels, and the commitment to it; null before the first round. */
  readonly state: { readonly bytes: Uint8Array; readonly commitment: Uint8Array } | null;
}

/** What leaves the aggregator enclave so that the slices can run. */
export interface SealedSecret {
  readonly vault_id: string;
  readonly sealed: Uint8Array;
}

/**
 * Begins the aggregation of one round: verifies task and slices, restores the state, and seals the round's secret to
 * each slice enclave. A slice that does not verify gets no secret, and the round goes on while enough are left.
 *
 * @throws {@link RefusedError} COORDINATION_ROLE_REFUSED when the aggregator is the submitter or no aggregator (AG-3);
 *   COORDINATION_QUORUM_NOT_MET when fewer slices verify than the quorum
 * @throws {@link ConflictError} COORDINATION_CONFLICT for one Vault or one enclave twice
 * @throws {@link VerificationError} EXECUTION_ORDER_MISMATCH, PROOF_COMMITMENT_MISMATCH for the state,
 *   EXECUTION_WORKLOAD_UNREGISTERED, INTERNAL_OPEN_FAILED, GOVERNANCE_*
 * @throws {@link AppraisalError} TEE_*
 */
export async function beginRound(
  enclave: BootedEnclave,
  request: BeginRequest,
): Promise<{ readonly round: BegunRound; readonly secrets: readonly SealedSecret[] }> {
  const task = verifyTask(request, enclave.genesisDigest);
  requireAggregator(task);
  methodOf(task);
  verifyArtifact(request.artifact, task);
  requireParticipants(
    task,
    request.slices.map((slice) => slice.vault_id),
  );
  const previous = readPrevious(request.previous, task);
  const own = await enclave.ownEvidence();
  const { kept: slices } = await judgeEach(
    request.slices.toSorted((left, right) =>
      compareBytes(utf8(left.vault_id), utf8(right.vault_id)),
    ),
    (slice) => verifySlice({ enclave, own, task, previous }, slice),
  );
  requireQuorum(task, slices.length);
  requireDistinctEnclaves(slices);
  const state = await restoreState(task, slices, previous);
  const round = { task, own, slices, tokenKey: tokenKeyOf(task, slices), state };
  return { round, secrets: await sealSecrets(round) };
}

/** The aggregator is a registered aggregator and never the submitter (AG-3, XP-13). */
function requireAggregator({ envelope, state }: VerifiedTask): void {
  const coordination = envelope.coordination_envelope;
  if (coordination === null) throw mismatch("a task of many Vaults");
  const aggregator = activeActor(state, coordination.aggregator_id);
  const own = coordination.aggregator_id === state.genesis.aggregator_id;
  const apart = coordination.aggregator_id !== envelope.caller_context.actor_id;
  if (own && apart && aggregator.role === "aggregator") return;
  throw new RefusedError(
    { code: "COORDINATION_ROLE_REFUSED" },
    "aggregator: expected the network's aggregator, who is not the submitter, got another",
  );
}

/**
 * Refuses a set of Vaults that is too small, names one twice, or names one outside the envelope.
 */
export function requireParticipants(task: VerifiedTask, vaultIds: readonly string[]): void {
  const distinct = new Set(vaultIds);
  if (distinct.size !== vaultIds.length) {
    throw new ConflictError(
      { code: "COORDINATION_CONFLICT" },
      "slices: expected every Vault once, got one twice",
    );
  }
  const named = new Set(task.vaultIds);
  if (!vaultIds.every((vaultId) => named.has(vaultId))) throw mismatch("Vaults of the envelope");
  requireQuorum(task, distinct.size);
}

/**
 * Refuses fewer Vaults than the envelope's quorum, or than more than half of those it names: two sets of Vaults without
 * one in common must not both give a result. Training needs the policy's own minimum besides (PB-7).
 *
 * @throws {@link RefusedError} COORDINATION_QUORUM_NOT_MET
 */
export function requireQuorum(task: VerifiedTask, count: number): void {
  const quorum = task.envelope.coordination_envelope?.minimum_vault_quorum ?? 1;
  const majority = Math.floor(task.vaultIds.length / 2) + 1;
  const { minimum_train_vaults: forTraining } = task.policy.privacy;
  const minimum = task.envelope.task_class === "train" ? forTraining : 0;
  const needed = Math.max(majority, quorum, minimum);
  if (count >= needed) return;
  throw new RefusedError(
    { code: "COORDINATION_QUORUM_NOT_MET", expected: needed, actual: count },
    `slices: expected at least ${needed} Vaults, got ${count}`,
  );
}

async function verifySlice(
  job: {
    readonly enclave: BootedEnclave;
    readonly own: OwnEvidence;
    readonly task: VerifiedTask;
    readonly previous: PreviousRound | null;
  },
  presented: SlicePresentation,
): Promise<BegunSlice> {
  const { enclave, own, task } = job;
  const { vault_id: vaultId } = presented;
  const peer = verifyPeer({ enclave, evidence: own }, task.state, {
    ...presented.peer,
    role: "slice",
  });
  const order = verifyOrder(presented.order, task, {
    vaultId,
    role: "slice",
    enclaveManifest: peer.manifestDigest,
    aggregatorManifest: enclave.manifestDigest,
    timeMs: own.timeMs,
  });
  const opened = await enclave.openFromPeer({
    peer: peer.manifest,
    reference: task.reference(vaultId),
    info: SEAL_INFO.contribution,
    sealed: presented.contribution,
  });
  const contribution = CONTRIBUTION.decode(opened);
  requireCommitted(order.share_commitment, shareCommitment(contribution.noise_share), {
    subject: "noise share",
  });
  requireState({ order, contribution }, job.previous);
  return { vaultId, peer, order, contribution };
}

/** One enclave speaks for one Vault. */
function requireDistinctEnclaves(slices: readonly BegunSlice[]): void {
  const enclaves = slices.map((slice) => hex(slice.peer.manifestDigest));
  if (new Set(enclaves).size === slices.length) return;
  throw new ConflictError(
    { code: "COORDINATION_CONFLICT" },
    "slices: expected one enclave for each Vault, got one for two",
  );
}

/** The round a later one starts from, as its aggregator's host presents it. */
interface PreviousRound {
  readonly bundle: ExecutionResultBundle;
  readonly ciphertext: Uint8Array;
}

function readPrevious(
  previous: BeginRequest["previous"],
  task: VerifiedTask,
): PreviousRound | null {
  if ((previous === null) !== (task.round === 0)) {
    throw mismatch("a state of the previous round, and none before the first");
  }
  if (previous === null) return null;
  return { bundle: readBundle(previous.bundle, task), ciphertext: previous.ciphertext };
}

/** A Vault's order names the state that this round starts from, and its share of the key comes with it. */
function requireState(
  { order, contribution }: Pick<BegunSlice, "order" | "contribution">,
  previous: PreviousRound | null,
): void {
  if ((contribution.state_key_share === null) !== (previous === null)) {
    throw mismatch("a share of the state's key after the first round only");
  }
  if (previous === null) return;
  const { output_commitment: commitment } = previous.bundle;
  requireCommitted(order.previous_state ?? new Uint8Array(0), commitment, {
    subject: "previous state",
  });
}

/**
 * Restores the state a later round starts from, as the Vaults' orders name it (CT-3).
 *
 * The previous bundle counts for what the orders say of it: every Vault verified it before it signed an order that
 * names its commitment, and the state is held against that commitment.
 */
async function restoreState(
  task: VerifiedTask,
  slices: readonly BegunSlice[],
  previous: PreviousRound | null,
): Promise<BegunRound["state"]> {
  if (previous === null) return null;
  const { bundle } = previous;
  const shares = slices.map((slice) => slice.contribution.state_key_share);
  requireCommitted(bundle.sealed_digest, sealedOutcomeDigest(previous.ciphertext), {
    subject: "sealed state",
  });
  const key = await combineShares(shares.map((share) => share ?? new Uint8Array(0)));
  requireCommitted(bundle.key_commitment, keyCommitment(key), { subject: "state key" });
  const aad = outcomeAad(task.envelopeDigest, task.round - 1);
  const bytes = decryptOnce(key, aad, previous.ciphertext);
  key.fill(0);
  requireCommitted(bundle.output_commitment, stateCommitment(bytes), { subject: "state" });
  return { bytes, commitment: bundle.output_commitment };
}

function readBundle(cose: Uint8Array, task: VerifiedTask): ExecutionResultBundle {
  const { contentType, payload } = parseCose(cose);
  if (contentType !== EXECUTION_RESULT_BUNDLE.name) throw mismatch("a bundle of a round");
  const bundle = EXECUTION_RESULT_BUNDLE.decode(payload);
  const fits =
    equalBytes(bundle.envelope_digest, task.envelopeDigest) &&
    bundle.round === task.round - 1 &&
    !bundle.final;
  if (!fits) throw mismatch("the bundle of the previous round");
  return bundle;
}

/** The content of a begun round's state; null before the first. */
export function stateOf({ state }: BegunRound): Uint8Array | null {
  return state === null ? null : unpad(stateContent(state.bytes));
}

/**
 * The key of a round's tokens. It follows from the Vaults' shares: secret while one of them is, and the same in a
 * replay, so that equal inputs give equal commitments (XP-7).
 */
function tokenKeyOf(task: VerifiedTask, slices: readonly BegunSlice[]): Uint8Array {
  const shares = concat(...slices.map((slice) => slice.contribution.noise_share));
  const binding = encodeCbor([task.envelopeDigest, task.round, task.attempt]);
  const tokenKey = hkdf(shares, concat(utf8("symphony/token-key/v1"), binding));
  shares.fill(0);
  return tokenKey;
}

/** The round's secret, sealed to each slice enclave under the evidence it gave. */
async function sealSecrets(round: BegunRound): Promise<readonly SealedSecret[]> {
  const { task, slices, state, tokenKey } = round;
  const plaintext = ROUND_SECRET.encode({ token_key: tokenKey, state: state?.bytes ?? null });
  const secrets = await Promise.all(
    slices.map(async ({ vaultId, peer }) => ({
      vault_id: vaultId,
      sealed: await seal({
        to: peer.manifest.box_key,
        info: SEAL_INFO.secret,
        aad: sessionAad(task.reference(vaultId), peer.evidence),
        plaintext,
      }),
    })),
  );
  plaintext.fill(0);
  return secrets;
}
