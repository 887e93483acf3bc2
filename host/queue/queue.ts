import {
  ConflictError,
  ERROR_CODES,
  RefusedError,
  hex,
  type ErrorCode,
  type RoundMessage,
  type WorkItem,
} from "#protocol";
import type { Store, Transaction } from "../store/index.ts";
import { claimable, messagePage, type QueueSchema } from "./queries.ts";
import { Signals } from "./signals.ts";

/** How long a claimed piece of work stays with its claimant before it is offered again. */
const LEASE_MS = 120_000;

/** How long work rests that a Vault could not do yet. */
const FROZEN_MS = 5_000;
/** What a Vault does late rather than not at all: it stands still while it does not know its own newest log. */
const LATE_KINDS: ReadonlySet<string> = new Set<WorkItem["work"]["kind"]>([
  "settle",
  "release",
  "abort",
]);

/** A finished piece of work: an answer, or the code it failed with. */
export interface FinishedWork {
  readonly workId: string;
  readonly actorId: string;
  readonly kind: string;
  readonly done: boolean;
  readonly answer: Uint8Array | null;
  readonly code: ErrorCode | null;
}

/** A message as the board keeps it. `position` grows with every message of any round. */
export interface BoardMessage {
  readonly position: number;
  readonly message: Uint8Array;
}

/**
 * Work for actors and the message board of rounds, on the coordinator's store.
 *
 * At-least-once: work is unique by its identifier, a message by (task, round, attempt, sender, slot); the second of
 * either changes nothing.
 */
export class Queue {
  readonly #store: Store<QueueSchema>;
  readonly #nowMs: () => number;
  readonly signals = new Signals();
  readonly #taken = new Set<string>();

  constructor(store: Store<QueueSchema>, nowMs: () => number) {
    this.#store = store;
    this.#nowMs = nowMs;
  }

  /** Adds work once; a second call with the same identifier does nothing. */
  async enqueue(item: WorkItem, signed: Uint8Array): Promise<void> {
    await this.#store.write((trx) => this.enqueueIn(trx, item, signed));
    this.signals.notify(`work:${item.actor_id}`);
  }

  async enqueueIn(
    trx: Transaction<QueueSchema>,
    item: WorkItem,
    signed: Uint8Array,
  ): Promise<void> {
    await trx
      .insertInto("work")
      .values({
        work_id: item.work_id,
        actor_id: item.actor_id,
        task_id: item.task_id,
        kind: item.work.kind,
        item: signed,
        state: "open",
        answer: null,
        code: null,
        deadline_ms: item.deadline_ms,
        issued_ms: item.issued_ms,
        lease_instance: null,
        lease_until_ms: 0,
      })
      .onConflict((conflict) => conflict.column("work_id").doNothing())
      .execute();
  }

  /** Whether work of this identifier was ever added. */
  async has(workId: string): Promise<boolean> {
    const row = await this.#store.db
      .selectFrom("work")
      .select("work_id")
      .where("work_id", "=", workId)
      .executeTakeFirst();
    return row !== undefined;
  }

