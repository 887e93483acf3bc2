import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";

import { TaskClient } from "../http/task-client.ts";
import { readJsonFile } from "../run/config.ts";
import { join } from "node:path";
import { networkFileSchema } from "./network-files.ts";

export const STATUS_HELP = `symphony status TASK [--dir DIR] [--json]

Says where a task stands.

  --dir DIR    folder of the network (default symphony-demo)
`;

export const EXPORT_HELP = `symphony export TASK [--dir DIR] [--out FILE] [--json]

Writes the task's evidence to one file, <TASK>.symphony, which \`symphony verify\` checks offline.

  --dir DIR    folder of the network (default symphony-demo)
  --out FILE   where to write (default <TASK>.symphony in the current folder)
`;

const OPTIONS = {
  dir: { type: "string", default: "symphony-demo" },
  out: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

async function clientOf(directory: string): Promise<TaskClient> {
  const network = await readJsonFile(join(directory, "network.json"), networkFileSchema);
  return new TaskClient(network.coordinator_url);
}

/** `symphony status`. */
export async function runStatus(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const taskId = onlyTask(positionals, "status");
  const view = await (await clientOf(values.dir)).status(taskId);
  const simulated = view.simulated ? " SIMULATED" : "";
  const reason = view.reason === null ? "" : ` (${view.reason})`;
  io.stdout(
    values.json
      ? `${JSON.stringify(view)}\n`
      : `${view.task_id} ${view.task_class} ${view.state}${reason}${simulated}\n`,
  );
  return EXIT.ok;
}

/** `symphony export`. */
export async function runExport(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: OPTIONS,
  });
  const taskId = onlyTask(positionals, "export");
  const bundle = await (await clientOf(values.dir)).evidence(taskId);
  const path = values.out ?? `${taskId}.symphony`;
  await writeFile(path, bundle);
  io.stdout(
    values.json
      ? `${JSON.stringify({ task_id: taskId, file: path, bytes: bundle.length })}\n`
      : `${path}: ${bundle.length} bytes\n`,
  );
  return EXIT.ok;
}

function onlyTask(positionals: readonly string[], command: string): string {
  const [taskId] = positionals;
  if (taskId === undefined || positionals.length !== 1) {
    throw new UsageError(`${command}: expected one task identifier`);
  }
  return taskId;
}
