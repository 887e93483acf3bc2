import { WORK_ITEM, type SigningKey, type WorkItem } from "#protocol";
import type { Queue } from "./queue.ts";

/** Work to issue; the issuer adds time and signature. */
export interface NewWork {
  /** Names the work for ever: the same identifier is the same work. */
  readonly workId: string;
  readonly actorId: string;
  readonly taskId: string;
  readonly timeoutMs: number;
  readonly work: WorkItem["work"];
}

/** Signs work as the coordinator and puts it in the queue, once per identifier. */
export class WorkIssuer {
  readonly #queue: Queue;
  readonly #key: SigningKey;
  readonly #nowMs: () => number;

  constructor(args: {
    readonly queue: Queue;
    readonly key: SigningKey;
    readonly nowMs: () => number;
  }) {
    this.#queue = args.queue;
    this.#key = args.key;
    this.#nowMs = args.nowMs;
  }

  /** Does nothing when work of this identifier was issued before. */
  async issue(work: NewWork): Promise<void> {
    if (await this.#queue.has(work.workId)) return;
    const issuedMs = this.#nowMs();
    const item: WorkItem = {
      work_id: work.workId,
      actor_id: work.actorId,
      task_id: work.taskId,
      issued_ms: issuedMs,
      deadline_ms: issuedMs + work.timeoutMs,
      work: work.work,
    };
    await this.#queue.enqueue(item, WORK_ITEM.sign(item, this.#key));
  }
}