  /**
   * Offers all open work again: for a coordinator that starts, whose last answers may never have arrived. Nodes ignore
   * what they have under way.
   */
  async offerAgain(): Promise<void> {
    await this.#store.write((trx) =>
      trx
        .updateTable("work")
        .set({ lease_instance: null, lease_until_ms: 0 })
        .where("state", "=", "open")
        .execute(),
    );
  }

  /** Next signed work item of an actor, waiting up to `waitMs`; undefined when there is none. */
  async claim(args: {
    readonly actorId: string;
    readonly instance: string;
    readonly waitMs: number;
  }): Promise<Uint8Array | undefined> {
    const wake = this.signals.wait(`work:${args.actorId}`, args.waitMs);
    const first = await this.#claimNow(args.actorId, args.instance);
    if (first !== undefined || args.waitMs === 0) return first;
    await wake;
    return this.#claimNow(args.actorId, args.instance);
  }

  async #claimNow(actorId: string, instance: string): Promise<Uint8Array | undefined> {
    const nowMs = this.#nowMs();
    return this.#store.write(async (trx) => {
      const row = await claimable(trx, actorId, instance, nowMs);
      if (row === undefined) return undefined;
      await trx
        .updateTable("work")
        .set({ lease_instance: instance, lease_until_ms: nowMs + LEASE_MS })
        .where("work_id", "=", row.work_id)
        .execute();
      return row.item;
    });
  }

  /**
   * Records the outcome of work. The first outcome stands. What a frozen Vault could not do, and can do late, stays open
   * and is offered again.
   *
   * @throws {@link RefusedError} COORDINATION_ROLE_REFUSED when the work is another actor's.
   */
  async complete(args: {
    readonly workId: string;
    readonly actorId: string;
    readonly answer: Uint8Array | null;
    readonly code: ErrorCode | null;
  }): Promise<{ readonly taskId: string; readonly kind: string; readonly first: boolean }> {
    const row = await this.#store.db
      .selectFrom("work")
      .select(["actor_id", "task_id", "kind", "state"])
      .where("work_id", "=", args.workId)
      .executeTakeFirst();
    if (row === undefined || row.actor_id !== args.actorId) {
      throw new RefusedError(
        { code: "COORDINATION_ROLE_REFUSED" },
        "work: expected work of the calling actor",
      );
    }
    if (row.state !== "open") return { taskId: row.task_id, kind: row.kind, first: false };
    const isLate = args.code === "PRIVACY_BUDGET_FROZEN" && LATE_KINDS.has(row.kind);
    const outcome = isLate
      ? { lease_until_ms: this.#nowMs() + FROZEN_MS }
      : { state: "done" as const, answer: args.answer, code: args.code };
    await this.#store.write((trx) =>
      trx
        .updateTable("work")
        .set(outcome)
        .where("work_id", "=", args.workId)
        .where("state", "=", "open")
        .execute(),
    );
    return { taskId: row.task_id, kind: row.kind, first: !isLate };
  }

  /** All work of one kind for a task, in order of actor. */
  async workOf(taskId: string, kind: WorkItem["work"]["kind"]): Promise<FinishedWork[]> {
    const rows = await this.#store.db
      .selectFrom("work")
      .select(["work_id", "actor_id", "kind", "state", "answer", "code"])
      .where("task_id", "=", taskId)
      .where("kind", "=", kind)
      .orderBy("actor_id")
      .execute();
    return rows.map((row) => ({
      workId: row.work_id,
      actorId: row.actor_id,
      kind: row.kind,
      done: row.state === "done",
      answer: row.answer,
      code: errorCode(row.code),
    }));
  }

  /** Answers of one kind that were not taken before; each is given once. */
  async takeAnswers(taskId: string, kind: WorkItem["work"]["kind"]): Promise<FinishedWork[]> {
    const done = await this.workOf(taskId, kind);
    const fresh = done.filter((work) => work.done && !this.#taken.has(work.workId));
    for (const { workId } of fresh) this.#taken.add(workId);
    return fresh;
  }

  /** Puts a verified message on the board. @returns whether it is the first of its slot. */
  async post(taskId: string, message: RoundMessage, signed: Uint8Array): Promise<boolean> {
    const inserted = await this.#store.write((trx) =>
      trx
        .insertInto("round_message")
        .values({
          task_id: taskId,
          round: message.round,
          attempt: message.attempt,
          sender: message.sender,
          slot: slotOf(message),
          message: signed,
          at_ms: this.#nowMs(),
        })
        .onConflict((conflict) =>
          conflict.columns(["task_id", "round", "attempt", "sender", "slot"]).doNothing(),
        )
        .executeTakeFirst(),
    );
    this.signals.notify(`round:${taskId}:${message.round}`);
    return (inserted.numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  /** Messages of a round after `after`, waiting up to `waitMs` for the first. */
  async messages(args: {
    readonly taskId: string;
    readonly round: number;
    readonly after: number;
    readonly waitMs: number;
  }): Promise<BoardMessage[]> {
    const wake = this.signals.wait(`round:${args.taskId}:${args.round}`, args.waitMs);
    const first = await this.#messagesNow(args.taskId, args.round, args.after);
    if (first.length > 0 || args.waitMs === 0) return first;
    await wake;
    return this.#messagesNow(args.taskId, args.round, args.after);
  }

  async #messagesNow(taskId: string, round: number, after: number): Promise<BoardMessage[]> {
    return messagePage(this.#store.db, { taskId, round, after });
  }
}

/** Which place on the board a message takes; a sender fills each once per round. */
function slotOf(message: RoundMessage): string {
  const { body } = message;
  return "vault_id" in body ? `${body.kind}:${body.vault_id}` : body.kind;
}

function errorCode(text: string | null): ErrorCode | null {
  if (text === null) return null;
  const known = KNOWN_CODES.get(text);
  if (known === undefined) {
    throw new ConflictError(
      { code: "INTERNAL_STORE_UNAVAILABLE", code_text: text },
      "work: expected a known error code in the store",
    );
  }
  return known;
}

const KNOWN_CODES: ReadonlyMap<string, ErrorCode> = new Map(
  ERROR_CODES.map((code) => [code, code]),
);

/** Identifier of a running process, as the board keeps it. */
export function instanceName(instance: Uint8Array): string {
  return hex(instance);
}
