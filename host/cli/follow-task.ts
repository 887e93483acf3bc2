import type { TaskClient } from "../http/task-client.ts";
import type { TaskEventView } from "../http/task-views.ts";

/** Longest wait for a task, milliseconds; the task's own deadline ends it sooner. */
const FOLLOW_MS_MAX = 15 * 60_000;

/** Follows a task to its end, telling each step once, and returns how it stands then. */
export async function followTask(client: TaskClient, taskId: string, tell: (line: string) => void) {
  const signal = AbortSignal.timeout(FOLLOW_MS_MAX);
  for await (const event of client.events(taskId, { signal })) {
    const line = progressLine(event);
    if (line !== undefined) tell(line);
  }
  return client.status(taskId);
}

/** A step in words, or undefined for steps that people need not see. */
function progressLine({ type, body }: TaskEventView): string | undefined {
  const facts = factsOf(body);
  const round = facts.get("round");
  switch (type) {
    case "task_transition":
      return facts.get("task_id")?.includes(".r") === true
        ? undefined
        : STATE_WORDS[facts.get("to") ?? ""]?.(facts.get("reason") ?? "");
    case "round_message": {
      const word = MESSAGE_WORDS[facts.get("kind") ?? ""];
      return word === undefined
        ? undefined
        : `round ${Number(round) + 1}: ${facts.get("sender") ?? ""} ${word}`;
    }
    case "settlement_finalized":
      return `settled in epoch ${facts.get("epoch_id") ?? ""}`;
    case "task_undeliverable":
      return `not delivered: ${facts.get("reason") ?? ""}`;
    case "task_delivered":
      return "delivered: enough Vaults released their shares";
    default:
      return undefined;
  }
}

const STATE_WORDS: Readonly<Record<string, (reason: string) => string>> = {
  dispatched: () => "admitted by its Vaults",
  verifying: () => "executed, now verifying",
  awaiting_settlement: () => "verified, awaiting settlement",
  challenged: () => "challenged",
  completed: () => "completed",
  rejected: (reason) => `rejected: ${reason}`,
  timed_out: (reason) => `timed out: ${reason}`,
};

const MESSAGE_WORDS: Readonly<Record<string, string>> = {
  slice_attested: "attested its enclave",
  contribution: "recorded executing and signed the work order",
  slice_result: "finished its slice",
  round_result: "aggregated",
  failed: "failed",
};

function factsOf(body: unknown): ReadonlyMap<string, string> {
  if (typeof body !== "object" || body === null) return new Map();
  return new Map(
    Object.entries(body).flatMap(([name, value]) =>
      typeof value === "string" || typeof value === "number" ? [[name, String(value)]] : [],
    ),
  );
}
