import type { FastifyInstance } from "fastify";
import { z } from "zod";

import { LimitError, base64, fromBase64, parseWith } from "#protocol";

/** What a caller may know of a task. */
export interface TaskView {
  readonly task_id: string;
  readonly task_class: string;
  readonly state: string;
  /** SCP error code of the end, or null. */
  readonly reason: string | null;
  readonly epoch_id: number;
  readonly policy_version: string;
  readonly rounds: number;
  readonly delivered: boolean;
  readonly simulated: boolean;
}

/** One event of a task as callers see it. */
export interface TaskEventView {
  readonly sequence: number;
  readonly time_ms: number;
  readonly type: string;
  readonly body: unknown;
}

/** What the public routes need of the coordinator. */
export interface TaskRoutesContext {
  readonly submit: (signedRequest: Uint8Array) => Promise<{ readonly taskId: string }>;
  /** What would come of a request; a JSON object. */
  readonly dryRun: (signedQuestion: Uint8Array) => Promise<unknown>;
  readonly view: (taskId: string) => Promise<TaskView>;
  readonly events: (taskId: string, after: number) => Promise<readonly TaskEventView[]>;
  /** Resolves when something changed for a task, or after `waitMs`. */
  readonly wait: (taskId: string, waitMs: number) => Promise<void>;
  /** Canonical DELIVERY bytes. @throws UnavailableError DELIVERY_NOT_READY */
  readonly delivery: (taskId: string) => Promise<Uint8Array>;
  /** The evidence bundle file. */
  readonly evidence: (taskId: string) => Promise<Uint8Array>;
  readonly openChallenge: (taskId: string, signedChallenge: Uint8Array) => Promise<void>;
  readonly governanceSnapshot: () => Uint8Array;
  readonly submitGovernanceEvent: (event: Uint8Array) => Promise<void>;
  readonly uploadArtifact: (bytes: Uint8Array) => Promise<void>;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
}

const signedBody = z.strictObject({
  signed: z
    .string()
    .max(256 * 1024)
    .refine(isBase64, { error: "expected standard padded base64" }),
});
const taskPath = z.object({ id: z.string().max(128) });
const afterQuery = z.object({ after: z.coerce.number().int().min(0).default(0) });

/** States in which nothing more will happen to a task. */
const ENDED = new Set(["completed", "rejected", "timed_out"]);
const EVENT_WAIT_MS = 5_000;
/** Event streams at once. */
const STREAMS_MAX = 256;

/** The listener of submitters, auditors and governance. Everything it hands out is signed, sealed or public. */
export function addTaskRoutes(server: FastifyInstance, context: TaskRoutesContext): void {
  server.post("/v1/tasks", async (request, reply) => {
    const { signed } = parseWith(signedBody, request.body, "body");
    const { taskId } = await context.submit(fromBase64(signed));
    await reply.code(202).send(await context.view(taskId));
  });
  server.post("/v1/tasks/dry-run", async (request) => {
    const { signed } = parseWith(signedBody, request.body, "body");
    return context.dryRun(fromBase64(signed));
  });
  server.get("/v1/tasks/:id", async (request) => context.view(taskIdIn(request.params)));
  server.get("/v1/tasks/:id/result", async (request) => ({
    delivery: base64(await context.delivery(taskIdIn(request.params))),
  }));
  server.post("/v1/tasks/:id/challenge", async (request, reply) => {
    const { signed } = parseWith(signedBody, request.body, "body");
    await context.openChallenge(taskIdIn(request.params), fromBase64(signed));
    await reply.code(202).send({ status: "opened" });
  });
  server.get("/v1/evidence/:id", async (request, reply) => {
    const bundle = await context.evidence(taskIdIn(request.params));
    await reply.header("content-type", "application/octet-stream").send(Buffer.from(bundle));
  });
  addEventStream(server, context);
  addGovernanceRoutes(server, context);
  server.get("/metrics", async (_request, reply) => {
    await reply.header("content-type", "text/plain; version=0.0.4").send(await context.metrics());
  });
}

function addGovernanceRoutes(server: FastifyInstance, context: TaskRoutesContext): void {
  server.get("/v1/governance/snapshot", async () => ({
    snapshot: base64(context.governanceSnapshot()),
  }));
  server.post("/v1/governance/events", async (request, reply) => {
    const { signed } = parseWith(signedBody, request.body, "body");
    await context.submitGovernanceEvent(fromBase64(signed));
    await reply.code(202).send({ status: "accepted" });
  });
  server.post(
    "/v1/governance/artifacts",
    { bodyLimit: ARTIFACT_BYTES_MAX },
    async (request, reply) => {
      const bytes = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
      await context.uploadArtifact(new Uint8Array(bytes));
      await reply.code(202).send({ status: "accepted" });
    },
  );
}

const ARTIFACT_BYTES_MAX = 16 * 1024 * 1024;

/** Server-sent events: the task's signed log entries from `after` on, until the task has ended and is delivered. */
function addEventStream(server: FastifyInstance, context: TaskRoutesContext): void {
  let streams = 0;
  server.get("/v1/tasks/:id/events", async (request, reply) => {
    const taskId = taskIdIn(request.params);
    let { after } = parseWith(afterQuery, request.query, "query");
    await context.view(taskId);
    if (streams >= STREAMS_MAX) {
      throw new LimitError(
        { code: "POLICY_LIMIT_EXCEEDED", streams, streamsMax: STREAMS_MAX },
        `events: expected fewer than ${STREAMS_MAX} streams at once`,
      );
    }
    streams += 1;
    reply.raw.once("close", () => {
      streams -= 1;
    });
    reply.hijack();
    const stream = reply.raw;
    stream.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    while (!stream.destroyed) {
      const woken = context.wait(taskId, EVENT_WAIT_MS);
      const events = await context.events(taskId, after);
      for (const event of events) {
        stream.write(
          `id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
        );
        after = event.sequence + 1;
      }
      const view = await context.view(taskId);
      if (isOver(view)) {
        const rest = await context.events(taskId, after);
        if (rest.length === 0) break;
        continue;
      }
      await woken;
      if (events.length === 0) stream.write(": still running\n\n");
    }
    stream.end();
  });
}

function isBase64(text: string): boolean {
  return base64(new Uint8Array(Buffer.from(text, "base64"))) === text;
}

/** Nothing more will happen: ended without a result, delivered, or never to be delivered. */
function isOver({ state, delivered, reason }: TaskView): boolean {
  return ENDED.has(state) && (state !== "completed" || delivered || reason !== null);
}

function taskIdIn(params: unknown): string {
  return parseWith(taskPath, params, "path").id;
}
