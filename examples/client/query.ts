import type { SymphonyClient, Task } from "symphony/client";

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
  const { outcome, faults } = await client.dryRun(task);
  if (outcome === "refused") return faults.map(({ detail }) => detail).join("\n");
  const { task_id: taskId } = await client.submit(task);
  const { state, reason, delivered } = await client.ended(taskId);
  if (!delivered) return `${state}: ${reason ?? "no reason given"}`;
  const { result } = await client.result(taskId);
  switch (result.kind) {
    case "audience":
      return `about ${result.size} people`;
    default:
      return "fewer people than may be told";
  }
}
