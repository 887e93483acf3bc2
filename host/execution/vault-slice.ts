import type { TrustAnchor } from "#attestation";
import {
  CONTRIBUTION,
  SEALED_ORDER,
  SEAL_INFO,
  SESSION_MANIFEST,
  SymphonyError,
  TASK_ENVELOPE,
  VerificationError,
  equalBytes,
  governanceFor,
  openByAny,
  peerNonce,
  seal,
  sealedShareDigest,
  sessionAad,
  vaultNonce,
  type BoxKeyPair,
  type ErrorCode,
  type ExecutionResultBundle,
  type GovernanceState,
  type SessionManifest,
  type TaskEnvelope,
} from "#protocol";
import type { Beginning, ReleasedBatch, SlicePlan, Vault } from "../sovereignty/index.ts";
import { EnclaveClient } from "./enclave-client.ts";
import type { EnclaveLauncher } from "./enclave-launcher.ts";
import { requireNothingWithdrawn } from "./held-governance.ts";
import { LiveSessions, encodeSessions } from "./live-sessions.ts";
import type { RoundBoard } from "./round-board.ts";
import { requireCarried, type SliceWork } from "./slice-work.ts";

/** Milliseconds an enclave may take to boot, and to answer a request for evidence. */
const BOOT_MS_MAX = 30_000;
const ATTEST_MS_MAX = 10_000;

/**
 * Per-Vault timeouts from a Vault's contribution to the aggregator's secret: one in which the aggregator waits for the
 * other Vaults, so that a silent one costs time and not the round (MV-4), and one in which its enclave begins.
 */
const BEGIN_TIMEOUTS = 2;

/** What a Vault node brings to a slice. */
export interface SliceContext {
  readonly vaultId: string;
  readonly vault: Vault;
  /** The Vault's box key, then those that it had before. */
  readonly boxKeys: readonly BoxKeyPair[];
  readonly launcher: EnclaveLauncher;
  readonly anchors: readonly TrustAnchor[];
  /** As the work carries it, accepted: what this slice's enclave is handed. Both are taken with the task's own policy version. */
  readonly governance: GovernanceState;
  /** The newest governance the Vault knows: what sessions are judged by, whenever that is. */
  readonly newest: () => GovernanceState;
  /** Has other Vaults cosign the Vault's log as it is. @throws UnavailableError PRIVACY_BUDGET_UNWITNESSED, ..._FROZEN */
  readonly witnessed: (deadlineMs: number) => Promise<void>;
  readonly genesis: Uint8Array;
  readonly board: RoundBoard;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/** A slice under way: everything decided so far. */
interface Slice extends SliceContext {
  readonly work: SliceWork;
  readonly envelope: TaskEnvelope;
  readonly plan: SlicePlan;
  readonly client: EnclaveClient;
  readonly sessions: LiveSessions;
  readonly manifest: SessionManifest;
  readonly manifestBytes: Uint8Array;
  readonly vaultRandom: Uint8Array;
  readonly vaultEvidence: Uint8Array;
  /** The policy's patience with one Vault: what a Vault may take for each step that others wait for. */
  readonly timeoutMs: number;
}

/** What a slice came to: nothing, or the code it failed with and whether execution had begun. */
export type SliceOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly executing: boolean };

/**
 * Runs one Vault's slice of one round: re-check, attest, order, seal, run (design, sections 2.3 to 2.6).
 *
 * The Vault decides alone: whatever the coordinator sent is checked again, and nothing is sealed before the ledger
 * holds `executing` and other Vaults have cosigned a head of the log that has it. Every session is judged again before each release and while it lives: one that governance has
 * revoked since ends the slice and its enclave. A failure is told to the round as a closed code and never throws.
 */
