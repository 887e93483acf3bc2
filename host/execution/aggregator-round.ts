import { reappraiseSession, type TrustAnchor } from "#attestation";
import {
  ConflictError,
  EXECUTION_RESULT_BUNDLE,
  SESSION_MANIFEST,
  SymphonyError,
  TASK_ENVELOPE,
  UnavailableError,
  governanceFor,
  parseCose,
  peerNonce,
  type ErrorCode,
  type GovernanceState,
  type SessionManifest,
  type SlicePresentation,
  type TaskEnvelope,
  type WorkItem,
} from "#protocol";
import { EnclaveClient } from "./enclave-client.ts";
import type { EnclaveLauncher } from "./enclave-launcher.ts";
import type { SessionRecord } from "./live-sessions.ts";
import type { RoundBoard } from "./round-board.ts";

const BOOT_MS_MAX = 30_000;
const ATTEST_MS_MAX = 10_000;

export type AggregateWork = Extract<WorkItem["work"], { kind: "aggregate" }>;

/** Governance as an aggregator host has accepted it. */
export interface RoundGovernance {
  readonly state: GovernanceState;
  /** The same as the enclave takes it: an encoded GovernanceSnapshot. */
  readonly snapshot: Uint8Array;
}

/** What an aggregator host brings to a round. */
export interface AggregatorContext {
  readonly launcher: EnclaveLauncher;
  /** Asks for the newest governance and accepts it. @throws as `acceptSnapshot`; UnavailableError */
  readonly newest: () => Promise<RoundGovernance>;
  readonly anchors: readonly TrustAnchor[];
  readonly genesis: Uint8Array;
  readonly board: RoundBoard;
  readonly nowMs: () => number;
}

/** A round under way at the aggregator's host. */
interface Round extends AggregatorContext {
  readonly work: AggregateWork;
  readonly envelope: TaskEnvelope;
  readonly vaultIds: readonly string[];
  readonly quorum: number;
  readonly client: EnclaveClient;
  readonly manifest: SessionManifest;
  /** This enclave's own session, once it has attested to a slice. */
  own: SessionRecord | undefined;
  readonly timeoutMs: number;
}

/** What a round came to at its aggregator. */
export type AggregateOutcome =
  { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode };

/**
 * Runs one round's aggregation: boots the aggregator enclave, lets it and the slices attest each other, hands it
 * contributions and sealed outputs, and posts what it signs (design, section 2.7).
 *
 * The host carries messages, and the judgement that others rely on is the enclave's. What the host judges itself is who
 * has been revoked since the round began: its own enclave, which ends then, or a slice, whose output is left out. Never
 * throws a {@link SymphonyError}.
 */
