import {
  EVIDENCE_BYTES_MAX,
  GOVERNANCE_SNAPSHOT,
  UnavailableError,
  base64,
  fromBase64,
  utf8Text,
  verifyGovernanceSnapshot,
  type CandidateSubject,
  type CandidateWindow,
  type GovernanceState,
} from "#protocol";
import { z } from "zod";

import { actorViewSchema } from "./actor-views.ts";
import { readBounded } from "./bounded-body.ts";
import {
  candidateReportAnswer,
  candidatesAnswer,
  type CandidateReportView,
  type CandidatesView,
} from "./candidate-views.ts";
import {
  epochSchema,
  governanceStateSchema,
  policyVersionSchema,
  proposalSchema,
  type EpochView,
  type GovernanceView,
  type PolicyVersionView,
  type ProposalStanding,
} from "./governance-views.ts";
import {
  deliveryAnswer,
  envelopeAnswer,
  snapshotAnswer,
  taskDryRunSchema,
  taskEventSchema,
  taskViewSchema,
  type TaskDryRun,
  type TaskEventView,
  type TaskView,
} from "./task-views.ts";

/** How long a call may take, milliseconds, and what ends it sooner. */
export interface ClientLimits {
  /** Half a minute when absent. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

const REQUEST_MS_MAX = 30_000;
/** A delivery of 34 MiB as base64 is the largest answer. */
const JSON_BYTES_MAX = 48 * 1024 * 1024;

/** Candidates of one attribute that are read. */
const CANDIDATES_READ_MAX = 1_000;

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
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal | undefined;

