import type { LogEvent } from "#protocol";
import { plainJson, type TaskEventView } from "../http/index.ts";

/** An event of the coordinator's log as callers see it: bytes become hex. */
export function eventView(event: LogEvent): TaskEventView {
  return {
    sequence: event.sequence,
    time_ms: event.time_ms,
    type: event.type,
    body: plainJson(event.body),
  };
}
