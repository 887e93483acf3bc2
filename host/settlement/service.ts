import {
  CHALLENGE,
  CHALLENGE_LIFECYCLE,
  RefusedError,
  SETTLEMENT_ENTRY,
  SETTLEMENT_LIFECYCLE,
  SETTLEMENT_PROOF,
  SETTLEMENT_ROOT,
  TASK_ENVELOPE,
  governanceOnceOf,
  parseCose,
  type Challenge,
  type ChallengeResolution,
  type GovernanceState,
  type PayoutInstruction,
  type SettlementRoot,
  type SigningKey,
} from "#protocol";

import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import type {
  EpochRegister,
  EpochTrigger,
  Governance,
  GovernanceSchema,
} from "../governance/index.ts";
import type { Store, Transaction } from "../store/index.ts";
import { ChallengeSteps, type EndedChallenge } from "./challenge-steps.ts";
import {
  appraiseChallenge,
  challengeClosed,
  challengeStateOf,
  holdsBack,
  requireVoter,
  resolutionOf,
  verifyChallenge,
} from "./challenges.ts";
import { verifyConsumption, violationsIn } from "./consumption.ts";
import { payoutsOf } from "./payouts.ts";
import * as queries from "./queries.ts";
import { composeEntry, composeSettlement } from "./settle.ts";
import type { VerifiedExecution } from "./verification.ts";

/** What settlement needs of the coordinator's store. */
export type SettlementStore = queries.SettlementSchema & GovernanceSchema & ActorLogSchema;

/** An epoch that has just been settled. */
export interface FinalizedEpoch {
  readonly root: SettlementRoot;
  readonly rootDigest: Uint8Array;
  /** COSE_Sign1 of the root. */
  readonly signedRoot: Uint8Array;
  /** Tasks of the root, in order; after an approved challenge they settle a penalty and no result. */
  readonly taskIds: readonly string[];
  readonly reason: EpochTrigger;
}

/** A task's one challenge as the task lifecycle needs it. */
export interface ChallengeOfTask {
  readonly challenger: string;
  readonly resolution: ChallengeResolution | null;
}

/** The Settlement Plane of the coordinator: candidates, challenges, epochs' roots, payouts. */
export interface Settlement {
  /**
   * Takes a verified execution as a candidate; the challenge window runs from now. The same task twice is one. A Vault
   * whose record is flagged pays in the same transaction.
   *
   * @param consumption - Signed ConsumptionRecords of the Vaults that took part; see `verifyConsumption`.
   * @returns When its challenge window ends, Unix milliseconds.
   */
  candidate(
    execution: VerifiedExecution,
    consumption: readonly Uint8Array[],
  ): Promise<{ readonly windowEndsMs: number }>;
  /** Whether the task was taken as a candidate before. */
  knows(taskId: string): Promise<boolean>;
  /** Opens a challenge; the same bytes twice are one. @throws as `verifyChallenge` and `appraiseChallenge` */
  openChallenge(signed: Uint8Array): Promise<Challenge>;
  /**
   * Ends what governance has decided, and closes without penalty what nobody decided by its deadline. What was closed so
   * is reopened by a decision that comes before the task is final.
   */
  resolveChallenges(): Promise<readonly EndedChallenge[]>;
  /**
   * Settles the open epoch if it is time: everything whose window is over and that no challenge holds back goes under
   * one signed root, the rest is deferred, and the next epoch opens. All in one transaction.
   *
   * @returns null while the epoch stays open.
   */
  finalizeDue(): Promise<FinalizedEpoch | null>;
  /** When something could settle next, Unix milliseconds; null when nothing waits. */
  nextDueMs(): Promise<number | null>;
  /** Canonical bytes of the task's SettlementProof. @throws RefusedError SETTLEMENT_NOT_FINAL */
  proofFor(taskId: string): Promise<Uint8Array>;
  /** Whether the task is under a signed root. */
  isFinal(taskId: string): Promise<boolean>;
  /** Signed challenges of a task. */
  challengesFor(taskId: string): Promise<readonly Uint8Array[]>;
  /** Who challenged a task and how it ended, null while it has not; null for an unchallenged task. */
  challengeOf(taskId: string): Promise<ChallengeOfTask | null>;
  /** Issues the payouts of a finalized epoch, once. @throws RefusedError PAYOUT_NOT_FINAL */
  payouts(epochId: number): Promise<readonly PayoutInstruction[]>;
}

/** What {@link openSettlement} needs; `governance` is asked each time, for what a running write builds on. */
export interface SettlementDependencies {
  readonly store: Store<SettlementStore>;
  readonly log: ActorLog;
  readonly epochs: EpochRegister;
  readonly governance: () => GovernanceState;
  /** Appends a decision of the coordinator's own to the governance log. */
  readonly appendDecision: Governance["append"];
  readonly signingKey: SigningKey;
  readonly nowMs: () => number;
}

/** Opens settlement over the coordinator's store. Keeps nothing in memory. */
export function openSettlement(dependencies: SettlementDependencies): Settlement {
  return new StoredSettlement(dependencies);
}

type Trx = Transaction<SettlementStore>;

