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
import type { TaskEventView, TaskView } from "./task-routes.ts";

const REQUEST_MS_MAX = 30_000;
/** A delivery of 34 MiB as base64 is the largest answer. */
const JSON_BYTES_MAX = 48 * 1024 * 1024;

const taskViewSchema = z.object({
  task_id: z.string(),
  task_class: z.string(),
  state: z.string(),
  reason: z.string().nullable(),
  epoch_id: z.number(),
  policy_version: z.string(),
  rounds: z.number(),
  delivered: z.boolean(),
  simulated: z.boolean(),
});

const dryRunSchema = z.object({
  outcome: z.enum(["admissible", "refused"]),
  faults: z.array(z.object({ step: z.string(), code: z.string(), detail: z.string() })),
  not_judged: z.array(z.string()),
  policy_version: z.string(),
  semantic_version: z.string(),
  epoch_id: z.number(),
  meaning: z
    .object({
      operator: z.string(),
      attribute_ids: z.array(z.string()),
      operands: z.array(
        z.object({
          kind: z.string(),
          domain_id: z.string(),
          id: z.string(),
          semantic_version: z.string(),
          rule_id: z.string().nullable(),
          epsilon_micro: z.number(),
        }),
      ),
      derivation_rule_refs: z.array(z.string()),
      combined_privacy_class: z.number(),
      minimum_result_cardinality: z.number(),
    })
    .nullable(),
  cost: z
    .object({
      price_micro: z.number(),
      charged_micro: z.number(),
      rounds: z.number(),
      reward_max_minor: z.number(),
      lock_minor: z.number(),
    })
    .nullable(),
});

/** What would come of a request, as the coordinator answers a `task-dry-run`. */
export type TaskDryRun = z.infer<typeof dryRunSchema>;

const eventSchema = z.object({
  sequence: z.number(),
  time_ms: z.number(),
  type: z.string(),
  body: z.unknown(),
});

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
    return dryRunSchema.parse(await this.#postSigned("/v1/tasks/dry-run", signedQuestion));
  }

  async status(taskId: string): Promise<TaskView> {
    return taskViewSchema.parse(await this.#json(`/v1/tasks/${encodeURIComponent(taskId)}`));
  }

  /** Canonical DELIVERY bytes of a finished task. */
  async delivery(taskId: string): Promise<Uint8Array> {
    const body = await this.#json(`/v1/tasks/${encodeURIComponent(taskId)}/result`);
    return fromBase64(z.object({ delivery: z.string() }).parse(body).delivery);
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
    const { snapshot } = z.object({ snapshot: z.string() }).parse(body);
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
        if (data !== undefined) yield eventSchema.parse(JSON.parse(data));
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
