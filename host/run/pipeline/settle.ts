import {
  SETTLEMENT_ENTRY,
  SETTLEMENT_PROOF,
  SymphonyError,
  TASK_ENVELOPE,
  TASK_LIFECYCLE,
  type ChallengeResolution,
  type ErrorCode,
  type TaskEnvelope,
} from "#protocol";
import { requireEnvelope } from "../../execution/index.ts";
import type { FinishedWork } from "../../queue/index.ts";
import { verifyConsumption } from "../../settlement/index.ts";
import type { TaskRow } from "../../tasks/index.ts";
import { SETTLE_MS_MAX, answersOf, type PipelineContext } from "./context.ts";
import { roundResults } from "./deliver.ts";
import { verifiedExecution } from "./verify.ts";

/** Ends a task whose settlement is final; its lock pays what its rewards came to. One that a challenge overturned is rejected. */
export async function complete(context: PipelineContext, taskId: string): Promise<void> {
  const { register, settlement, coordinatorId } = context;
  const challenge = await settlement.challengeOf(taskId);
  if (challenge?.resolution === "approved") {
    const challenged = await register.get(taskId);
    if (!TASK_LIFECYCLE.isTerminal(challenged.state)) await overturn(context, challenged);
    return;
  }
  for (const subTask of await register.subTasks(taskId)) {
    if (subTask.state !== "awaiting_settlement") continue;
    await register.transition(subTask.task_id, { to: "completed", actorId: coordinatorId });
  }
  const row = await register.get(taskId);
  if (row.state !== "awaiting_settlement") return;
  const rewardedMinor = rewardsIn(await settlement.proofFor(taskId));
  await register.transition(taskId, { to: "completed", actorId: coordinatorId, rewardedMinor });
  await leaveEpoch(context, taskId);
}

/** What has ended is deferred to no later epoch. */
export async function leaveEpoch(context: PipelineContext, taskId: string): Promise<void> {
  const { register, resolveEpoch } = context;
  const subTasks = await register.subTasks(taskId);
  for (const { task_id } of subTasks) await resolveEpoch(task_id);
  await resolveEpoch(taskId);
}

/** Asks the Vaults to commit what was consumed, then hands the task to settlement. */
export async function collectConsumption(context: PipelineContext, row: TaskRow): Promise<void> {
  const { queue, settlement, nowMs } = context;
  const envelope = requireEnvelope(row);
  if (await settlement.knows(row.task_id)) return followSettlement(context, row);
  const asked = await queue.workOf(row.task_id, "settle");
  if (asked.length < envelope.authorization_context.length) {
    await askSettle(context, row, envelope);
    return;
  }
  const waiting = asked.some(({ done }) => !done);
  if (waiting && nowMs() < row.deadline_ms) return;
  if (await settle(context, row, asked)) return;
  if (nowMs() >= envelope.admission_timestamp + envelope.task_timeout) await giveUp(context, row);
}

/** Where settlement has a candidate, the task follows it: what was decided there may not have been told here. */
async function followSettlement(context: PipelineContext, row: TaskRow): Promise<void> {
  const { register, settlement } = context;
  const challenge = await settlement.challengeOf(row.task_id);
  if (challenge !== null && challenge.resolution === null) {
    const by = { actorId: challenge.challenger, role: "verifier" } as const;
    await register.transition(row.task_id, { to: "challenged", ...by });
    return;
  }
  // It was closed at its deadline, and governance decided after all.
  if (challenge?.resolution === "approved") return overturn(context, row);
  if (await settlement.isFinal(row.task_id)) await complete(context, row.task_id);
}

/** A task challenged without a challenge is one that was given up. */
export async function followChallenge(context: PipelineContext, row: TaskRow): Promise<void> {
  const challenge = await context.settlement.challengeOf(row.task_id);
  if (challenge === null) return giveUp(context, row);
  if (challenge.resolution === null) return;
  const { resolution } = challenge;
  await endChallenged(context, row, { resolution, reason: "VERIFY_RESULT_REJECTED" });
}

/** Hands the task to settlement with every consumption record that holds. @returns whether there were enough */
async function settle(
  context: PipelineContext,

  row: TaskRow,
  asked: readonly FinishedWork[],
): Promise<boolean> {
  const envelope = requireEnvelope(row);
  const governance = context.governanceAt(row.governance_size ?? 0);
  const execution = await verifiedExecution(context, envelope, governance);
  const records = answersOf(asked).filter((record) => {
    try {
      verifyConsumption(execution, [record], governance);
      return true;
    } catch (error) {
      if (error instanceof SymphonyError) return false;
      throw error;
    }
  });
  if (records.length < (envelope.coordination_envelope?.minimum_vault_quorum ?? 1)) return false;
  await context.settlement.candidate(execution, records);
  return true;
}

async function overturn(context: PipelineContext, row: TaskRow): Promise<void> {
  await endChallenged(context, row, { resolution: "approved", reason: "VERIFY_RESULT_REJECTED" });
}

/** A task that cannot settle in its time is challenged, and the challenge approved (design, section 3). */
async function giveUp(context: PipelineContext, row: TaskRow): Promise<void> {
  await endChallenged(context, row, { resolution: "approved", reason: "EXECUTION_TIMED_OUT" });
}

async function endChallenged(
  context: PipelineContext,

  row: TaskRow,
  end: { readonly resolution: ChallengeResolution; readonly reason: ErrorCode },
): Promise<void> {
  const { resolution, reason } = end;
  const { register, coordinatorId } = context;
  const by = { actorId: coordinatorId, role: "governance" } as const;
  if (resolution !== "approved") {
    await register.transition(row.task_id, { ...by, resolution, to: "awaiting_settlement" });
    return;
  }
  const rounds = (await register.subTasks(row.task_id)).filter(
    ({ state }) => !TASK_LIFECYCLE.isTerminal(state),
  );
  for (const { task_id: taskId, state } of [...rounds, row]) {
    if (state !== "challenged") await register.transition(taskId, { ...by, to: "challenged" });
    await register.transition(taskId, { ...by, resolution, to: "rejected", reason });
  }
}

async function askSettle(
  context: PipelineContext,
  row: TaskRow,
  envelope: TaskEnvelope,
): Promise<void> {
  const bundles = (await roundResults(context, envelope)).map(({ signedBundle }) => signedBundle);
  for (const { vault_id: vaultId } of envelope.authorization_context) {
    await context.issuer.issue({
      workId: `${row.task_id}:settle:${vaultId}`,
      actorId: vaultId,
      taskId: row.task_id,
      timeoutMs: SETTLE_MS_MAX,
      work: { kind: "settle", envelope: TASK_ENVELOPE.encode(envelope), bundles },
    });
  }
}

/** What a finalized settlement awards for its task, minor units. */
function rewardsIn(proof: Uint8Array): number {
  const { accounting } = SETTLEMENT_ENTRY.decode(SETTLEMENT_PROOF.decode(proof).entry);
  return accounting
    .filter(({ kind }) => kind === "reward")
    .reduce((sum, { amount_minor: amount }) => sum + amount, 0);
}
