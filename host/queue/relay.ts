import { WORK_ITEM, hex, sha256, utf8, type SigningKey, type WorkItem } from "#protocol";
import type { Signals } from "./signals.ts";

/** How long a question stays open, milliseconds. */
const QUESTION_MS = 60_000;
/** Open questions of one actor; one more ends its oldest. */
const QUESTIONS_MAX = 8;

/** An answer, and whose it is. */
export interface RelayedAnswer {
  readonly actor_id: string;
  readonly answer: Uint8Array;
}

interface Asking {
  readonly workId: string;
  /** Signed work item. */
  readonly item: Uint8Array;
  /** The process that has it. */
  instance: string | null;
  done: boolean;
}

interface Question {
  readonly askerId: string;
  readonly deadlineMs: number;
  readonly topic: string;
  readonly asked: ReadonlyMap<string, Asking>;
  readonly answers: RelayedAnswer[];
}

/**
 * Carries questions between Vaults, in memory: who asks repeats what was lost. It believes and keeps nothing; askers
 * verify every answer themselves.
 */
export class WitnessRelay {
  readonly #signals: Signals;
  readonly #key: SigningKey;
  readonly #nowMs: () => number;
  /** In the order in which they came. */
  readonly #questions = new Map<string, Question>();

  constructor(args: {
    readonly signals: Signals;
    readonly key: SigningKey;
    readonly nowMs: () => number;
  }) {
    this.#signals = args.signals;
    this.#key = args.key;
    this.#nowMs = args.nowMs;
  }

  /** Hands a question to each of `actorIds`; a question known by its name is not asked again. */
  ask(args: {
    readonly askId: Uint8Array;
    readonly askerId: string;
    readonly actorIds: readonly string[];
    readonly work: WorkItem["work"];
  }): void {
    const name = nameOf(args.askerId, args.askId);
    this.#forgetOld();
    if (this.#questions.has(name)) return;
    const own = [...this.#questions].filter(([, { askerId }]) => askerId === args.askerId);
    const [oldest] = own.length >= QUESTIONS_MAX ? own : [];
    if (oldest !== undefined) this.#questions.delete(oldest[0]);
    const issuedMs = this.#nowMs();
    const deadlineMs = issuedMs + QUESTION_MS;
    const asked = new Map(
      args.actorIds.map((actorId, index) => {
        const item: WorkItem = {
          work_id: `witness:${name}:${index}`,
          actor_id: actorId,
          task_id: "witness",
          issued_ms: issuedMs,
          deadline_ms: deadlineMs,
          work: args.work,
        };
        const signed = WORK_ITEM.sign(item, this.#key);
        return [actorId, { workId: item.work_id, item: signed, instance: null, done: false }];
      }),
    );
    const topic = `witness:${name}`;
    const { askerId } = args;
    this.#questions.set(name, { askerId, deadlineMs, topic, asked, answers: [] });
    for (const actorId of args.actorIds) this.#signals.notify(`work:${actorId}`);
  }

  /** The oldest open question to an actor that this process of it does not have yet, as a signed work item. */
  next(actorId: string, instance: string): Uint8Array | undefined {
    this.#forgetOld();
    for (const { asked } of this.#questions.values()) {
      const asking = asked.get(actorId);
      if (asking === undefined || asking.done || asking.instance === instance) continue;
      asking.instance = instance;
      return asking.item;
    }
    return undefined;
  }

  /** Takes the outcome of a question. @returns whether `workId` is one of a question, known or forgotten. */
  complete(args: {
    readonly workId: string;
    readonly actorId: string;
    readonly answer: Uint8Array | null;
  }): boolean {
    const { workId, actorId, answer } = args;
    const [kind, name = ""] = workId.split(":");
    if (kind !== "witness") return false;
    const question = this.#questions.get(name);
    const asking = question?.asked.get(actorId);
    if (question === undefined || asking?.workId !== workId || asking.done) return true;
    asking.done = true;
    if (answer !== null) question.answers.push({ actor_id: actorId, answer });
    this.#signals.notify(question.topic);
    return true;
  }

  /** Answers after the first `after`, waiting up to `waitMs` for one; none for a question that is not known. */
  async answers(args: {
    readonly askId: Uint8Array;
    readonly askerId: string;
    readonly after: number;
    readonly waitMs: number;
  }): Promise<readonly RelayedAnswer[]> {
    const question = this.#questions.get(nameOf(args.askerId, args.askId));
    if (question === undefined) return [];
    const isWaiting = question.answers.length <= args.after && args.waitMs > 0;
    if (isWaiting) await this.#signals.wait(question.topic, args.waitMs);
    return question.answers.slice(args.after);
  }

  #forgetOld(): void {
    const nowMs = this.#nowMs();
    for (const [name, { deadlineMs }] of this.#questions) {
      if (deadlineMs <= nowMs) this.#questions.delete(name);
    }
  }
}

/** The asker is part of it, so that nobody names another's question. */
function nameOf(askerId: string, askId: Uint8Array): string {
  return hex(sha256(utf8(`${askerId}\n`), askId)).slice(0, 32);
}