class StoredSettlement implements Settlement {
  readonly #deps: SettlementDependencies;
  readonly #challenges: ChallengeSteps;

  constructor(dependencies: SettlementDependencies) {
    this.#deps = dependencies;
    this.#challenges = new ChallengeSteps(dependencies.log);
  }

  async candidate(
    execution: VerifiedExecution,
    consumption: readonly Uint8Array[],
  ): Promise<{ readonly windowEndsMs: number }> {
    const { store, nowMs, log } = this.#deps;
    const records = verifyConsumption(execution, consumption, execution.governance);
    const entry = composeEntry({ execution, consumption: records });
    const windowMs = execution.governance.policy.governance.challenge_window_ms;
    return await store.write(async (trx) => {
      const known = await queries.readCandidate(trx, entry.task_id);
      if (known !== undefined) return { windowEndsMs: known.ready_at_ms + windowMs };
      const ready_at_ms = nowMs();
      await queries.insertCandidate(trx, {
        task_id: entry.task_id,
        state: SETTLEMENT_LIFECYCLE.replay([
          { from: "collecting", to: "verifying_inputs" },
          { from: "verifying_inputs", to: "candidate_ready" },
        ]),
        entry: SETTLEMENT_ENTRY.encode(entry),
        envelope: TASK_ENVELOPE.encode(execution.envelope),
        ready_at_ms,
      });
      await log.append(trx, {
        type: "settlement_candidate",
        taskId: entry.task_id,
        body: {
          entry: SETTLEMENT_ENTRY.digest(entry),
          envelope_digest: entry.envelope_digest,
          round_bundles: [...entry.round_bundles],
          window_ends_ms: ready_at_ms + windowMs,
        },
      });
      for (const decision of violationsIn(execution.envelope, consumption)) {
        await this.#deps.appendDecision(trx, decision, ready_at_ms);
      }
      return { windowEndsMs: ready_at_ms + windowMs };
    });
  }

  async knows(taskId: string): Promise<boolean> {
    return (await queries.readCandidate(this.#deps.store.db, taskId)) !== undefined;
  }

  async openChallenge(signed: Uint8Array): Promise<Challenge> {
    const { store, nowMs } = this.#deps;
    const { task_id } = CHALLENGE.decode(parseCose(signed).payload);
    return await store.write(async (trx) => {
      const candidate = await queries.readCandidate(trx, task_id);
      const state = this.#governanceOf(candidate);
      const challenge = verifyChallenge(signed, state);
      const known = await queries.readChallenge(trx, task_id);
      if (known !== undefined && Buffer.compare(known.signed, signed) === 0) return challenge;
      if (known !== undefined) throw challengeClosed("one challenge of a task", "a second one");
      requireVoter(signed, state);
      const opened_ms = nowMs();
      appraiseChallenge(challenge, candidate, { state, nowMs: opened_ms });
      await queries.insertChallenge(trx, {
        task_id,
        state: CHALLENGE_LIFECYCLE.initial,
        signed,
        opened_ms,
        deadline_ms: opened_ms + state.policy.governance.challenge_deadline_ms,
      });
      await this.#challenges.logStep(trx, challenge, {
        from: null,
        to: CHALLENGE_LIFECYCLE.initial,
      });
      return challenge;
    });
  }

  async resolveChallenges(): Promise<readonly EndedChallenge[]> {
    const { store, governance, nowMs } = this.#deps;
    return await store.write((trx) =>
      this.#challenges.resolve(trx, { state: governance(), nowMs: nowMs() }),
    );
  }

  async finalizeDue(): Promise<FinalizedEpoch | null> {
    const { store, governance, nowMs, epochs } = this.#deps;
    return await store.write(async (trx) => {
      const state = governance();
      const now = nowMs();
      const due = await this.#due(trx, now);
      const settlements = due.length;
      const reason = await epochs.trigger(trx, { nowMs: now, settlements });
      if (reason === null) return null;
      const settled = await this.#settle(trx, due, { state, nowMs: now });
      const resolved = settled.taskIds;
      await epochs.roll(trx, { reason, nowMs: now, settlements, resolved });
      return { ...settled, reason };
    });
  }

