import {
  SymphonyError,
  governanceOnceOf,
  roundsOf,
  type ErrorCode,
  type GovernanceState,
  type TaskEnvelope,
} from "#protocol";
import { requireEnvelope } from "../../execution/index.ts";
import {
  collectRounds,
  reduceMessage,
  verifyExecution,
  type VerifiedExecution,
} from "../../settlement/index.ts";
import type { TaskRow } from "../../tasks/index.ts";
import type { PipelineContext } from "./context.ts";

/** Everything an outsider could verify of the task's rounds, from the board alone, under one governance state. */
export async function verifiedExecution(
  context: PipelineContext,

  envelope: TaskEnvelope,
  governance: GovernanceState,
): Promise<VerifiedExecution> {
  const messages = [];
  for (let round = 0; round < roundsOf(envelope); round += 1) {
    for (const { message } of await context.execution.messages(envelope.task_id, round)) {
      const reduced = reduceMessage(message);
      if (reduced !== null) messages.push(reduced);
    }
  }
  return verifyExecution({
    envelope,
    governance,
    anchors: context.anchors,
    rounds: collectRounds(messages, envelope),
  });
}

/** Verifies the result of a task in `verifying`, and moves it on or rejects it. */
export async function verify(context: PipelineContext, row: TaskRow): Promise<void> {
  const { register, coordinatorId } = context;
  const envelope = requireEnvelope(row);
  const governanceSize = context.governanceSnapshot().events.length;
  let code: ErrorCode | null = null;
  try {
    await verifiedExecution(context, envelope, context.governanceAt(governanceSize));
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    code = error.code;
  }
  for (const subTask of await register.subTasks(row.task_id)) {
    if (subTask.state !== "verifying") continue;
    await register.transition(
      subTask.task_id,
      code === null
        ? { to: "awaiting_settlement", actorId: coordinatorId }
        : { to: "rejected", actorId: coordinatorId, reason: code },
    );
  }
  await register.transition(
    row.task_id,
    code === null
      ? {
          to: "awaiting_settlement",
          actorId: coordinatorId,
          governanceSize,
          deadlineMs: context.nowMs() + vaultTimeoutMs(context, envelope),
        }
      : { to: "rejected", actorId: coordinatorId, reason: code },
  );
}

function vaultTimeoutMs(context: PipelineContext, envelope: TaskEnvelope): number {
  const { policy } = governanceOnceOf(context.governanceState(), envelope);
  return policy.multi_vault.per_vault_timeout_ms;
}
