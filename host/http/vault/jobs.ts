import { LimitError, RefusedError, SymphonyError } from "#protocol";
import { z } from "zod";

import type { CustodyProgress } from "../../sovereignty/index.ts";

/** Pieces of long work that are remembered, the finished ones too. */
const JOBS_MAX = 100;

/** The number of work that has begun. */
export const jobAnswer = z.strictObject({ job: z.int() });

/** Long work as its caller sees it: it goes on whether somebody asks or not. */
interface Job {
  readonly state: "running" | "done" | "failed";
  readonly done: number;
  readonly total: number;
  readonly report: unknown;
  readonly code: string | null;
  readonly message: string | null;
}

/** Long work of one Vault, by number. */
export class Jobs {
  readonly #jobs = new Map<number, Job>();
  #last = 0;

  /** Starts `work` and gives it a number. */
  start(work: (report: (progress: CustodyProgress) => void) => Promise<unknown>): { job: number } {
    this.#makeRoom();
    this.#last += 1;
    const job = this.#last;
    const begun: Job = {
      ...{ state: "running", done: 0, total: 0 },
      ...{ report: null, code: null, message: null },
    };
    this.#jobs.set(job, begun);
    const change = (changes: Partial<Job>): void => {
      this.#jobs.set(job, { ...(this.#jobs.get(job) ?? begun), ...changes });
    };
    work(change).then(
      (report) => change({ state: "done", report }),
      (error: unknown) => change({ state: "failed", ...told(error) }),
    );
    return { job };
  }

  /** @throws {@link RefusedError} EXECUTION_TASK_UNKNOWN */
  get(job: number): Job {
    const found = this.#jobs.get(job);
    if (found !== undefined) return found;
    throw new RefusedError(
      { code: "EXECUTION_TASK_UNKNOWN" },
      "job: expected one that this Vault has started since it was",
    );
  }

  /** Forgets the oldest that has ended. @throws {@link LimitError} SCHEMA_TOO_LARGE when none has */
  #makeRoom(): void {
    if (this.#jobs.size < JOBS_MAX) return;
    for (const [job, { state }] of this.#jobs) {
      if (state === "running") continue;
      this.#jobs.delete(job);
      return;
    }
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", max: JOBS_MAX },
      `jobs: expected at most ${JOBS_MAX} at once`,
    );
  }
}

function told(error: unknown): Pick<Job, "code" | "message"> {
  if (error instanceof SymphonyError) return { code: error.code, message: error.message };
  return { code: "INTERNAL_UNEXPECTED", message: "an error that nobody expected" };
}
