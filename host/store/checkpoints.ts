import { once } from "node:events";
import type { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";

import { z } from "zod";

/** Pages of 4 096 bytes in the write-ahead log that are worth moving into the main file. */
const PAGES_MIN = 1_000;
/** When a log is that long, a commit moves what is left itself: the thread does not keep up, or has ended. */
const PAGES_MAX = 16_384;

/** What a checkpoint says: pages in the log, and how many of them are in the main file. */
const checkpointRow = z.object({ log: z.int(), checkpointed: z.int() });

/**
 * Moves what the write-ahead log of a SQLite file holds into the main file, on a thread of its own: in a commit it would
 * keep every write waiting for some thousand pages and a second sync. What is durable does not depend on it.
 */
export class Checkpoints {
  readonly #file: string;
  readonly #writer: DatabaseSync;
  #thread: Worker | undefined;
  #running: Promise<void> | undefined;
  #settle: () => void = () => undefined;
  #paused = 0;
  #isClosing = false;
  /** Pages that the last checkpoint left, for somebody who reads. */
  #left = 0;

  constructor(file: string, writer: DatabaseSync) {
    this.#file = file;
    this.#writer = writer;
    writer.exec(`PRAGMA wal_autocheckpoint = ${PAGES_MAX}`);
  }

  /** To be called after each COMMIT. Does not wait. */
  committed(): void {
    if (this.#running !== undefined || this.#paused > 0) return;
    const waiting = this.#waiting();
    this.#left = Math.min(this.#left, waiting);
    if (waiting < this.#left + PAGES_MIN) return;
    this.#running = this.#run();
  }

  /** Does `work` while no checkpoint runs. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    this.#paused += 1;
    try {
      await this.#running;
      return await work();
    } finally {
      this.#paused -= 1;
    }
  }

  /** Begins no other, and waits for the thread to have done the one that runs, to have closed the file and to have ended. */
  async close(): Promise<void> {
    this.#paused += 1;
    this.#isClosing = true;
    const thread = this.#thread;
    if (thread === undefined) return;
    thread.ref();
    const exited = once(thread, "exit");
    thread.postMessage("close");
    await exited;
  }

  /** Settles when the thread has done it, failed or ended: the log keeps what is not in the main file. */
  async #run(): Promise<void> {
    const thread = (this.#thread ??= this.#start());
    // A process does not end while its thread writes, and does while it waits.
    thread.ref();
    await new Promise<void>((resolve) => {
      this.#settle = resolve;
      thread.postMessage("checkpoint");
    });
    // Whoever closes waits for it to end, and may be all that keeps the process.
    if (!this.#isClosing) thread.unref();
    this.#running = undefined;
    this.#left = this.#waiting();
  }

  #start(): Worker {
    const script = new URL("./checkpoint-worker.ts", import.meta.url);
    const thread = new Worker(script, { workerData: this.#file });
    thread.on("message", () => this.#settle());
    thread.on("error", () => undefined);
    thread.on("exit", () => {
      this.#thread = undefined;
      this.#settle();
    });
    return thread;
  }

  #waiting(): number {
    try {
      const row = this.#writer.prepare("PRAGMA wal_checkpoint(NOOP)").get();
      const { log, checkpointed } = checkpointRow.parse(row);
      return log - checkpointed;
    } catch {
      // A disk that fails says so to the next write.
      return 0;
    }
  }
}
