import { hex, type LogEvent } from "#protocol";
import type { TaskEventView } from "../http/index.ts";

/** An event of the coordinator's log as callers see it: bytes become hex. */
export function eventView(event: LogEvent): TaskEventView {
  return {
    sequence: event.sequence,
    time_ms: event.time_ms,
    type: event.type,
    body: plain(event.body),
  };
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
}
