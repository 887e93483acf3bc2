import type {
  ComputeParameters,
  TaskParameters,
  TrainParameters,
} from "../../protocol/task-parameters.ts";
import type { DemoPlan } from "../../sim/network/plan.ts";

/** The parameters of the plan's train task; digests of models are zeros. */
export function trainParametersOf(plan: DemoPlan): TrainParameters {
  const parameters = parametersOf(plan).find((each) => each.task_class === "train");
  if (parameters?.task_class !== "train") throw new Error("plan: expected a train task");
  return parameters;
}

/** The parameters of the plan's compute task; digests of models are zeros. */
export function computeParametersOf(plan: DemoPlan): ComputeParameters {
  const parameters = parametersOf(plan).find((each) => each.task_class === "compute");
  if (parameters?.task_class !== "compute") throw new Error("plan: expected a compute task");
  return parameters;
}

function parametersOf(plan: DemoPlan): TaskParameters[] {
  const context = { records: () => [], model: () => new Uint8Array(32) };
  return plan.tasks.map((task) => task.parameters(context));
}
