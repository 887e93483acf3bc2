import type { SymphonyClient, Task } from "symphony/client";

import { run } from "./run.ts";

/** What `examples/query.json` asks. */
export const TASK: Task = {
  record_scope: "customers",
  usage_scope: "marketing",
  vault_ids: ["greenleaf-grocers", "harbour-bank", "northline-telecom"],
  parameters: {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [
        {
          attribute: "age",
          op: "range",
          min: 25,
          max: 65,
        },
        {
          attribute: "contact",
          op: "in",
          values: ["cellular", "telephone"],
        },
      ],
    },
    audience_cap: 10000,
  },
  epsilon_micro: 1000000,
  budget_lock_minor: 10000,
};

/** How many people between 25 and 64 can be reached by telephone: a noised count. */
export async function countReachable(client: SymphonyClient, task: Task = TASK): Promise<string> {
  const result = await run(client, task);
  if (typeof result === "string") return result;
  if (result.kind !== "audience") return "fewer people than may be told";
  return `about ${result.size} people`;
}
