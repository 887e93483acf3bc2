import {
  DELIVERY,
  GOVERNANCE_SNAPSHOT,
  TASK_ENVELOPE,
  UnavailableError,
  roundsOf,
  type TaskEnvelope,
} from "#protocol";
import { requireEnvelope, type RoundResult } from "../../execution/index.ts";
import type { TaskRow } from "../../tasks/index.ts";
import { SETTLE_MS_MAX, answersOf, type PipelineContext } from "./context.ts";

/** Results of the rounds that have one, in order. */
export async function roundResults(
  context: PipelineContext,
  envelope: TaskEnvelope,
): Promise<RoundResult[]> {
  const results: RoundResult[] = [];
  for (let round = 0; round < roundsOf(envelope); round += 1) {
    const result = await context.execution.result(envelope, round);
    if (result !== undefined) results.push(result);
  }
  return results;
}

/** Asks for shares of the result key once the settlement is final. */
export async function release(context: PipelineContext, row: TaskRow): Promise<void> {
  if (row.delivered === 1) return;
  const { queue, settlement, issuer, register } = context;
  const envelope = requireEnvelope(row);
  const result = (await roundResults(context, envelope)).at(-1);
  if (result === undefined) return;
  const asked = await queue.workOf(row.task_id, "release");
  if (asked.length < result.outcome.shares.length) {
    const proof = await settlement.proofFor(row.task_id);
    for (const { vault_id: vaultId, sealed } of result.outcome.shares) {
      await issuer.issue({
        workId: `${row.task_id}:release:${vaultId}`,
        actorId: vaultId,
        taskId: row.task_id,
        timeoutMs: SETTLE_MS_MAX,
        work: {
          kind: "release",
          envelope: TASK_ENVELOPE.encode(envelope),
          governance: GOVERNANCE_SNAPSHOT.encode(context.governanceSnapshot()),
          settlement: proof,
          bundle: result.signedBundle,
          sealed_share: sealed,
        },
      });
    }
    return;
  }
  if (asked.some(({ done }) => !done) && context.nowMs() < row.deadline_ms) return;
  if (answersOf(asked).length < result.bundle.share_threshold) {
    const refused = asked.find(({ code }) => code !== null)?.code ?? "DELIVERY_REFUSED";
    if (asked.every(({ done }) => done)) await register.markUndeliverable(row.task_id, refused);
    return;
  }
  await register.markDelivered(row.task_id);
  queue.signals.notify(`task:${row.task_id}`);
}

/** What the submitter opens the result with. @throws UnavailableError DELIVERY_NOT_READY */
export async function delivery(context: PipelineContext, taskId: string): Promise<Uint8Array> {
  const row = await context.register.get(taskId);
  if (row.delivered === 0) {
    throw new UnavailableError(
      { code: "DELIVERY_NOT_READY", state: row.state },
      `result: expected a delivered task, got one ${row.state}`,
    );
  }
  const envelope = requireEnvelope(row);
  const result = (await roundResults(context, envelope)).at(-1);
  const released = await context.queue.workOf(taskId, "release");
  return DELIVERY.encode({
    envelope: TASK_ENVELOPE.encode(envelope),
    execution_bundle: result?.signedBundle ?? new Uint8Array(0),
    settlement: await context.settlement.proofFor(taskId),
    ciphertext: result?.outcome.ciphertext ?? new Uint8Array(0),
    shares: released.flatMap(({ actorId, answer }) =>
      answer === null ? [] : [{ vault_id: actorId, signed: answer }],
    ),
  });
}