export async function runSlice(work: SliceWork, given: SliceContext): Promise<SliceOutcome> {
  const progress = { executing: false };
  const { board } = given;
  try {
    const envelope = TASK_ENVELOPE.decode(work.envelope);
    const governance = governanceFor(given.governance, envelope);
    const newest = (): GovernanceState => governanceFor(given.newest(), envelope);
    const context = { ...given, governance, newest };
    const { round, attempt } = work;
    requireCarried(work, envelope);
    const plan = await context.vault.prepareSlice(envelope, context.governance, { round, attempt });
    const client = new EnclaveClient(await context.launcher.launch("slice"));
    const sessions = new LiveSessions(context);
    const unwatch = sessions.watch((reason) => {
      client.end(reason);
      board.end(reason);
    });
    try {
      const slice = await attestSlice({ ...context, work, envelope, plan, client, sessions });
      if (plan.role === "sole") await runSole(slice, progress);
      else await runShared(slice, progress);
      return { ok: true };
    } finally {
      unwatch();
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    const failure = { code: error.code, executing: progress.executing };
    await tellFailure(board, failure);
    return { ok: false, ...failure };
  }
}

/** A round that has ended meanwhile need not hear of a failure, and the failure stays what it was. */
async function tellFailure(
  board: RoundBoard,
  failure: { readonly code: ErrorCode; readonly executing: boolean },
): Promise<void> {
  try {
    await board.post({ kind: "failed", ...failure });
  } catch (error) {
    const isOver =
      error instanceof Error && "code" in error && error.code === "COORDINATION_CONFLICT";
    if (!isOver) throw error;
  }
}

/** Boots the slice enclave and appraises it with a nonce of the Vault's own. */
async function attestSlice(
  start: Omit<Slice, "manifest" | "manifestBytes" | "vaultRandom" | "vaultEvidence" | "timeoutMs">,
): Promise<Slice> {
  const { client, sessions, plan, governance } = start;
  const booted = await client.boot("slice", start.genesis, BOOT_MS_MAX);
  const vaultRandom = start.random(32);
  const nonce = vaultNonce(plan.reference, vaultRandom);
  const vaultEvidence = await client.attest(nonce, ATTEST_MS_MAX);
  const { manifest } = booted;
  sessions.accept({ evidence: vaultEvidence, manifest, role: "slice", nonce });
  const timeoutMs =
    start.envelope.coordination_envelope?.per_vault_timeout ??
    governance.policy.multi_vault.per_vault_timeout_ms;
  return {
    ...start,
    manifest,
    manifestBytes: booted.bytes,
    vaultRandom,
    vaultEvidence,
    timeoutMs,
  };
}

async function runSole(slice: Slice, progress: { executing: boolean }): Promise<void> {
  await slice.board.post({
    kind: "slice_attested",
    manifest: slice.manifestBytes,
    evidence_for_aggregator: null,
    vault_evidence: slice.vaultEvidence,
    vault_random: slice.vaultRandom,
  });
  const order = await beginExecution(slice, progress, {
    aggregatorManifestDigest: null,
    resultSigningKey: slice.manifest.signing_key,
    previousState: null,
    expiresMs: slice.nowMs() + slice.timeoutMs,
  });
  const ran = await runEnclave(slice, { order, aggregator: null, sealedSecret: null });
  slice.sessions.requireLive();
  await slice.board.post({ kind: "slice_result", order, bundle: ran.bundle, sealed: ran.sealed });
}

async function runShared(slice: Slice, progress: { executing: boolean }): Promise<void> {
  const aggregator = await meetAggregator(slice);
  const previousState = await openPreviousState(slice);
  const secretByMs = slice.nowMs() + BEGIN_TIMEOUTS * slice.timeoutMs;
  const order = await beginExecution(slice, progress, {
    aggregatorManifestDigest: SESSION_MANIFEST.digest(aggregator.manifest),
    resultSigningKey: aggregator.manifest.signing_key,
    previousState: previousState?.commitment ?? null,
    expiresMs: secretByMs + slice.timeoutMs,
  });
  const contribution = CONTRIBUTION.encode({
    noise_share: slice.plan.noiseShare,
    state_key_share: previousState?.keyShare ?? null,
  });
  const sealed = await seal({
    to: aggregator.manifest.box_key,
    info: SEAL_INFO.contribution,
    aad: sessionAad(slice.plan.reference, aggregator.evidence),
    plaintext: contribution,
  });
  slice.sessions.requireFresh();
  await slice.board.post({ kind: "contribution", order, sealed });
  const secret = await slice.board.waitFor({
    kind: "round_secret",
    sender: aggregator.actorId,
    matches: (body) => body.vault_id === slice.vaultId,
    deadlineMs: secretByMs,
  });
  const ran = await runEnclave(slice, {
    order,
    aggregator: { manifest: aggregator.manifestBytes, evidence: aggregator.evidence },
    sealedSecret: secret.sealed,
  });
  slice.sessions.requireLive();
  await slice.board.post({
    kind: "slice_result",
    order: null,
    bundle: ran.bundle,
    sealed: ran.sealed,
  });
}

/**
 * Charges the round and signs its order, for sessions that still stand; archives what they were accepted by. The order is
 * given out only when other Vaults have cosigned the charge: a Vault restored from an older copy could not take it back.
 */
async function beginExecution(
  slice: Slice,
  progress: { executing: boolean },
  round: Pick<
    Beginning,
    "aggregatorManifestDigest" | "resultSigningKey" | "previousState" | "expiresMs"
  >,
): Promise<Uint8Array> {
  const { envelope, plan, governance, sessions } = slice;
  sessions.requireFresh();
  requireNothingWithdrawn(governance, slice.newest());
  const order = await slice.vault.beginExecution({
    ...round,
    envelope,
    plan,
    governance,
    enclaveManifestDigest: SESSION_MANIFEST.digest(slice.manifest),
    sessions: encodeSessions(sessions.accepted),
  });
  progress.executing = true;
  await slice.witnessed(slice.nowMs() + slice.timeoutMs);
  return order;
}

/** Exchanges evidence with the aggregator enclave; the Vault appraises it itself before it signs anything. */
async function meetAggregator(slice: Slice) {
  const { board, client } = slice;
  const deadlineMs = slice.nowMs() + slice.timeoutMs;
  const actorId = slice.envelope.coordination_envelope?.aggregator_id ?? "";
  const ready = await board.waitFor({ kind: "aggregator_ready", sender: actorId, deadlineMs });
  const manifest = SESSION_MANIFEST.decode(ready.manifest);
  const ownDigest = SESSION_MANIFEST.digest(slice.manifest);
  const forAggregator = await client.attest(
    peerNonce(manifest.challenge, ownDigest),
    ATTEST_MS_MAX,
  );
  await board.post({
    kind: "slice_attested",
    manifest: slice.manifestBytes,
    evidence_for_aggregator: forAggregator,
    vault_evidence: slice.vaultEvidence,
    vault_random: slice.vaultRandom,
  });
  const { evidence } = await board.waitFor({
    kind: "aggregator_evidence",
    sender: actorId,
    matches: (body) => body.vault_id === slice.vaultId,
    deadlineMs,
  });
  const nonce = peerNonce(slice.manifest.challenge, SESSION_MANIFEST.digest(manifest));
  slice.sessions.accept({ evidence, manifest, role: "aggregate", nonce });
  return { actorId, manifest, manifestBytes: ready.manifest, evidence };
}

/**
 * Refuses a bundle of any round but the one before, and a share that it does not name for this Vault.
 *
 * @throws VerificationError PROOF_COMMITMENT_MISMATCH
 */
export function requirePrevious(
  bundle: ExecutionResultBundle,
  expected: {
    readonly round: number;
    readonly vaultId: string;
    readonly sealedShare: Uint8Array;
  },
): void {
  const share = bundle.share_digests.find((each) => each.vault_id === expected.vaultId);
  const named =
    share !== undefined && equalBytes(share.digest, sealedShareDigest(expected.sealedShare));
  if (named && bundle.round === expected.round - 1) return;
  throw new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", round: bundle.round },
    `previous state: expected this Vault's share of round ${expected.round - 1}, got another`,
  );
}

