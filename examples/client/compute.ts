import type { SymphonyClient, Task } from "symphony/client";

import { run } from "./run.ts";

/** What `examples/compute.json` asks. */
export const TASK: Task = {
  record_scope: "customers",
  usage_scope: "analytics",
  vault_ids: ["greenleaf-grocers", "harbour-bank", "northline-telecom"],
  parameters: {
    task_class: "compute",
    model_digest: "0948d92b53ad24f34e0cedf6d525aa90429d1b1d4cc9df4a243a2192926cf154",
    features: [
      {
        attribute: "age",
        mean_micro: 0,
        scale_micro: 1000000,
        min_micro: 18000000,
        max_micro: 90000000,
      },
      {
        attribute: "balance",
        mean_micro: 0,
        scale_micro: 1000000,
        min_micro: 0,
        max_micro: 10000000000,
      },
      {
        attribute: "visits",
        mean_micro: 0,
        scale_micro: 1000000,
        min_micro: 0,
        max_micro: 60000000,
      },
    ],
    bin_edges_micro: [0, 250000, 500000, 750000, 1000001],
    work_units_max: 10000000,
  },
  epsilon_micro: 1000000,
  budget_lock_minor: 10000,
};

/** How a registered model scores everyone: a noised histogram. */
export async function scoreEveryone(client: SymphonyClient, task: Task = TASK): Promise<string> {
  const result = await run(client, task);
  if (typeof result === "string") return result;
  if (result.kind !== "histogram") return "fewer people than may be told";
  return `noised counts of the bins: ${result.counts.map((count) => count ?? "few").join(", ")}`;
}
