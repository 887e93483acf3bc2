import {
  CHALLENGE,
  CHALLENGE_LIFECYCLE,
  ConflictError,
  SETTLEMENT_ENTRY,
  SETTLEMENT_LIFECYCLE,
  parseCose,
  type Challenge,
  type ChallengeResolution,
  type ResolvedBy,
} from "#protocol";

import type { ActorLog, ActorLogSchema } from "../evidence/actor-log.ts";
import type { Transaction } from "../store/index.ts";
import { applyChallenge } from "./accounting.ts";
import { challengeStateOf, endOf, resolutionPath } from "./challenges.ts";
import * as queries from "./queries.ts";

type Trx = Transaction<queries.SettlementSchema & ActorLogSchema>;

/** A challenge that has ended, for the task lifecycle to follow. */
export interface EndedChallenge {
  readonly taskId: string;
  readonly resolution: ChallengeResolution;
}

/** The steps that challenges take, each an event of the coordinator's log in the write that takes it. */
export class ChallengeSteps {
  readonly #log: ActorLog;

  constructor(log: ActorLog) {
    this.#log = log;
  }

  /** Ends what governance has decided, and what nobody decided by its deadline. */
  async resolve(trx: Trx, at: Parameters<typeof endOf>[1]): Promise<EndedChallenge[]> {
    const ended: EndedChallenge[] = [];
    for (const row of await queries.readChallenges(trx, "candidate_ready")) {
      const resolved = endOf(row, at);
      if (resolved === null) continue;
      await this.#end(trx, row, resolved);
      ended.push({ taskId: row.task_id, resolution: resolved.resolution });
    }
    return ended;
  }

  /** Ends a challenge as it was resolved, and the candidate's entry with it. */
  async #end(trx: Trx, row: queries.ChallengeRow, resolved: ResolvedBy): Promise<void> {
    const candidate = await queries.readCandidate(trx, row.task_id);
    if (candidate === undefined) {
      throw new ConflictError(
        { code: "SETTLEMENT_INVALID", task_id: row.task_id },
        "challenge: expected the candidate it was opened against, got none",
      );
    }
    const entry = applyChallenge(SETTLEMENT_ENTRY.decode(candidate.entry), resolved);
    const state = SETTLEMENT_LIFECYCLE.replay([
      { from: "collecting", to: "verifying_inputs" },
      { from: "verifying_inputs", to: "candidate_ready" },
      { from: "candidate_ready", to: "verifying_inputs" },
      { from: "verifying_inputs", to: "candidate_ready" },
    ]);
    await queries.updateCandidate(trx, {
      task_id: row.task_id,
      state,
      entry: SETTLEMENT_ENTRY.encode(entry),
    });
    await this.move(trx, row, resolutionPath(challengeStateOf(row.state), resolved.resolution));
  }

  /** Takes a challenge along `path`, each step logged. */
  async move(trx: Trx, row: queries.ChallengeRow, path: readonly string[]): Promise<void> {
    const challenge = CHALLENGE.decode(parseCose(row.signed).payload);
    let from = challengeStateOf(row.state);
    for (const step of path) {
      CHALLENGE_LIFECYCLE.assertTransition(from, step);
      const to = challengeStateOf(step);
      await queries.updateChallengeState(trx, row.task_id, to);
      await this.logStep(trx, challenge, { from, to });
      from = to;
    }
  }

  /** Logs one step; `from` is null for its opening. */
  async logStep(
    trx: Trx,
    challenge: Challenge,
    step: { readonly from: string | null; readonly to: string },
  ): Promise<void> {
    await this.#log.append(trx, {
      type: "challenge_transition",
      taskId: challenge.task_id,
      body: {
        from: step.from,
        to: step.to,
        challenge: CHALLENGE.digest(challenge),
        challenger: challenge.challenger,
      },
    });
  }
}