/**
 * This Vault's share of the key of the state that the round starts from: the share that the bundle of the round before
 * names, a bundle that the Vault itself verifies.
 *
 * @throws VerificationError PROOF_COMMITMENT_MISMATCH, before anything is charged
 */
async function openPreviousState(slice: Slice) {
  const { previous } = slice.work;
  if (previous === null) return null;
  const bundle = await slice.vault.verifyRound(slice.envelope, previous.bundle);
  requirePrevious(bundle, {
    round: slice.work.round,
    vaultId: slice.vaultId,
    sealedShare: previous.sealed_share,
  });
  const keyShare = await openByAny({
    keys: slice.boxKeys,
    info: SEAL_INFO.resultShare,
    aad: TASK_ENVELOPE.digest(slice.envelope),
    sealed: previous.sealed_share,
  });
  return { commitment: bundle.output_commitment, keyShare };
}

/** Seals order and keys to the enclave, hands it the encrypted batches, and runs it. */
async function runEnclave(
  slice: Slice,
  given: {
    readonly order: Uint8Array;
    readonly aggregator: { readonly manifest: Uint8Array; readonly evidence: Uint8Array } | null;
    readonly sealedSecret: Uint8Array | null;
  },
) {
  const { work } = slice;
  const inputs = await slice.vault.custody.withSliceInputs(
    {
      envelope: slice.envelope,
      reference: work,
      governance: slice.newest(),
      evidence: slice.vaultEvidence,
    },
    (released) => gatherInputs(slice, given.order, released),
  );
  slice.sessions.requireFresh();
  return slice.client.call(
    "ran",
    {
      method: "run",
      envelope: work.envelope,
      governance: work.governance,
      round: work.round,
      attempt: work.attempt,
      vault_id: slice.vaultId,
      evidence: slice.vaultEvidence,
      ...inputs,
      aggregator: given.aggregator,
      sealed_secret: given.sealedSecret,
      artifact: work.artifact,
    },
    slice.timeoutMs,
  );
}

/** The order sealed with the batches' secrets, each key as custody releases it, and the batches as they are stored. */
async function gatherInputs(slice: Slice, order: Uint8Array, released: readonly ReleasedBatch[]) {
  const { plan } = slice;
  const sealed_order = await seal({
    to: slice.manifest.box_key,
    info: SEAL_INFO.order,
    aad: sessionAad(plan.reference, slice.vaultEvidence),
    plaintext: SEALED_ORDER.encode({
      order,
      batch_secrets: released.map(({ batchId, secret }) => ({ batch_id: batchId, secret })),
      consent_bitmap: plan.consentBitmap,
      consent_key: plan.consentKey,
      noise_share: plan.noiseShare,
    }),
  });
  const batch_keys = [];
  const batches = [];
  for (const batch of released) {
    slice.sessions.requireFresh();
    const cms = await batch.release();
    batch_keys.push({ batch_id: batch.batchId, cms });
    batches.push(await batch.read());
  }
  return { sealed_order, batch_keys, batches };
}