export async function runAggregation(
  work: AggregateWork,
  context: AggregatorContext,
): Promise<AggregateOutcome> {
  try {
    const client = new EnclaveClient(await context.launcher.launch("aggregate"));
    try {
      await runRound(await bootRound({ ...context, work, client }));
      return { ok: true };
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    await context.board.post({ kind: "failed", code: error.code, executing: false });
    return { ok: false, code: error.code };
  }
}

async function bootRound(
  start: AggregatorContext & { readonly work: AggregateWork; readonly client: EnclaveClient },
): Promise<Round> {
  const envelope = TASK_ENVELOPE.decode(start.work.envelope);
  const coordination = envelope.coordination_envelope;
  if (coordination === null) {
    throw new UnavailableError(
      { code: "COORDINATION_ROLE_REFUSED" },
      "aggregate: expected a task with a coordination envelope",
    );
  }
  const booted = await start.client.boot("aggregate", start.genesis, BOOT_MS_MAX);
  await announce(start.board, booted.bytes);
  return {
    ...start,
    envelope,
    vaultIds: vaultsOf(start.work) ?? coordination.participating_vault_ids,
    quorum: coordination.minimum_vault_quorum,
    manifest: booted.manifest,
    own: undefined,
    timeoutMs: coordination.per_vault_timeout,
  };
}

/** Where another enclave was announced for this round, that one died with its host: the platform failed (TT-4). */
async function announce(board: RoundBoard, manifest: Uint8Array): Promise<void> {
  try {
    await board.post({ kind: "aggregator_ready", manifest });
  } catch (cause) {
    if (!(cause instanceof ConflictError)) throw cause;
    throw new UnavailableError(
      { code: "TEE_ENCLAVE_DIED" },
      "aggregate: expected the first enclave of this round, got one after it",
      { cause },
    );
  }
}

/** Who can take part in a later round: those that hold a share of the state it starts from. */
function vaultsOf({ previous }: AggregateWork): readonly string[] | null {
  if (previous === null) return null;
  const { share_digests: shares } = EXECUTION_RESULT_BUNDLE.decode(
    parseCose(previous.bundle).payload,
  );
  return shares.map(({ vault_id: vaultId }) => vaultId);
}

async function runRound(round: Round): Promise<void> {
  const slices = await gatherSlices(round);
  const { snapshot: governance } = await round.newest();
  const begun = await round.client.call(
    "begun",
    {
      method: "begin",
      envelope: round.work.envelope,
      governance,
      round: round.work.round,
      attempt: round.work.attempt,
      slices,
      previous: round.work.previous,
      artifact: round.work.artifact,
    },
    round.timeoutMs,
  );
  for (const { vault_id, sealed } of begun.secrets) {
    await round.board.post({ kind: "round_secret", vault_id, sealed });
  }
  const secret = new Set(begun.secrets.map(({ vault_id }) => vault_id));
  const outputs = await gatherOutputs(
    round,
    slices.filter(({ vault_id }) => secret.has(vault_id)),
  );
  const finished = await round.client.call(
    "finished",
    { method: "finish", outputs },
    round.timeoutMs,
  );
  await round.board.post({
    kind: "round_result",
    bundle: finished.bundle,
    outcome: finished.outcome,
  });
}

/** Attests to each slice that shows up and collects contributions, until all are in or the deadline passes. */
async function gatherSlices(round: Round): Promise<SlicePresentation[]> {
  const { board } = round;
  const deadlineMs = round.nowMs() + round.timeoutMs;
  const answered = new Set<string>();
  for (;;) {
    for (const { sender, body } of board.all("slice_attested")) {
      if (answered.has(sender) || !round.vaultIds.includes(sender)) continue;
      answered.add(sender);
      const slice = manifestOf(body.manifest);
      if (slice === undefined) continue;
      const nonce = peerNonce(slice.challenge, SESSION_MANIFEST.digest(round.manifest));
      const evidence = await round.client.attest(nonce, ATTEST_MS_MAX);
      round.own = { evidence, manifest: round.manifest, role: "aggregate", nonce };
      await board.post({ kind: "aggregator_evidence", vault_id: sender, evidence });
    }
    const presentations = presentSlices(round);
    const settled = presentations.length + countFailed(round, round.vaultIds);
    if (settled >= round.vaultIds.length || round.nowMs() >= deadlineMs) {
      requireQuorum(round, presentations.length);
      return presentations;
    }
    await board.poll(deadlineMs);
  }
}

/** Undefined for what is no manifest: that costs its Vault its slice, and the round nothing. */
function manifestOf(bytes: Uint8Array): SessionManifest | undefined {
  try {
    return SESSION_MANIFEST.decode(bytes);
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

function presentSlices(round: Round): SlicePresentation[] {
  const attested = new Map(
    round.board.all("slice_attested").map(({ sender, body }) => [sender, body]),
  );
  const failed = new Set(round.board.all("failed").map(({ sender }) => sender));
  return round.board
    .all("contribution")
    .flatMap(({ sender, body }) => {
      const session = attested.get(sender);
      const evidence = session?.evidence_for_aggregator;
      if (session === undefined || evidence === null || evidence === undefined) return [];
      if (failed.has(sender) || !round.vaultIds.includes(sender)) return [];
      return [
        {
          vault_id: sender,
          peer: { manifest: session.manifest, evidence },
          order: body.order,
          contribution: body.sealed,
        },
      ];
    })
    .toSorted((left, right) => (left.vault_id < right.vault_id ? -1 : 1));
}

function countFailed(round: Round, vaultIds: readonly string[]): number {
  const failed = new Set(round.board.all("failed").map(({ sender }) => sender));
  return vaultIds.filter((vaultId) => failed.has(vaultId)).length;
}

/**
 * Collects sealed outputs of the slices that began and still stand, until all are in or failed or the deadline passes.
 *
 * @throws AppraisalError when this enclave itself is accepted no longer.
 */
async function gatherOutputs(round: Round, slices: readonly SlicePresentation[]) {
  const deadlineMs = round.nowMs() + round.timeoutMs;
  for (;;) {
    const begun = await standing(round, slices);
    const outputs = round.board
      .all("slice_result")
      .filter(({ sender }) => begun.includes(sender))
      .map(({ sender, body }) => ({
        vault_id: sender,
        bundle: body.bundle,
        sealed_output: body.sealed,
      }));
    const settled = outputs.length + countFailed(round, begun);
    if (settled >= begun.length || round.nowMs() >= deadlineMs) {
      requireQuorum(round, outputs.length);
      return outputs.toSorted((left, right) => (left.vault_id < right.vault_id ? -1 : 1));
    }
    await round.board.poll(deadlineMs);
  }
}

/** The slices that the newest governance still accepts; this enclave's own session has to be one too. */
async function standing(
  round: Round,
  slices: readonly SlicePresentation[],
): Promise<readonly string[]> {
  const { anchors, own } = round;
  const { state } = await round.newest();
  const governance = governanceFor(state, round.envelope);
  const judge = (session: SessionRecord): void => {
    const at = { mode: "live", nowMs: round.nowMs() } as const;
    reappraiseSession({ ...session, governance, anchors, at });
  };
  if (own !== undefined) judge(own);
  return slices.flatMap(({ vault_id: vaultId, peer }) => {
    const manifest = SESSION_MANIFEST.decode(peer.manifest);
    const nonce = peerNonce(round.manifest.challenge, SESSION_MANIFEST.digest(manifest));
    try {
      judge({ evidence: peer.evidence, manifest, role: "slice", nonce });
      return [vaultId];
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      return [];
    }
  });
}

function requireQuorum(round: Round, count: number): void {
  if (count >= round.quorum) return;
  throw new UnavailableError(
    { code: "COORDINATION_QUORUM_NOT_MET", expected: round.quorum, actual: count },
    `round: expected ${round.quorum} Vaults by the deadline, got ${count}`,
  );
}
