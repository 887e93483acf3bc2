import type { SymphonyClient, Task } from "symphony/client";

/** What a delivered task gave. */
export type Result = Awaited<ReturnType<SymphonyClient["result"]>>["result"];

/** Asks what a task would come to, sends it, waits for its end, and opens its result; text for what went otherwise. */
export async function run(client: SymphonyClient, task: Task): Promise<Result | string> {
  const { outcome, faults } = await client.dryRun(task);
  if (outcome === "refused") return faults.map(({ detail }) => detail).join("\n");
  const { task_id: taskId } = await client.submit(task);
  const { state, reason, delivered } = await client.ended(taskId);
  if (!delivered) return `${state}: ${reason ?? "no reason given"}`;
  return (await client.result(taskId)).result;
}
