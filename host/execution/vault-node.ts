import type { TrustAnchor } from "#attestation";
import {
  ConflictError,
  GOVERNANCE_SNAPSHOT,
  LOG_EXCERPT,
  TASK_ENVELOPE,
  RefusedError,
  cosignCheckpoint,
  governanceOnceOf,
  utf8,
  type BoxKeyPair,
  type GovernanceState,
  type WorkItem,
} from "#protocol";
import { excerptOf } from "../evidence/index.ts";
import { acceptOlder, acceptSnapshot, extendHead } from "../governance/index.ts";
import type { Release, Vault } from "../sovereignty/index.ts";
import { carryCandidates } from "./candidate-courier.ts";
import type { EnclaveLauncher } from "./enclave-launcher.ts";
import {
  requireActiveVersions,
  requireNothingWithdrawn,
  type HeldGovernance,
} from "./held-governance.ts";
import { requireUnrevoked } from "./live-sessions.ts";
import { runNodeLoop, type Coordinator, type NodeEvent, type NodeSelf } from "./node-loop.ts";
import { RoundBoard } from "./round-board.ts";
import { WitnessKeeper } from "./witness-keeper.ts";
import { runSlice } from "./vault-slice.ts";

/** What a Vault node is made of. */
export interface VaultNodeContext {
  readonly self: NodeSelf;
  readonly coordinator: Coordinator;
  readonly vault: Vault;
  /** The Vault's box key, then those that it had before. */
  readonly boxKeys: readonly BoxKeyPair[];
  readonly launcher: EnclaveLauncher;
  readonly anchors: readonly TrustAnchor[];
  readonly genesis: Uint8Array;
  /** What it learns of governance from its work; the genesis to begin with. */
  readonly held: HeldGovernance;
  readonly genesisDigest: Uint8Array;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly report: (event: NodeEvent) => void;
}

/** A node with what guards it against an older store. */
interface Node extends VaultNodeContext {
  readonly keeper: WitnessKeeper;
}

/** What only a Vault does that knows its store to be the newest. It knows soon after its start, or not at all. */
const CONFIRMED_WORK: ReadonlySet<WorkItem["work"]["kind"]> = new Set([
  "admit",
  "slice",
  "settle",
  "release",
  "abort",
]);

/** Runs a Vault's node until `stop` aborts. The Vault decides; the node carries. */
export async function runVaultNode(context: VaultNodeContext, stop: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const signal = AbortSignal.any([stop, ended.signal]);
  const { vault, coordinator, held } = context;
  const keeper = new WitnessKeeper({
    ...context,
    witness: vault.witness,
    learn: async () => void (await accept(await coordinator.governance(), node)),
    newest: () => held.newest,
    logSize: () => vault.log.size,
    signal,
  });
  const node: Node = { ...context, keeper };
  const { self, report } = context;
  const loop = { coordinator, self, report, signal };
  try {
    await Promise.all([
      keeper.run(),
      carryCandidates({ ...context, attributes: vault.attributes, signal }),
      runNodeLoop({ ...loop, perform: (item) => perform(item, node) }),
    ]);
  } finally {
    ended.abort();
  }
}

async function perform(item: WorkItem, context: Node): Promise<Uint8Array | null> {
  const { work } = item;
  const { vault, keeper } = context;
  if (CONFIRMED_WORK.has(work.kind)) await keeper.whenConfirmed(item.deadline_ms);
  switch (work.kind) {
    case "admit":
      return admit(work, context);
    case "slice":
      return slice(item.task_id, work, context);
    case "settle": {
      const envelope = TASK_ENVELOPE.decode(work.envelope);
      return vault.settle(envelope, work.bundles);
    }
    case "release":
      return release(item.task_id, work, context);
    case "cosign":
      return cosign(work, context);
    case "abort":
      await vault.abort({
        envelopeDigest: work.envelope_digest,
        requestDigest: work.request_digest,
      });
      return null;
    case "witness":
      return cosignHead(work.question, context, item.deadline_ms);
    case "witnessed":
      // Whoever asks has just started and may have forgotten what it cosigned for this Vault.
      void keeper.renew();
      return vault.witness.tellHead(work.question, context.held.newest);
    case "aggregate":
      throw new RefusedError(
        { code: "COORDINATION_ROLE_REFUSED" },
        "work: expected work of a Vault, got an aggregation",
      );
  }
}

/** Only a Vault that knows its store to be the newest cosigns, but for one that declares a restart to another. */
async function cosignHead(
  question: Uint8Array,
  { vault, keeper, held }: Node,
  deadlineMs: number,
): Promise<Uint8Array> {
  const { witness } = vault;
  if (!witness.declared) await keeper.whenConfirmed(deadlineMs);
  const cosigned = await witness.cosignHead(question, held.newest).catch(async (error: unknown) => {
    if (witness.standing !== "unconfirmed") throw error;
    await keeper.whenConfirmed(deadlineMs);
    return witness.cosignHead(question, held.newest);
  });
  if (cosigned.followed) void keeper.renew();
  return cosigned.answer;
}

async function admit(
  work: Extract<WorkItem["work"], { kind: "admit" }>,
  context: Node,
): Promise<Uint8Array> {
  const governance = await accept(work.governance, context);
  requireActiveVersions(governance, context.held.newest);
  return context.vault.decide(work.signed_request, governance);
}

/**
 * Governance as the coordinator hands it over: forward from what this Vault has seen. Work that was under way when the
 * log grew may carry less of it, as long as nothing that was withdrawn since is missing.
 */