  constructor(url: string, limits: ClientLimits = {}) {
    this.#url = url;
    this.#deadlineMs = limits.deadlineMs ?? REQUEST_MS_MAX;
    this.#signal = limits.signal;
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

  /** Canonical TASK_ENVELOPE bytes of a task that admission has dispatched. */
  async envelope(taskId: string): Promise<Uint8Array> {
    const body = await this.#json(`/v1/tasks/${encodeURIComponent(taskId)}/envelope`);
    return fromBase64(envelopeAnswer.parse(body).envelope);
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

  /** Opens a proposal by its event. */
  async openProposal(event: Uint8Array): Promise<ProposalStanding> {
    return proposalSchema.parse(await this.#postSigned("/v1/governance/proposals", event));
  }

  async vote(proposalId: string, signedVote: Uint8Array): Promise<ProposalStanding> {
    const path = `/v1/governance/proposals/${encodeURIComponent(proposalId)}/votes`;
    return proposalSchema.parse(await this.#postSigned(path, signedVote));
  }

  async proposal(proposalId: string): Promise<ProposalStanding> {
    const path = `/v1/governance/proposals/${encodeURIComponent(proposalId)}`;
    return proposalSchema.parse(await this.#json(path));
  }

  /** The newest proposals, the last first. */
  async proposals(): Promise<readonly ProposalStanding[]> {
    const body = await this.#json("/v1/governance/proposals");
    return z.object({ proposals: z.array(proposalSchema) }).parse(body).proposals;
  }

  /** What Vaults say of columns for one attribute, as the coordinator has it, the oldest first; at most 1 000. */
  async candidates(attributeId: string): Promise<CandidatesView["candidates"]> {
    const all: CandidatesView["candidates"] = [];
    for (let after: number | null = 0; after !== null && all.length < CANDIDATES_READ_MAX;) {
      const query = new URLSearchParams({ attribute_id: attributeId, after: `${after}` });
      const page = await this.#json(`/v1/governance/candidates?${query.toString()}`);
      const { candidates, next } = candidatesAnswer.parse(page);
      all.push(...candidates);
      after = next;
    }
    return all;
  }

  /** What the candidates of one attribute and window come to together. */
  async candidateReport(
    of: CandidateSubject,
    { first_epoch, last_epoch }: CandidateWindow,
  ): Promise<CandidateReportView> {
    const query = new URLSearchParams({
      ...{ domain_id: of.domainId, attribute_id: of.attributeId },
      ...{ first_epoch: `${first_epoch}`, last_epoch: `${last_epoch}` },
      ...(of.exception === null ? {} : { exception: of.exception }),
    });
    const path = `/v1/governance/candidates/report?${query.toString()}`;
    return candidateReportAnswer.parse(await this.#json(path));
  }

  /** Where governance stands, as the coordinator says; see {@link governance} for what is verified. */
  async governanceState(): Promise<GovernanceView> {
    return governanceStateSchema.parse(await this.#json("/v1/governance/state"));
  }

  /** Every policy version there has been. */
  async policies(): Promise<readonly PolicyVersionView[]> {
    const body = await this.#json("/v1/governance/policies");
    return z.object({ policies: z.array(policyVersionSchema) }).parse(body).policies;
  }

  /** A policy version, its document as JSON beside it. */
  async policy(id: string): Promise<PolicyVersionView> {
    const body = await this.#json(`/v1/governance/policies/${encodeURIComponent(id)}`);
    return policyVersionSchema.loose().parse(body);
  }

  /** A page of epochs from number `after` on; `next` is null after the last. */
  async epochs(after = 0): Promise<{ readonly epochs: readonly EpochView[]; next: number | null }> {
    const body = await this.#json(`/v1/governance/epochs?after=${after}`);
    return z.object({ epochs: z.array(epochSchema), next: z.int().nullable() }).parse(body);
  }

  /** A page of signed `governance-event`s from number `after` on; `next` is null after the last. */
  async governanceEvents(
    after = 0,
  ): Promise<{ readonly events: readonly Uint8Array[]; readonly next: number | null }> {
    const body = await this.#json(`/v1/governance/events?after=${after}`);
    const page = z.object({ events: z.array(z.string()), next: z.int().nullable() }).parse(body);
    return { ...page, events: page.events.map(fromBase64) };
  }

  /** The signed checkpoint of the governance log, with the cosignatures there are. */
  async governanceCheckpoint(): Promise<string> {
    const body = await this.#json("/v1/governance/checkpoint");
    return z.object({ checkpoint: z.string() }).parse(body).checkpoint;
  }

  /** Every actor with its keys and its stake, in the order of registration. */
  async actors(): Promise<readonly z.infer<typeof actorViewSchema>[]> {
    const body = await this.#json("/v1/governance/actors");
    return z.object({ actors: z.array(actorViewSchema) }).parse(body).actors;
  }

  /** One actor. */
  async actor(actorId: string): Promise<z.infer<typeof actorViewSchema>> {
    const path = `/v1/governance/actors/${encodeURIComponent(actorId)}`;
    return actorViewSchema.parse(await this.#json(path));
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

  /**
   * The task's events from number `after` on, as they happen, until it has ended and is delivered. May take as long as
   * the task does.
   */
  async *events(
    taskId: string,
    { after = 0, signal }: { readonly after?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<TaskEventView> {
    const path = `/v1/tasks/${encodeURIComponent(taskId)}/events?after=${after}`;
    const response = await this.#open(path, signal);
    let text = "";
    for await (const chunk of this.#chunks(response)) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
        text = text.slice(end + 2);
        if (data !== undefined) yield taskEventSchema.parse(JSON.parse(data));
      }
    }
  }

  /** Begins an answer that has no deadline of its own; `signal` ends it, too. */
  async #open(path: string, signal: AbortSignal | undefined): Promise<Response> {
    const begun = new AbortController();
    const timer = setTimeout(() => begun.abort(), this.#deadlineMs);
    const ends = [begun.signal, this.#signal, signal].filter((each) => each !== undefined);
    try {
      return await this.#ask(path, { signal: AbortSignal.any(ends) });
    } finally {
      clearTimeout(timer);
    }
  }

  async *#chunks(response: Response): AsyncGenerator<string> {
    if (response.body === null) return;
    const decoder = new TextDecoder();
    try {
      for await (const bytes of response.body) yield decoder.decode(bytes, { stream: true });
    } catch (cause) {
      throw this.#unanswered(cause);
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
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    const signal =
      this.#signal === undefined ? deadline : AbortSignal.any([deadline, this.#signal]);
    return this.#ask(path, { ...init, signal });
  }

  async #ask(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.#url}${path}`, { ...init, redirect: "error" });
    } catch (cause) {
      throw this.#unanswered(cause);
    }
    if (!response.ok) throw await problemFrom(response);
    return response;
  }

  /** What a call that got no answer throws: the caller's own reason, if that ended it. */
  #unanswered(cause: unknown): unknown {
    if (this.#signal?.aborted === true) return this.#signal.reason;
    return new UnavailableError(
      { code: "COORDINATION_UNAVAILABLE", url: this.#url },
      `coordinator: expected an answer at ${this.#url}, got none`,
      { cause },
    );
  }
}

async function problemFrom(response: Response): Promise<RemoteProblem> {
  const parsed = problemSchema.safeParse(await response.json().catch(() => undefined));
  return parsed.success
    ? new RemoteProblem(response.status, parsed.data.code, parsed.data.detail)
    : new RemoteProblem(response.status, "INTERNAL_UNEXPECTED", `status ${response.status}`);
}
