import { setTimeout } from "node:timers/promises";

import { SymphonyError, UnavailableError, type GovernanceState } from "#protocol";
import type { Carried, WitnessApi } from "../sovereignty/index.ts";
import type { Coordinator, NodeEvent } from "./node-loop.ts";

/** Longest that one question waits for its answers, milliseconds; then it is asked anew. */
const QUESTION_MS = 10_000;
/** Longest single poll, milliseconds. */
const POLL_MS_MAX = 5_000;
/** How much longer a question waits for others once a witness holds another head than thought. */
const AGAIN_MS = 500;
const PAUSE_MS = 250;
const EMPTY_MS = 20;
/** How long work waits for a Vault that has just started to be confirmed. */
const CONFIRM_MS_MAX = 10_000;
/** How long the head is tried to be cosigned when nothing waits for it. */
const REFRESH_MS = 30_000;

/** What the keeper of a Vault's head needs. */
export interface WitnessKeeperContext {
  readonly witness: WitnessApi;
  readonly coordinator: Coordinator;
  /** Takes in the governance there is now. */
  readonly learn: () => Promise<void>;
  /** The newest governance the node knows. */
  readonly newest: () => GovernanceState;
  /** Events in the Vault's log. */
  readonly logSize: () => number;
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly report: (event: NodeEvent) => void;
  /** Ends every wait. */
  readonly signal: AbortSignal;
}

/**
 * Carries a Vault's questions about its own log to the other Vaults, through the coordinator. The Vault judges the
 * answers; whatever the coordinator drops or makes up costs time.
 */
export class WitnessKeeper {
  readonly #context: WitnessKeeperContext;
  /** The question under way, for all who wait for a cosigned head. */
  #flight: Promise<void> | undefined;
  #learned = false;
  /** The attempt under way to have the Vault confirmed. */
  #attempt: Promise<void> | undefined;
  /** Whether another Vault waits for this one to be confirmed and have its head cosigned anew. */
  #owed = false;

  constructor(context: WitnessKeeperContext) {
    this.#context = context;
  }

