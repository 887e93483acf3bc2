import type { SymphonyClient, Task } from "symphony/client";

import { run } from "./run.ts";

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
  const result = await run(client, task);
  if (typeof result === "string") return result;
  if (result.kind !== "receipt") return "nothing";
  return `a receipt of ${result.receipt.merchant?.value ?? "somebody"}`;
}