async function accept(snapshotBytes: Uint8Array, node: Node): Promise<GovernanceState> {
  const { held, genesisDigest: pinnedGenesisDigest } = node;
  const snapshot = GOVERNANCE_SNAPSHOT.decode(snapshotBytes);
  if (snapshot.events.length >= held.leaves.length) {
    return advance(node, snapshotBytes, acceptSnapshot);
  }
  const { state } = acceptOlder({ snapshot, pinnedGenesisDigest, known: held.leaves });
  requireNothingWithdrawn(state, held.newest);
  // A challenge approved since withdraws a result.
  const { challengeResolutions } = held.newest;
  return { ...state, challengeResolutions };
}

/**
 * Judges governance against the head kept, keeps its head, and from then on judges sessions by its state. Work is done
 * several pieces at once, so the kept head may have moved meanwhile: then it is judged again.
 */
async function advance(
  { vault, held, genesisDigest }: Node,
  snapshotBytes: Uint8Array,
  judge: typeof acceptSnapshot,
): Promise<GovernanceState> {
  const snapshot = GOVERNANCE_SNAPSHOT.decode(snapshotBytes);
  for (let attempt = 1; ; attempt += 1) {
    const previous = await vault.governanceHead();
    const known = { state: held.newest, leaves: held.leaves };
    const accepted = judge({ snapshot, pinnedGenesisDigest: genesisDigest, previous, known });
    const { state, size, root } = accepted;
    try {
      const isKnown = previous !== null && size === previous.size;
      if (!isKnown) {
        const { replenishments } = state;
        await vault.recordGovernanceHead({ head: { size, root }, previous, replenishments });
      }
      held.learn(accepted);
      return state;
    } catch (error) {
      const moved = error instanceof ConflictError && error.code === "COORDINATION_CONFLICT";
      if (!moved || attempt >= HEAD_ATTEMPTS_MAX) throw error;
    }
  }
}

const HEAD_ATTEMPTS_MAX = 8;

async function slice(
  taskId: string,
  work: Extract<WorkItem["work"], { kind: "slice" }>,
  context: Node,
): Promise<Uint8Array | null> {
  const governance: GovernanceState = await accept(work.governance, context);
  const envelope = TASK_ENVELOPE.decode(work.envelope);
  const board = new RoundBoard({
    transport: context.coordinator.board(taskId, work.round),
    self: context.self,
    newest: () => context.held.newest,
    round: {
      envelopeDigest: TASK_ENVELOPE.digest(envelope),
      epochId: envelope.epoch_id,
      round: work.round,
      attempt: work.attempt,
    },
    nowMs: context.nowMs,
  });
  const outcome = await runSlice(work, {
    ...context,
    vaultId: context.self.actorId,
    governance,
    newest: () => context.held.newest,
    witnessed: (deadlineMs) => context.keeper.cover(deadlineMs),
    board,
  });
  if (!outcome.ok) context.report({ event: "work_failed", kind: "slice", code: outcome.code });
  return null;
}

async function release(
  taskId: string,
  work: Extract<WorkItem["work"], { kind: "release" }>,
  context: Node,
): Promise<Uint8Array> {
  const governance = await accept(work.governance, context);
  const release: Release = {
    envelope: TASK_ENVELOPE.decode(work.envelope),
    settlementProof: work.settlement,
    signedBundle: work.bundle,
    sealedShare: work.sealed_share,
    governance,
  };
  const share = await releaseAfterWindow(release, context);
  const { log, witness } = context.vault;
  const excerpt = LOG_EXCERPT.encode(await excerptOf(log, taskId, witness.cosigned));
  await context.coordinator.evidence(taskId, excerpt);
  return share;
}

/**
 * The Vault's own clock may be behind the coordinator's: the window passes for each on its own. Whatever has been revoked
 * by then releases nothing.
 */
async function releaseAfterWindow(
  release: Release,
  { vault, held, anchors, nowMs }: Node,
): Promise<Uint8Array> {
  const archived = await vault.sessionsOf(release.envelope);
  const { policy } = governanceOnceOf(release.governance, release.envelope);
  const newest = (): GovernanceState => governanceOnceOf(held.newest, release.envelope);
  const windowMs = policy.governance.challenge_window_ms;
  const deadlineMs = nowMs() + windowMs + RELEASE_GRACE_MS;
  for (;;) {
    requireUnrevoked(archived, { governance: newest(), anchors });
    try {
      const share = await vault.releaseShare(release);
      // What was revoked while the share was being made keeps it here too.
      requireUnrevoked(archived, { governance: newest(), anchors });
      return share;
    } catch (error) {
      const early = error instanceof RefusedError && error.code === "SETTLEMENT_NOT_FINAL";
      if (!early || nowMs() >= deadlineMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, RELEASE_RETRY_MS));
    }
  }
}

const RELEASE_GRACE_MS = 5_000;
const RELEASE_RETRY_MS = 250;

/**
 * Cosigns the coordinator's checkpoint of the governance log when it extends the head this Vault knows.
 *
 * @throws VerificationError PROOF_CONSISTENCY_INVALID, and as `verifyGovernanceForCosigning`
 */
async function cosign(
  work: Extract<WorkItem["work"], { kind: "cosign" }>,
  context: Node,
): Promise<Uint8Array> {
  await advance(context, work.governance, extendHead);
  const { checkpoint } = GOVERNANCE_SNAPSHOT.decode(work.governance);
  const note = cosignCheckpoint(checkpoint, {
    signerName: context.self.actorId,
    key: context.self.key,
    timeSeconds: Math.floor(context.nowMs() / 1000),
  });
  return utf8(note);
}
