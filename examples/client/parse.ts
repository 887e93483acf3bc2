import type { SymphonyClient, Task } from "symphony/client";

/** What `examples/parse.json` asks. */
export const TASK: Task = {
  record_scope: "receipts",
  usage_scope: "personal_use",
  vault_ids: ["greenleaf-grocers"],
  parameters: {
    task_class: "parse",
    record_commitment: "0000000000000000000000000000000000000000000000000000000000000000",
  },
  epsilon_micro: 0,
};

/** One receipt, read. Its commitment is the first parameter: a Vault's operator lists them. */
export async function readReceipt(client: SymphonyClient, task: Task = TASK): Promise<string> {
  const { outcome, faults } = await client.dryRun(task);
  if (outcome === "refused") return faults.map(({ detail }) => detail).join("\n");
  const { task_id: taskId } = await client.submit(task);
  const { state, reason, delivered } = await client.ended(taskId);
  if (!delivered) return `${state}: ${reason ?? "no reason given"}`;
  const { result } = await client.result(taskId);
  switch (result.kind) {
    case "receipt":
      return `a receipt of ${result.receipt.merchant?.value ?? "somebody"}`;
    default:
      return "nothing";
  }
}
