import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import { TASK_DRY_RUN, TASK_REQUEST, type TaskResult } from "#protocol";
import { openDelivery } from "../delivery/index.ts";
import { requestOf } from "../http/request-file.ts";
import { TaskClient } from "../http/task-client.ts";
import { followTask } from "./follow-task.ts";
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
  if (values.out !== undefined && !values.wait) {
    throw new UsageError("--out: expected --wait with it, for a model comes at the task's end");
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
