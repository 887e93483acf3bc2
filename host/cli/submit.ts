import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { TASK_DRY_RUN, TASK_REQUEST, type TaskResult } from "#protocol";
import { openDelivery } from "../delivery/index.ts";
import { requestOf } from "../http/request-file.ts";
import { TaskClient } from "../http/task-client.ts";
import type { TaskEventView } from "../http/task-views.ts";
import { EXIT, UsageError, type CliIo } from "./io.ts";
import { readSubmitter } from "./network-files.ts";
import { readRequestFile } from "./request-reader.ts";
import { resultLine, resultView } from "./result-view.ts";
import { dryRunLines } from "./submit-dry-run.ts";

export const SUBMIT_HELP = `symphony submit REQUEST [--dir DIR] [--dry-run] [--wait] [--out FILE] [--json]

Signs the task in REQUEST, a file in YAML or JSON, with the submitter's key in DIR/submitter and sends it to the network of DIR.

  --dir DIR    folder of the network (default symphony-demo)
  --dry-run    say what would come of it, and submit nothing
  --wait       follow the task to its end and open the result
  --out FILE   write a delivered model to FILE
  --json       one JSON object on standard output

Exit codes: 0 accepted (with --dry-run: admissible; with --wait: delivered), 1 refused or ended without a result, 2 usage, 3 unavailable.
`;

/** Longest wait for a task, milliseconds; the task's own deadline ends it sooner. */
const FOLLOW_MS_MAX = 15 * 60_000;

/** `symphony submit`. */
export async function runSubmit(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      dir: { type: "string", default: "symphony-demo" },
      "dry-run": { type: "boolean", default: false },
      wait: { type: "boolean", default: false },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [path] = positionals;
  if (path === undefined || positionals.length !== 1) {
    throw new UsageError("submit: expected one REQUEST file");
  }
  const file = await readRequestFile(path);
  const submitter = await readSubmitter(values.dir);
  const request = requestOf(file, {
    actorId: submitter.network.submitter_id,
    genesisDigest: submitter.genesisDigest,
    deliveryKey: submitter.deliveryKey.publicKey,
    requestId: new Uint8Array(randomBytes(16)),
    createdMs: Date.now(),
  });
  const client = new TaskClient(submitter.network.coordinator_url);
  if (values["dry-run"]) {
    const answer = await client.dryRun(TASK_DRY_RUN.sign(request, submitter.signingKey));
    const text = values.json ? JSON.stringify(answer) : dryRunLines(answer).join("\n");
    io.stdout(`${text}\n`);
    return answer.outcome === "admissible" ? EXIT.ok : EXIT.refused;
  }
  const view = await client.submit(TASK_REQUEST.sign(request, submitter.signingKey));
  if (!values.wait) {
    io.stdout(values.json ? `${JSON.stringify(view)}\n` : `${view.task_id} ${view.state}\n`);
    return EXIT.ok;
  }
  return waitForResult(view.task_id, { ...values, client, submitter, io });
}

/** Follows a task, opens what it delivers and tells it. */
async function waitForResult(
  taskId: string,
  args: {
    readonly client: TaskClient;
    readonly submitter: Awaited<ReturnType<typeof readSubmitter>>;
    readonly io: CliIo;
    readonly json: boolean;
    readonly out?: string | undefined;
  },
): Promise<number> {
  const { client, submitter, io, json, out } = args;
  if (!json) io.stdout(`${taskId} accepted\n`);
  const ended = await followTask(client, taskId, (line) => {
    if (!json) io.stdout(`  ${line}\n`);
  });
  if (ended.state !== "completed" || !ended.delivered) {
    io.stdout(
      json
        ? `${JSON.stringify(ended)}\n`
        : `${ended.task_id} ${ended.state}: ${ended.reason ?? "no reason given"}\n`,
    );
    return EXIT.refused;
  }
  const result = await openDelivery({
    delivery: await client.delivery(taskId),
    deliveryKey: submitter.deliveryKey,
    governance: await client.governance(submitter.genesisDigest),
    passedOver: ({ vaultId, code }) =>
      io.stderr(`${vaultId}: its share is not of this result and was passed over: ${code}\n`),
  });
  await writeModel(result, out);
  io.stdout(
    json
      ? `${JSON.stringify({ ...ended, result: resultView(result) })}\n`
      : `${taskId} delivered: ${resultLine(result)}\n`,
  );
  return EXIT.ok;
}

async function writeModel(result: TaskResult, path: string | undefined): Promise<void> {
  if (path === undefined) return;
  if (result.result.kind !== "model") {
    throw new UsageError(`--out: expected a task that delivers a model, got ${result.task_class}`);
  }
  await writeFile(path, result.result.model);
}

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
export function progressLine({ type, body }: TaskEventView): string | undefined {
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
