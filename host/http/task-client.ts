import {
  EVIDENCE_BYTES_MAX,
  GOVERNANCE_SNAPSHOT,
  UnavailableError,
  base64,
  fromBase64,
  utf8Text,
  verifyGovernanceSnapshot,
  type GovernanceState,
} from "#protocol";
import { z } from "zod";

import { readBounded } from "./bounded-body.ts";
import {
  deliveryAnswer,
  snapshotAnswer,
  taskDryRunSchema,
  taskEventSchema,
  taskViewSchema,
  type TaskDryRun,
  type TaskEventView,
  type TaskView,
} from "./task-views.ts";

const REQUEST_MS_MAX = 30_000;
/** A delivery of 34 MiB as base64 is the largest answer. */
const JSON_BYTES_MAX = 48 * 1024 * 1024;

const problemSchema = z.object({
  code: z.string().default("INTERNAL_UNEXPECTED"),
  detail: z.string(),
});

/** A refusal by the server, with its SCP code and its words. */
export class RemoteProblem extends Error {
  readonly code: string;
  readonly status: number;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.name = "RemoteProblem";
    this.code = code;
    this.status = status;
  }
}

/** The coordinator as submitters, auditors and governance use it. */
export class TaskClient {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async submit(signedRequest: Uint8Array): Promise<TaskView> {
    return taskViewSchema.parse(await this.#postSigned("/v1/tasks", signedRequest));
  }

  /** What would come of a request, asked with a signed `task-dry-run`. Changes nothing. */
  async dryRun(signedQuestion: Uint8Array): Promise<TaskDryRun> {
    return taskDryRunSchema.parse(await this.#postSigned("/v1/tasks/dry-run", signedQuestion));
  }

  async status(taskId: string): Promise<TaskView> {
    return taskViewSchema.parse(await this.#json(`/v1/tasks/${encodeURIComponent(taskId)}`));
  }

  /** Canonical DELIVERY bytes of a finished task. */
  async delivery(taskId: string): Promise<Uint8Array> {
    const body = await this.#json(`/v1/tasks/${encodeURIComponent(taskId)}/result`);
    return fromBase64(deliveryAnswer.parse(body).delivery);
  }

  async evidence(taskId: string): Promise<Uint8Array> {
    const response = await this.#fetch(`/v1/evidence/${encodeURIComponent(taskId)}`, {});
    return readBounded(response, EVIDENCE_BYTES_MAX);
  }

  async challenge(taskId: string, signedChallenge: Uint8Array): Promise<void> {
    await this.#postSigned(`/v1/tasks/${encodeURIComponent(taskId)}/challenge`, signedChallenge);
  }

  async submitGovernanceEvent(event: Uint8Array): Promise<void> {
    await this.#postSigned("/v1/governance/events", event);
  }

  async uploadArtifact(bytes: Uint8Array): Promise<void> {
    await this.#fetch("/v1/governance/artifacts", {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: Buffer.from(bytes),
    });
  }

  /** The governance state, verified against the pinned genesis. */
  async governance(genesisDigest: Uint8Array): Promise<GovernanceState> {
    const body = await this.#json("/v1/governance/snapshot");
    const { snapshot } = snapshotAnswer.parse(body);
    return verifyGovernanceSnapshot(
      GOVERNANCE_SNAPSHOT.decode(fromBase64(snapshot)),
      genesisDigest,
    );
  }

  /** The task's events as they happen, until it has ended and is delivered. */
  async *events(taskId: string, signal: AbortSignal): AsyncGenerator<TaskEventView> {
    const url = `${this.#url}/v1/tasks/${encodeURIComponent(taskId)}/events`;
    const response = await fetch(url, { signal });
    if (!response.ok || response.body === null) throw await problemFrom(response);
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
        text = text.slice(end + 2);
        if (data !== undefined) yield taskEventSchema.parse(JSON.parse(data));
      }
    }
  }

  async #postSigned(path: string, signed: Uint8Array): Promise<unknown> {
    return this.#json(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ signed: base64(signed) }),
    });
  }

  async #json(path: string, init: RequestInit = {}): Promise<unknown> {
    const body = await readBounded(await this.#fetch(path, init), JSON_BYTES_MAX);
    return JSON.parse(utf8Text(body));
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.#url}${path}`, {
        ...init,
        redirect: "error",
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      });
    } catch (cause) {
      throw new UnavailableError(
        { code: "COORDINATION_UNAVAILABLE", url: this.#url },
        `coordinator: expected an answer at ${this.#url}, got none`,
        { cause },
      );
    }
    if (!response.ok) throw await problemFrom(response);
    return response;
  }
}

async function problemFrom(response: Response): Promise<RemoteProblem> {
  const parsed = problemSchema.safeParse(await response.json().catch(() => undefined));
  return parsed.success
    ? new RemoteProblem(response.status, parsed.data.code, parsed.data.detail)
    : new RemoteProblem(response.status, "INTERNAL_UNEXPECTED", `status ${response.status}`);
}
