import { RefusedError } from "#protocol";

import { decisionOfTask, sealedBatches } from "../queries.ts";
import { decodePlan } from "../tasks/decision-plan.ts";
import type { VaultContext } from "../vault-context.ts";
import { usesErased } from "./slice-inputs.ts";

/** Whether a task can still be executed again from its sealed inputs. */
export interface Replayability {
  readonly task_id: string;
  readonly replay: "replayable" | "unreplayable: erased";
}

/**
 * Whether what a task was admitted over is all still there, in this Vault.
 *
 * @throws {@link RefusedError} EXECUTION_TASK_UNKNOWN for a task that this Vault did not admit.
 */
export async function replayable({ store }: VaultContext, taskId: string): Promise<Replayability> {
  const decided = await decisionOfTask(store.db, taskId);
  if (decided?.plan === undefined || decided.plan === null) {
    throw new RefusedError(
      { code: "EXECUTION_TASK_UNKNOWN" },
      "task: expected one that this Vault admitted",
    );
  }
  const plan = decodePlan(decided.plan);
  const stored = await sealedBatches(store.db, plan.batch_ids);
  const gone = stored.length !== plan.batch_ids.length || usesErased(plan, stored);
  return { task_id: taskId, replay: gone ? "unreplayable: erased" : "replayable" };
}
