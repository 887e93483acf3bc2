import { join } from "node:path";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import { EVIDENCE_BYTES_MAX, fromHex, type Operand } from "#protocol";

import { RemoteProblem, TaskClient } from "../../http/task-client.ts";
import type { TaskView } from "../../http/task-views.ts";
import { ADMISSION_STEPS } from "../../requests/index.ts";
import { readJsonFile } from "../../run/config.ts";
import { readBoundedFile } from "../bounded-file.ts";
import { networkFileSchema } from "../network-files.ts";
import { explainTask, type ExplainedOperand, type Explanation } from "./explanation.ts";

export const EXPLAIN_HELP = `symphony explain TASK [--file FILE] [--dir DIR] [--json]

Says how a task was resolved, priced and judged: what each operand's name stood for, by which rule and how finely; what
it had to cost, what was reserved and consumed; under which policy, semantics and epoch. Of a task without evidence, as
one that was refused, it says which steps of admission refuse with its code.

  --file FILE  evidence that \`symphony export\` wrote, instead of the coordinator's
  --dir DIR    folder of the network (default symphony-demo)
  --json       one JSON object on standard output

What it says is checked against the genesis; whether the whole file holds is what \`symphony verify\` says.
`;

/** A task without evidence: how it stands, and the steps of admission that refuse with its code. */
interface Standing {
  readonly task: TaskView;
  readonly refusing_steps: readonly { readonly step: string; readonly holds: string }[];
}

/** `symphony explain`. */
export async function runExplain(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      file: { type: "string" },
      dir: { type: "string", default: "symphony-demo" },
      json: { type: "boolean", default: false },
    },
  });
  const [taskId, ...more] = positionals;
  if (more.length > 0 || (taskId === undefined) === (values.file === undefined)) {
    throw new UsageError("explain: expected one task identifier, or --file");
  }
  const network = await readJsonFile(join(values.dir, "network.json"), networkFileSchema);
  const found = await (values.file === undefined
    ? evidenceOf(new TaskClient(network.coordinator_url), taskId ?? "")
    : readBoundedFile(values.file, { subject: "evidence", bytesMax: EVIDENCE_BYTES_MAX }));
  if (!(found instanceof Uint8Array)) {
    io.stdout(values.json ? `${JSON.stringify(found)}\n` : standingText(found));
    return EXIT.ok;
  }
  const explanation = explainTask(found, fromHex(network.genesis_digest));
  io.stdout(values.json ? `${JSON.stringify(explanation)}\n` : explanationText(explanation));
  return EXIT.ok;
}

/** The task's evidence, or how it stands while there is none. */
async function evidenceOf(client: TaskClient, taskId: string): Promise<Uint8Array | Standing> {
  const task = await client.status(taskId);
  try {
    return await client.evidence(taskId);
  } catch (error) {
    if (!(error instanceof RemoteProblem)) throw error;
    const steps = ADMISSION_STEPS.filter(({ refuses }) =>
      refuses.some((code) => code === task.reason),
    );
    return { task, refusing_steps: steps.map(({ name, holds }) => ({ step: name, holds })) };
  }
}

function standingText({ task, refusing_steps }: Standing): string {
  const { task_id, task_class, state, reason, policy_version, epoch_id } = task;
  const lines = [
    `${task_id} ${task_class} ${state}${reason === null ? "" : ` (${reason})`}`,
    `  bound to policy ${policy_version}, epoch ${epoch_id}; there is no evidence to explain it by`,
    ...refusing_steps.map(({ step, holds }) => `  ${reason} is refused at ${step}: ${holds}`),
  ];
  return `${lines.join("\n")}\n`;
}

function explanationText({ meaning, price, bound, settlement, ...task }: Explanation): string {
  const { policy_version, semantic_version, epoch_id } = bound;
  const lines = [
    `${task.task_id} ${task.task_class}`,
    `bound to policy ${policy_version}, semantics ${semantic_version}, epoch ${epoch_id}, ` +
      `admitted ${new Date(bound.admitted_ms).toISOString()}`,
    `meaning: ${meaning.operator} over ${meaning.record_scope} for ${meaning.usage_scope}, ` +
      `privacy class ${meaning.combined_privacy_class}, ` +
      `at least ${meaning.minimum_result_cardinality} subjects`,
    ...meaning.operands.map(operandText),
    `price: at least ${price.least_epsilon_micro} micro-epsilon, ` +
      `offered ${price.offered_epsilon_micro}`,
    ...price.vaults.map(
      (vault) =>
        `  ${vault.vault_id} by grant ${vault.grant_id}: reserved ${vault.reserved_epsilon_micro}, ` +
        `consumed ${vault.consumed_epsilon_micro ?? "nothing that it said"}`,
    ),
    `settled in epoch ${settlement.epoch_id}`,
    ...settlement.accounting.map(
      ({ actor_id, kind, amount_minor, reason }) =>
        `  ${actor_id}: ${kind} of ${amount_minor} for ${reason}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}

function operandText(operand: ExplainedOperand): string {
  const { name, asks, domain_id, rule, granularity, sources } = operand;
  const how =
    rule === null
      ? "as it is registered"
      : `by rule ${rule.rule_id} (${rule.transform}) from ${sources.join(", ")}`;
  return (
    `  ${name} ${asks === null ? "" : `${asksText(asks)} `}of ${domain_id}@` +
    `${operand.semantic_version}, ${how}, granularity ${granularity}, ` +
    `class ${operand.privacy_class}, ${operand.epsilon_micro} micro-epsilon`
  );
}

function asksText(operand: Operand): string {
  switch (operand.op) {
    case "eq":
      return `= ${operand.value}`;
    case "in":
      return `in ${operand.values.join(", ")}`;
    case "range":
      return `in [${operand.min}, ${operand.max})`;
  }
}
