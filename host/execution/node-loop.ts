import {
  SymphonyError,
  WORK_ITEM,
  type ErrorCode,
  type SigningKey,
  type WorkItem,
} from "#protocol";
import type { BoardTransport } from "./round-board.ts";

/** The coordinator as a node uses it. */
export interface Coordinator {
  /** Waits up to `waitMs`; `signal` ends the wait early. */
  nextWork(waitMs: number, signal: AbortSignal): Promise<Uint8Array | undefined>;
  complete(
    workId: string,
    outcome: { readonly answer: Uint8Array | null; readonly code: ErrorCode | null },
  ): Promise<void>;
  /** The longest cosigned governance log that the coordinator gives out: a GovernanceSnapshot, to be verified. */
  governance(): Promise<Uint8Array>;
  evidence(taskId: string, excerpt: Uint8Array): Promise<void>;
  /** Hands in a signed `local-attribute-candidate` of the caller's. */
  candidate(signed: Uint8Array): Promise<void>;
  /**
   * Asks every other Vault about the caller's log, or again for more of what it came to: answers after the first
   * `after`, waiting up to `waitMs` for one. Nothing in them is verified.
   */
  askWitnesses(args: {
    readonly askId: Uint8Array;
    readonly about: "witness" | "witnessed";
    readonly question: Uint8Array;
    readonly after: number;
    readonly waitMs: number;
    readonly signal: AbortSignal;
  }): Promise<readonly { readonly actorId: string; readonly answer: Uint8Array }[]>;
  board(taskId: string, round: number): BoardTransport;
}

/** Who a node is, and whom it takes work from. */
export interface NodeSelf {
  readonly actorId: string;
  readonly key: SigningKey;
  /** The coordinator's key, from the pinned genesis. */
  readonly coordinatorKey: Uint8Array;
}

/** What a node tells its operator. Never holds data. */
export interface NodeEvent {
  readonly event: "work_started" | "work_done" | "work_failed" | "work_ignored";
  readonly kind?: string;
  readonly task_id?: string;
  readonly code?: ErrorCode;
  readonly error_id?: string;
}

/** Pieces of work under way at once; of them, those that start enclaves and last. */
const WORK_AT_ONCE_MAX = 64;
const ENCLAVES_AT_ONCE_MAX = 8;
const WAIT_MS = 10_000;
const PAUSE_MS = 500;

/**
 * Takes work from the coordinator and does it, several pieces at once, until `signal` aborts; then waits for what is
 * under way. However many enclaves run, there is room for the rest: governance must be heard while they do. Work that the coordinator did not sign for this actor is ignored, and so is work that is under way here: a
 * coordinator that was started again offers everything anew.
 *
 * @param perform - Does one piece; its answer or {@link SymphonyError} goes back. Any other error ends the node: a bug.
 */
export async function runNodeLoop(args: {
  readonly coordinator: Coordinator;
  readonly self: NodeSelf;
  readonly perform: (item: WorkItem) => Promise<Uint8Array | null>;
  readonly report: (event: NodeEvent) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const underWay = new Map<string, Promise<void>>();
  const enclaves = new Room(ENCLAVES_AT_ONCE_MAX);
  const perform = (item: WorkItem): Promise<Uint8Array | null> =>
    startsEnclave(item) ? enclaves.run(() => args.perform(item)) : args.perform(item);
  let bug: unknown;
  while (!args.signal.aborted && bug === undefined) {
    if (underWay.size >= WORK_AT_ONCE_MAX) await Promise.race(underWay.values());
    const item = await nextItem(args);
    if (item === undefined || underWay.has(item.work_id)) continue;
    const piece: Promise<void> = doWork(item, { ...args, perform })
      .catch((error: unknown) => {
        bug = error;
      })
      .finally(() => underWay.delete(item.work_id));
    underWay.set(item.work_id, piece);
  }
  await Promise.all(underWay.values());
  if (bug !== undefined) throw bug;
}

async function nextItem(args: {
  readonly coordinator: Coordinator;
  readonly self: NodeSelf;
  readonly report: (event: NodeEvent) => void;
  readonly signal: AbortSignal;
}): Promise<WorkItem | undefined> {
  try {
    const signed = await args.coordinator.nextWork(WAIT_MS, args.signal);
    if (signed === undefined) return undefined;
    const item = WORK_ITEM.verify(signed, args.self.coordinatorKey);
    if (item.actor_id === args.self.actorId) return item;
    args.report({ event: "work_ignored", kind: item.work.kind });
    return undefined;
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    if (args.signal.aborted) return undefined;
    args.report({ event: "work_ignored", code: error.code });
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    return undefined;
  }
}

async function doWork(
  item: WorkItem,
  args: {
    readonly coordinator: Coordinator;
    readonly perform: (item: WorkItem) => Promise<Uint8Array | null>;
    readonly report: (event: NodeEvent) => void;
  },
): Promise<void> {
  const about = { kind: item.work.kind, task_id: item.task_id };
  args.report({ event: "work_started", ...about });
  let outcome: { answer: Uint8Array | null; code: ErrorCode | null };
  try {
    outcome = { answer: await args.perform(item), code: null };
    args.report({ event: "work_done", ...about });
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    outcome = { answer: null, code: error.code };
    args.report({ event: "work_failed", ...about, code: error.code });
  }
  try {
    await args.coordinator.complete(item.work_id, outcome);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    args.report({ event: "work_failed", ...about, code: error.code });
  }
}

function startsEnclave({ work }: WorkItem): boolean {
  return work.kind === "slice" || work.kind === "aggregate";
}

/** Lets so many run at once; the others wait, in their order. */
class Room {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((enter) => this.#waiting.push(enter));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
