import type { SymphonyClient, Task } from "symphony/client";

import { run } from "./run.ts";

/** What `examples/train.json` asks. */
export const TASK: Task = {
  record_scope: "customers",
  usage_scope: "training",
  vault_ids: ["greenleaf-grocers", "harbour-bank", "northline-telecom"],
  parameters: {
    task_class: "train",
    model_digest: "a9b84d3f8e836a1b0734e402228df14cf25d8ff96278d4675a75afca89a9569b",
    features: [
      {
        attribute: "age",
        mean_micro: 50000000,
        scale_micro: 18000000,
        min_micro: 18000000,
        max_micro: 90000000,
      },
      {
        attribute: "balance",
        mean_micro: 3000000000,
        scale_micro: 2500000000,
        min_micro: 0,
        max_micro: 10000000000,
      },
      {
        attribute: "visits",
        mean_micro: 20000000,
        scale_micro: 15000000,
        min_micro: 0,
        max_micro: 60000000,
      },
    ],
    label: {
      attribute: "churned",
      positive: 1,
    },
    rounds: 3,
    groups: 128,
    local_steps: 4,
    batch_size: 8,
    learning_rate_micro: 300000,
    clip_norm_micro: 300000,
    fraction_bits: 16,
    convergence_threshold_micro: 1000000,
  },
  epsilon_micro: 6000000,
  budget_lock_minor: 10000,
  task_timeout_ms: 300000,
};

/** A model, trained over three Vaults: an ONNX file. */
export async function trainModel(client: SymphonyClient, task: Task = TASK): Promise<string> {
  const result = await run(client, task);
  if (typeof result === "string") return result;
  if (result.kind !== "model") return "fewer people than may be told";
  return `an ONNX model of ${result.model.length} bytes`;
}
