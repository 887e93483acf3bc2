import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { LimitError, RefusedError, SymphonyError, identifier, parseWith } from "#protocol";
import { z } from "zod";

import type { CustodyProgress } from "../../sovereignty/index.ts";
import { plainJson } from "../plain-json.ts";
import type { VaultRoutesContext } from "./context.ts";

/** Pieces of long work that are remembered, the finished ones too. */
const JOBS_MAX = 100;

const rotateBody = z.strictObject({ reencrypt: z.boolean().default(false) });
const subjectBody = z.strictObject({ subject: z.string().min(1).max(1024) });
const jobQuery = z.strictObject({ job: z.coerce.number().int().min(1) });
const taskQuery = z.strictObject({ task: identifier });

/** Long work as its caller sees it: it goes on whether somebody asks or not. */
interface Job {
  readonly state: "running" | "done" | "failed";
  readonly done: number;
  readonly total: number;
  readonly report: unknown;
  readonly code: string | null;
  readonly message: string | null;
}

/** Keys, erasure, and what a subject may ask for. */
export function addCustodyRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  const { custody } = vault;
  const jobs = new Jobs();
  server.post("/v1/vault/keys/rotate", async (request) => {
    const { reencrypt } = parseWith(rotateBody, request.body, "body");
    return jobs.start((report) =>
      reencrypt ? custody.reencrypt(report) : custody.rotateKeys(report),
    );
  });
  // A subject's name is no part of a path, which servers in between write down.
  server.post("/v1/vault/subjects/erase", async (request) => {
    const { subject } = parseWith(subjectBody, request.body, "body");
    return jobs.start((report) => custody.eraseSubject(subject, report));
  });
  server.post("/v1/vault/subjects/export", async (request, reply) => {
    const { subject } = parseWith(subjectBody, request.body, "body");
    const lines = custody.exportSubject(subject);
    // What is refused is refused before the first byte.
    const first = await lines.next();
    async function* body(): AsyncGenerator<string> {
      if (first.done !== true) yield `${JSON.stringify(first.value)}\n`;
      for await (const line of lines) yield `${JSON.stringify(line)}\n`;
    }
    return reply.type("application/jsonl").send(Readable.from(body()));
  });
  server.get("/v1/vault/jobs", async (request) =>
    plainJson(jobs.get(parseWith(jobQuery, request.query, "query").job)),
  );
  server.get("/v1/vault/replayable", async (request) =>
    custody.replayable(parseWith(taskQuery, request.query, "query").task),
  );
}

class Jobs {
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