  /** Has the Vault confirmed, at the start and whenever it has to be anew, until the signal aborts. */
  async run(): Promise<void> {
    const { witness, signal } = this.#context;
    while (!signal.aborted) {
      // Its operator may write off a frozen Vault's budget, under all of governance.
      if (witness.standing === "frozen" && !this.#learned) await this.#learn();
      if (witness.standing === "unconfirmed") {
        this.#attempt = this.#confirm();
        await this.#attempt;
        await this.refresh();
        if (this.#owed) await this.renew();
      }
      await pause(PAUSE_MS, signal);
    }
  }

  /**
   * Waits for the Vault to be confirmed, until `deadlineMs` and not for long.
   *
   * @throws UnavailableError PRIVACY_BUDGET_FROZEN
   */
  async whenConfirmed(deadlineMs: number): Promise<void> {
    const { witness, nowMs, signal } = this.#context;
    const untilMs = Math.min(deadlineMs, nowMs() + CONFIRM_MS_MAX);
    while (witness.standing === "unconfirmed" && nowMs() < untilMs && !signal.aborted) {
      await within(this.#attempt ?? pause(PAUSE_MS, signal), untilMs - nowMs());
    }
    witness.requireConfirmed();
  }

  /**
   * Has a quorum of other Vaults cosign a head of the log with at least its present events. One question at a time is
   * under way: whoever asks meanwhile shares the next.
   *
   * @throws UnavailableError PRIVACY_BUDGET_UNWITNESSED at `deadlineMs`, PRIVACY_BUDGET_FROZEN
   */
  async cover(deadlineMs: number): Promise<void> {
    const { witness, newest, logSize, nowMs, signal } = this.#context;
    const size = logSize();
    witness.requireConfirmed();
    if (newest().policy.multi_vault.witness_quorum === 0) return;
    while (!witness.covers(size)) {
      const leftMs = deadlineMs - nowMs();
      if (leftMs <= 0 || signal.aborted) throw unwitnessed(size);
      this.#flight ??= this.#askOnce().finally(() => (this.#flight = undefined));
      await within(this.#flight, leftMs);
      witness.requireConfirmed();
    }
  }

  /**
   * Has the head cosigned anew, whether it is or not: for another Vault that may have forgotten it, and that vouches for
   * this one again only once it has cosigned its head. Of a Vault that is not confirmed, as soon as it is.
   */
  async renew(): Promise<void> {
    await this.#flight;
    const { witness, newest } = this.#context;
    this.#owed = witness.standing !== "confirmed";
    if (this.#owed) return;
    if (newest().policy.multi_vault.witness_quorum === 0) return;
    this.#flight ??= this.#askOnce().finally(() => (this.#flight = undefined));
    await this.#flight;
  }

  /** Tries to have the head cosigned, for after a start. */
  async refresh(): Promise<void> {
    if (this.#context.witness.standing !== "confirmed") return;
    try {
      await this.cover(this.#context.nowMs() + REFRESH_MS);
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      this.#context.report({ event: "work_failed", kind: "witness", code: error.code });
    }
  }

  async #learn(): Promise<void> {
    try {
      await this.#context.learn();
      this.#learned = true;
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      this.#context.report({ event: "work_failed", kind: "witnessed", code: error.code });
    }
  }

  async #confirm(): Promise<void> {
    const { witness } = this.#context;
    await this.#learn();
    if (!this.#learned) return;
    // What it has declared gives up all that others may have forgotten: their cosignatures of it confirm it too.
    if (witness.declared) await this.#askOnce();
    if (witness.standing === "unconfirmed") await this.#askHeads();
  }

  async #askHeads(): Promise<void> {
    const { witness, newest, nowMs, random, signal } = this.#context;
    try {
      const nonce = random(32);
      const askId = random(16);
      const question = witness.headQuestion(nonce, newest());
      const untilMs = nowMs() + QUESTION_MS;
      const answers: Carried[] = [];
      await witness.confirm(answers, { nonce, governance: newest() });
      const { declared } = witness;
      // Its operator may declare a restart meanwhile, which is another question.
      const isOpen = (): boolean =>
        witness.standing === "unconfirmed" && witness.declared === declared;
      while (isOpen() && nowMs() < untilMs && !signal.aborted) {
        const ask = { askId, about: "witnessed", question, after: answers.length } as const;
        answers.push(...(await this.#poll({ ...ask, untilMs })));
        await witness.confirm(answers, { nonce, governance: newest() });
      }
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      if (signal.aborted) return;
      this.#context.report({ event: "work_failed", kind: "witnessed", code: error.code });
    }
  }

  /** Asks for cosignatures once; ends when a quorum has cosigned, or when asking anew may bring more. */
  async #askOnce(): Promise<void> {
    const { witness, newest, nowMs, random, signal } = this.#context;
    const governance = newest();
    const asked = witness.ask(governance);
    const askId = random(16);
    let untilMs = nowMs() + QUESTION_MS;
    let after = 0;
    try {
      const mayAsk = (): boolean => witness.standing === "confirmed" || witness.declared;
      while (nowMs() < untilMs && !signal.aborted && mayAsk()) {
        const ask = { askId, about: "witness", question: asked.question, after } as const;
        for (const answer of await this.#poll({ ...ask, untilMs })) {
          after += 1;
          const outcome = await witness.take(asked, answer, governance);
          if (outcome === "cosigned") return;
          if (outcome === "again") untilMs = Math.min(untilMs, nowMs() + AGAIN_MS);
        }
      }
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      this.#context.report({ event: "work_failed", kind: "witness", code: error.code });
      await pause(PAUSE_MS, signal);
    }
  }

  async #poll(args: {
    readonly askId: Uint8Array;
    readonly about: "witness" | "witnessed";
    readonly question: Uint8Array;
    readonly after: number;
    readonly untilMs: number;
  }): Promise<readonly Carried[]> {
    const { untilMs, ...ask } = args;
    const leftMs = Math.max(1, untilMs - this.#context.nowMs());
    const answers = await this.#context.coordinator.askWitnesses({
      ...ask,
      waitMs: Math.min(POLL_MS_MAX, leftMs),
      signal: this.#context.signal,
    });
    // A coordinator that does not wait is not asked without end.
    if (answers.length === 0) await pause(EMPTY_MS, this.#context.signal);
    return answers;
  }
}

/** Resolves after `ms`, or when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  const waited = setTimeout(ms, undefined, { signal });
  return waited.catch(() => undefined);
}

/** Resolves when `work` ends or `ms` have passed. @throws as `work` */
async function within(work: Promise<void>, ms: number): Promise<void> {
  const ended = new AbortController();
  await Promise.race([work, pause(ms, ended.signal)]).finally(() => ended.abort());
}

function unwitnessed(size: number): UnavailableError {
  return new UnavailableError(
    { code: "PRIVACY_BUDGET_UNWITNESSED", size },
    `log head of ${size} events: expected cosignatures of a quorum of other Vaults in time`,
  );
}