  async nextDueMs(): Promise<number | null> {
    const waiting = await queries.readCandidates(
      this.#deps.store.db,
      "candidate_ready",
      Number.MAX_SAFE_INTEGER,
    );
    if (waiting.length === 0) return null;
    return Math.min(...waiting.map((row) => this.#windowEndsMs(row)));
  }

  async proofFor(taskId: string): Promise<Uint8Array> {
    const proof = await queries.readProof(this.#deps.store.db, taskId);
    if (proof !== undefined) return proof;
    throw new RefusedError(
      { code: "SETTLEMENT_NOT_FINAL" },
      "settlement: expected a finalized task, got one that is not",
    );
  }

  async isFinal(taskId: string): Promise<boolean> {
    return (await queries.readProof(this.#deps.store.db, taskId)) !== undefined;
  }

  async challengeOf(taskId: string): Promise<ChallengeOfTask | null> {
    const row = await queries.readChallenge(this.#deps.store.db, taskId);
    if (row === undefined) return null;
    const { challenger } = CHALLENGE.decode(parseCose(row.signed).payload);
    return { challenger, resolution: resolutionOf(challengeStateOf(row.state)) };
  }

  async challengesFor(taskId: string): Promise<readonly Uint8Array[]> {
    const row = await queries.readChallenge(this.#deps.store.db, taskId);
    return row === undefined ? [] : [row.signed];
  }

  async payouts(epochId: number): Promise<readonly PayoutInstruction[]> {
    return await this.#deps.store.write(async (trx) => {
      const root = await queries.readRoot(trx, epochId);
      if (root === undefined) {
        throw new RefusedError(
          { code: "PAYOUT_NOT_FINAL", epoch_id: epochId },
          `payouts of epoch ${epochId}: expected a finalized settlement, got none`,
        );
      }
      const proofs = await queries.readProofs(trx, epochId);
      const entries = proofs.map((bytes) =>
        SETTLEMENT_ENTRY.decode(SETTLEMENT_PROOF.decode(bytes).entry),
      );
      for (const row of payoutsOf(root.digest, entries)) await queries.insertPayout(trx, row);
      return await queries.readPayouts(trx, root.digest);
    });
  }

  /** Governance as a candidate's task is bound to it; as it is when there is no such task. */
  #governanceOf(candidate: queries.CandidateRow | undefined): GovernanceState {
    const state = this.#deps.governance();
    if (candidate === undefined) return state;
    return governanceOnceOf(state, TASK_ENVELOPE.decode(candidate.envelope));
  }

  #windowEndsMs(candidate: queries.CandidateRow): number {
    const { policy } = this.#governanceOf(candidate);
    return candidate.ready_at_ms + policy.governance.challenge_window_ms;
  }

  /** Candidates whose window is over, whatever version gives it, and that no challenge holds back. */
  async #due(trx: Trx, nowMs: number): Promise<queries.CandidateRow[]> {
    const versions = [...this.#deps.governance().policies.values()];
    const windowsMs = versions.map(({ policy }) => policy.governance.challenge_window_ms);
    const shortestMs = Math.min(...windowsMs);
    const waiting = await queries.readCandidates(trx, "candidate_ready", nowMs - shortestMs);
    const alike = shortestMs === Math.max(...windowsMs);
    const ready = alike ? waiting : waiting.filter((row) => this.#windowEndsMs(row) <= nowMs);
    const challenges = await queries.readChallenges(trx, "candidate_ready");
    const state = this.#deps.governance();
    const held = new Set(
      challenges.filter((row) => holdsBack(row, state)).map((row) => row.task_id),
    );
    return ready.filter((row) => !held.has(row.task_id));
  }

  async #settle(
    trx: Trx,
    due: readonly queries.CandidateRow[],
    at: { readonly state: GovernanceState; readonly nowMs: number },
  ): Promise<Omit<FinalizedEpoch, "reason">> {
    const { signingKey, epochs, log } = this.#deps;
    const last = await queries.readLastRoot(trx);
    const epochId = epochs.current().epoch_id;
    const { root, entries } = composeSettlement({
      state: at.state,
      epochId,
      previousRoot: last?.digest ?? new Uint8Array(32),
      entries: due.map((row) => SETTLEMENT_ENTRY.decode(row.entry)),
      finalizedMs: at.nowMs,
    });
    const signedRoot = SETTLEMENT_ROOT.sign(root, signingKey);
    const rootDigest = SETTLEMENT_ROOT.digest(root);
    await queries.insertRoot(trx, {
      epoch_id: epochId,
      digest: rootDigest,
      signed: signedRoot,
      finalized_ms: at.nowMs,
    });
    for (const { entry, bytes, index, proof } of entries) {
      const encoded = SETTLEMENT_PROOF.encode({ root: signedRoot, entry: bytes, index, proof });
      const row = { task_id: entry.task_id, epoch_id: epochId, proof: encoded };
      await queries.insertProof(trx, row);
      const state = this.#finalized(await queries.readCandidate(trx, entry.task_id));
      await queries.updateCandidate(trx, { task_id: entry.task_id, state, entry: bytes });
      await this.#recordPenalty(trx, entry.task_id);
      await log.append(trx, {
        type: "settlement_finalized",
        taskId: entry.task_id,
        body: { settlement_root: rootDigest, epoch_id: epochId, index },
      });
    }
    return { root, rootDigest, signedRoot, taskIds: entries.map(({ entry }) => entry.task_id) };
  }

  #finalized(row: queries.CandidateRow | undefined): string {
    const from = row?.state ?? "none";
    SETTLEMENT_LIFECYCLE.assertTransition(from, "finalizing");
    SETTLEMENT_LIFECYCLE.assertTransition("finalizing", "finalized");
    return "finalized";
  }

  /** The penalty of an approved challenge is recorded once its entry is under a root. */
  async #recordPenalty(trx: Trx, taskId: string): Promise<void> {
    const row = await queries.readChallenge(trx, taskId);
    if (row?.state !== "approved") return;
    await this.#challenges.move(trx, row, ["penalty_recorded"]);
  }
}
