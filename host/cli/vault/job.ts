import { z } from "zod";

import { RemoteProblem } from "../../http/task-client.ts";
import type { VaultCall } from "./command.ts";

const jobAnswer = z.object({ job: z.number() });
const jobState = z.object({
  state: z.enum(["running", "done", "failed"]),
  done: z.number(),
  total: z.number(),
  report: z.unknown(),
  code: z.string().nullable(),
  message: z.string().nullable(),
});

/** How often a job is asked after. */
const ASK_MS = 200;

/** Starts long work and waits for its end. @throws RemoteProblem with the Vault's code when it fails */
export async function finished(
  call: VaultCall,
  path: string,
  { body, unit }: { readonly body: unknown; readonly unit: string },
): Promise<unknown> {
  const client = await call.client();
  const { job } = jobAnswer.parse(await client.post(path, body));
  let told = 0;
  for (;;) {
    const state = jobState.parse(await client.get("/v1/vault/jobs", { job }));
    if (state.state === "done") return state.report;
    if (state.state === "failed") {
      throw new RemoteProblem(409, state.code ?? "INTERNAL_UNEXPECTED", state.message ?? "");
    }
    if (state.done !== told) call.io.stderr(`${state.done} of ${state.total} ${unit}\n`);
    told = state.done;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}
