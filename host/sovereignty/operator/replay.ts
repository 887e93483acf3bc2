import { identifier, parseEvent, taskClass, unixMs, usageScope, type LogEvent } from "#protocol";
import { z } from "zod";

import { covers, type AccessAsked } from "../access/covers.ts";
import { accessGrantSchema, revocationSchema, type AccessGrant } from "../access/grants.ts";
import type { VaultContext } from "../vault-context.ts";
import { DECIDED } from "./audit-index.ts";

const PAGE_EVENTS = 1_000;
/** Differences that a report lists; it counts all. */
const DIFFERENCES_MAX = 100;

/** Where the log's own grants do not lead to what was decided. */
export interface ReplayDifference {
  readonly sequence: number;
  readonly type: string;
  readonly task_id: string | null;
  /** The grant that the decision names; null when it says that there was none. */
  readonly decided: string | null;
  /** The grants that covered it by the log; for one of a task whose admission is not in the log, none. */
  readonly covering: readonly string[];
}

/** What came of replaying every authorization of a log (AZ-2). */
export interface ReplayReport {
  readonly events: number;
  readonly decisions: number;
  readonly differences: number;
  /** The first 100. */
  readonly listed: readonly ReplayDifference[];
}

/** Fields that decisions carry since schema version 3 are optional: before, the event's own time stands for them. */
const decidedBody = z.object({
  actor_id: identifier,
  task_class: taskClass,
  domain_id: identifier.optional(),
  record_scope: identifier,
  usage_scope: usageScope,
  judged_ms: unixMs.optional(),
  grant_id: identifier.nullable(),
});
const executingBody = z.object({
  grant_id: identifier.optional(),
  authorized_ms: unixMs.optional(),
});
const releasedBody = z.object({ grant_id: identifier.optional() });

type Asked = Omit<AccessAsked, "domain_id" | "atMs"> & { readonly domain_id: string | undefined };

/**
 * Recomputes every authorization from a log's events alone, in order: `grant.added` and `grant.revoked` say which
 * grants stand; `authorization.decided`, `budget.executing` and `share.released` say what rested on which. A decision
 * agrees when its grant covered it at the time it was judged, and one without a grant when none did.
 */
export class AuthorizationReplay {
  readonly #grants = new Map<string, AccessGrant>();
  /** What open tasks asked for. */
  readonly #tasks = new Map<string, Asked & { readonly grantId: string | null }>();
  readonly #listed: ReplayDifference[] = [];
  #events = 0;
  #decisions = 0;
  #differences = 0;

  /** Takes the next event of the log. @throws MalformedError for an event whose body is not of its type */
  take(event: LogEvent): void {
    this.#events += 1;
    switch (event.type) {
      case "grant.added": {
        const grant = accessGrantSchema.parse(event.body);
        this.#grants.set(grant.grant_id, grant);
        return;
      }
      case "grant.revoked":
        this.#grants.delete(revocationSchema.parse(event.body).grant_id);
        return;
      case DECIDED:
        return this.#decided(event);
      case "budget.executing":
        return this.#executing(event);
      case "share.released":
        this.#released(event);
        return this.#forget(event);
      case "budget.released":
        return this.#forget(event);
    }
  }

  report(): ReplayReport {
    const [events, decisions, differences] = [this.#events, this.#decisions, this.#differences];
    return { events, decisions, differences, listed: this.#listed };
  }

  #decided(event: LogEvent): void {
    const { judged_ms: judgedMs, grant_id: grantId, ...asked } = decidedBody.parse(event.body);
    const { domain_id, ...rest } = asked;
    const task = { ...rest, domain_id, grantId };
    if (event.task_id !== null && grantId !== null) this.#tasks.set(event.task_id, task);
    const covering = this.#covering(task, judgedMs ?? event.time_ms);
    const agrees = grantId === null ? covering.length === 0 : covering.includes(grantId);
    this.#count(event, { agrees, decided: grantId, covering });
  }

  #executing(event: LogEvent): void {
    const { grant_id, authorized_ms } = executingBody.parse(event.body);
    const task = this.#tasks.get(event.task_id ?? "");
    const decided = grant_id ?? task?.grantId ?? null;
    const covering = task === undefined ? [] : this.#covering(task, authorized_ms ?? event.time_ms);
    const agrees = decided !== null && decided === task?.grantId && covering.includes(decided);
    this.#count(event, { agrees, decided, covering });
  }

  /** A delivery needs a grant that has not been revoked; its window was for the work. */
  #released(event: LogEvent): void {
    const { grant_id } = releasedBody.parse(event.body);
    const task = this.#tasks.get(event.task_id ?? "");
    const decided = grant_id ?? task?.grantId ?? null;
    const stands = decided !== null && decided === task?.grantId && this.#grants.has(decided);
    this.#count(event, { agrees: stands, decided, covering: stands ? [decided] : [] });
  }

  /** Nothing rests on an admission any more that was given back or whose result was delivered. */
  #forget({ task_id }: LogEvent): void {
    if (task_id !== null) this.#tasks.delete(task_id);
  }

  #covering(asked: Asked, atMs: number): string[] {
    const covering: string[] = [];
    for (const grant of this.#grants.values()) {
      const domain_id = asked.domain_id ?? grant.domain_id;
      if (covers(grant, { ...asked, domain_id, atMs })) covering.push(grant.grant_id);
    }
    return covering;
  }

  #count(
    { sequence, type, task_id }: LogEvent,
    { agrees, ...found }: Pick<ReplayDifference, "decided" | "covering"> & { agrees: boolean },
  ): void {
    this.#decisions += 1;
    if (agrees) return;
    this.#differences += 1;
    if (this.#listed.length < DIFFERENCES_MAX)
      this.#listed.push({ sequence, type, task_id, ...found });
  }
}

/** Replays the Vault's own log, page by page. */
export async function replayAuthorizations({ log }: VaultContext): Promise<ReplayReport> {
  const replay = new AuthorizationReplay();
  const size = log.size;
  for (let from = 0; from < size; from += PAGE_EVENTS) {
    const page = await log.entries(from, Math.min(from + PAGE_EVENTS, size));
    for (const { event } of page) replay.take(parseEvent(event));
  }
  return replay.report();
}
