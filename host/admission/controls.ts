import type { GovernanceState, TaskRequest } from "#protocol";
import { fundsMinor } from "../requests/index.ts";
import type { AdmissionControls } from "../tasks/index.ts";

/** What the active policy holds a request to, beside other tasks (PV-1). */
export function controlsOf(request: TaskRequest, state: GovernanceState): AdmissionControls {
  const { admission } = state.policy;
  const { actor_id: actorId, task_class: taskClass } = request;
  const { actor_tasks_max: tasksMax, window_ms: windowMs } = admission.rate_limits[taskClass];
  const amountMinor = request.budget_lock_minor;
  return {
    ...{ actorId, taskClass, requestId: request.request_id },
    rate: { tasksMax, windowMs },
    runningMax: admission.concurrent_tasks_max,
    actorRunningMax: admission.actor_concurrent_tasks_max,
    lock: taskClass === "parse" ? null : { amountMinor, fundsMinor: fundsMinor(state, actorId) },
  };
}
