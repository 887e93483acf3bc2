import type { FastifyInstance, FastifyReply } from "fastify";

import { LimitError, base64, fromBase64 } from "#protocol";

import {
  addRoute,
  both,
  content,
  fromBody,
  fromBytes,
  fromPath,
  fromQuery,
  json,
  nothing,
  written,
} from "./route.ts";
import {
  afterQuery,
  deliveryAnswer,
  envelopeAnswer,
  isOver,
  signedBody,
  snapshotAnswer,
  takenAnswer,
  taskDryRunSchema,
  taskEventSchema,
  taskPath,
  taskViewSchema,
  type TaskDryRun,
  type TaskEventView,
  type TaskView,
} from "./task-views.ts";

/** What the public routes need of the coordinator. */
export interface TaskRoutesContext {
  readonly submit: (signedRequest: Uint8Array) => Promise<{ readonly taskId: string }>;
  /** What would come of a request. */
  readonly dryRun: (signedQuestion: Uint8Array) => Promise<TaskDryRun>;
  readonly view: (taskId: string) => Promise<TaskView>;
  /** Canonical TASK_ENVELOPE bytes. @throws RefusedError EXECUTION_TASK_UNKNOWN until admission has dispatched it */
  readonly envelope: (taskId: string) => Promise<Uint8Array>;
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

const EVENT_WAIT_MS = 5_000;
/** Event streams at once. */
const STREAMS_MAX = 256;

/** The listener of submitters, auditors and governance. Everything it hands out is signed, sealed or public. */
export function addTaskRoutes(server: FastifyInstance, context: TaskRoutesContext): void {
  addRoute(server, {
    method: "POST",
    path: "/v1/tasks",
    summary: "Submits a signed `task-request`.",
    takes: fromBody(signedBody),
    gives: json(taskViewSchema, 202),
    handle: async ({ signed }) => context.view((await context.submit(fromBase64(signed))).taskId),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/tasks/dry-run",
    summary: "Says what would come of a signed `task-dry-run`, and changes nothing.",
    takes: fromBody(signedBody),
    gives: json(taskDryRunSchema),
    handle: async ({ signed }) => context.dryRun(fromBase64(signed)),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/tasks/:id",
    summary: "Says where a task stands, or the sub-task `ID.rN` of its round N.",
    takes: fromPath(taskPath),
    gives: json(taskViewSchema),
    handle: async ({ id }) => context.view(id),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/tasks/:id/envelope",
    summary: "Gives what admission bound a task to for good, a `task-envelope`.",
    takes: fromPath(taskPath),
    gives: json(envelopeAnswer),
    handle: async ({ id }) => ({ envelope: base64(await context.envelope(id)) }),
  });
  addOutcomeRoutes(server, context);
  addEventStream(server, context);
  addGovernanceRoutes(server, context);
  addRoute(server, {
    method: "GET",
    path: "/metrics",
    summary: "Gives figures of the coordinator for Prometheus.",
    takes: nothing,
    gives: content("text/plain; version=0.0.4"),
    handle: async () => context.metrics(),
  });
}

/** What a task leaves. */
function addOutcomeRoutes(server: FastifyInstance, context: TaskRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/tasks/:id/result",
    summary: "Gives the sealed result with the Vaults' shares of its key, a `delivery`.",
    takes: fromPath(taskPath),
    gives: json(deliveryAnswer),
    handle: async ({ id }) => ({ delivery: base64(await context.delivery(id)) }),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/tasks/:id/challenge",
    summary: "Opens a signed `challenge` of a task in settlement.",
    takes: both(fromPath(taskPath), fromBody(signedBody)),
    gives: json(takenAnswer, 202),
    handle: async ([{ id }, { signed }]) => {
      await context.openChallenge(id, fromBase64(signed));
      return { status: "opened" } as const;
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/evidence/:id",
    summary: "Gives a task's evidence file, to be verified offline.",
    takes: fromPath(taskPath),
    gives: content("application/octet-stream"),
    handle: async ({ id }) => Buffer.from(await context.evidence(id)),
  });
}

const ARTIFACT_BYTES_MAX = 16 * 1024 * 1024;

function addGovernanceRoutes(server: FastifyInstance, context: TaskRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/snapshot",
    summary: "Gives the longest governance log that a quorum of Vaults has cosigned.",
    takes: nothing,
    gives: json(snapshotAnswer),
    handle: async () => ({ snapshot: base64(context.governanceSnapshot()) }),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/governance/events",
    summary: "Adds a `governance-event`, signed by a quorum, to the governance log.",
    takes: fromBody(signedBody),
    gives: json(takenAnswer, 202),
    handle: async ({ signed }) => {
      await context.submitGovernanceEvent(fromBase64(signed));
      return { status: "accepted" } as const;
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/governance/artifacts",
    summary: "Uploads a model whose digest governance has registered.",
    takes: fromBytes("application/octet-stream"),
    gives: json(takenAnswer, 202),
    bodyBytesMax: ARTIFACT_BYTES_MAX,
    handle: async (body) => {
      const bytes = body instanceof Uint8Array ? body : new Uint8Array(0);
      await context.uploadArtifact(new Uint8Array(bytes));
      return { status: "accepted" } as const;
    },
  });
}

/** Server-sent events: the task's signed log entries from `after` on, until the task has ended and is delivered. */
function addEventStream(server: FastifyInstance, context: TaskRoutesContext): void {
  let streams = 0;
  addRoute(server, {
    method: "GET",
    path: "/v1/tasks/:id/events",
    summary: "Streams the task's events from `after` on, until nothing more can happen to it.",
    takes: both(fromPath(taskPath), fromQuery(afterQuery)),
    gives: written("text/event-stream", taskEventSchema),
    handle: async ([{ id }, { after }], reply) => {
      await context.view(id);
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
      await streamEvents(reply.raw, context, { taskId: id, after });
    },
  });
}

async function streamEvents(
  stream: FastifyReply["raw"],
  context: TaskRoutesContext,
  from: { readonly taskId: string; readonly after: number },
): Promise<void> {
  const { taskId } = from;
  let { after } = from;
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
}
