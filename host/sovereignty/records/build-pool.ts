import assert from "node:assert";
import os from "node:os";
import { once } from "node:events";
import { Worker } from "node:worker_threads";

import { UnavailableError } from "#protocol";

import { BatchBuild, type BuildJob, type BuildPlan, type BuildResult } from "./batch-build.ts";

/** Rows of a source for which no thread is started. */
const OWN_ROWS = 10_000;
const THREADS_MAX = 16;
/** A batch under construction is some MiB; the engine would rather let garbage lie than collect it. */
const HEAP = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 };

interface Waiting {
  readonly resolve: (result: BuildResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Builds the batches of one ingest. The calling thread builds those of a small source. Past that, all threads are
 * started at once, so that more rows take no more memory; until one is ready the calling thread goes on.
 */
export class BuildPool {
  readonly #plan: BuildPlan;
  readonly #threadsMax: number;
  #threads: readonly BuildThread[] = [];
  #own: BatchBuild | undefined;
  #ownRows = 0;

  constructor(plan: BuildPlan) {
    this.#plan = plan;
    this.#own = new BatchBuild(plan);
    // One processor is for the calling thread, which reads, writes and publishes.
    this.#threadsMax = Math.min(Math.max(1, os.availableParallelism() - 1), THREADS_MAX);
  }

  /** Jobs that are worth being under way at once. */
  get width(): number {
    return this.#threadsMax + 1;
  }

  /** @throws UnavailableError INTERNAL_UNEXPECTED when the thread ended before its job. */
  async build(job: BuildJob): Promise<BuildResult> {
    if (this.#ownRows >= OWN_ROWS) this.#start();
    const [first, ...others] = this.#threads.filter(({ isStarting }) => !isStarting);
    if (first === undefined) return this.#buildHere(job);
    this.#own = undefined;
    const least = others.reduce((best, each) => (each.waiting < best.waiting ? each : best), first);
    return await least.build(job);
  }

  #buildHere(job: BuildJob): BuildResult {
    assert(this.#own !== undefined, "a thread that was ready is ready or has ended");
    this.#ownRows += job.content.rows;
    return this.#own.build(job);
  }

  #start(): void {
    if (this.#threads.length > 0) return;
    this.#threads = Array.from({ length: this.#threadsMax }, () => new BuildThread(this.#plan));
  }

  /** Ends the threads, whatever they are doing. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

/** One thread; takes jobs in order. */
class BuildThread {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  #ended: Error | undefined;
  #isReady = false;

  constructor(plan: BuildPlan) {
    const script = new URL("./build-worker.ts", import.meta.url);
    this.#worker = new Worker(script, { workerData: plan, resourceLimits: HEAP });
    this.#worker.once("message", () => {
      this.#isReady = true;
      this.#worker.on("message", (result: BuildResult) => this.#waiting.shift()?.resolve(result));
    });
    this.#worker.on("error", (cause: unknown) => this.#end(cause));
    this.#worker.on("exit", () => this.#end(undefined));
  }

  /** Neither ready nor ended: one that has ended says so to the job that it is given. */
  get isStarting(): boolean {
    return !this.#isReady && this.#ended === undefined;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  build(job: BuildJob): Promise<BuildResult> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      this.#waiting.push({ resolve, reject });
      const { content, salts } = job;
      const large =
        "bytes" in content ? [content.bytes] : [content.lines, content.lengths, content.contents];
      this.#worker.postMessage(
        job,
        [...large, salts].map(({ buffer }) => buffer),
      );
    });
  }

  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    const exited = once(this.#worker, "exit");
    await this.#worker.terminate();
    await exited;
  }

  #end(cause: unknown): void {
    this.#ended ??= new UnavailableError(
      { code: "INTERNAL_UNEXPECTED", subject: "ingest thread" },
      "ingest: expected a thread that builds batches, got one that ended",
      { cause },
    );
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}
