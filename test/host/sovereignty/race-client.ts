// Started by race.test.ts: a process that posts its requests to the Vault, several at once, and each until it is answered.
import { Agent, request as httpRequest } from "node:http";

import { z } from "zod";

import { VAULT_DECISION, hex, parseCose } from "../../../protocol/index.ts";
import { NETWORK_TIME_MS, createNetwork } from "../../helpers/network.ts";
import { raceBudget } from "./race-world.ts";
import { requestOf } from "./vault-world.ts";

const AT_ONCE = 6;
const DECISION_BYTES_MAX = 64 * 1024;
const [name = "", count = "0"] = process.argv.slice(2);
const here = z.strictObject({ port: z.int() });

const network = await createNetwork({ policy: raceBudget });
const clock = { nowMs: NETWORK_TIME_MS };
const requests = await Promise.all(
  Array.from({ length: Number(count) }, (_, index) =>
    requestOf({ network, clock }, `${name}-${index}`),
  ),
);
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

let known: number | undefined;
let waiting: ((port: number) => void)[] = [];
process.on("message", (message) => {
  const { port } = here.parse(message);
  known = port;
  for (const resolve of waiting) resolve(port);
  waiting = [];
});
process.send?.({ ready: true });

/** Where the Vault is, once that is known and not `lost`. */
function portAfter(lost: number | undefined): Promise<number> {
  if (known !== undefined && known !== lost) return Promise.resolve(known);
  return new Promise((resolve) => waiting.push(resolve));
}

function post(port: number, body: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, host: "127.0.0.1", method: "POST", agent }, (response) => {
      const chunks: Uint8Array[] = [];
      response.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      response.on("error", reject);
      response.on("aborted", () => reject(new Error("aborted")));
      response.on("end", () => {
        if (response.statusCode === 200) resolve(new Uint8Array(Buffer.concat(chunks)));
        else reject(new Error(`status ${response.statusCode}`));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function answered(signed: Uint8Array): Promise<Uint8Array> {
  let port = await portAfter(undefined);
  for (;;) {
    try {
      return await post(port, signed);
    } catch {
      port = await portAfter(port);
    }
  }
}

let next = 0;
async function work(): Promise<void> {
  while (next < requests.length) {
    const taken = requests[next];
    next += 1;
    if (taken === undefined) return;
    const decision = await answered(taken.signed);
    const { outcome } = VAULT_DECISION.decode(parseCose(decision, DECISION_BYTES_MAX).payload);
    process.send?.({
      request: hex(taken.signed),
      decision: hex(decision),
      reserved: outcome.decision === "reserved",
    });
  }
}

await portAfter(undefined);
await Promise.all(Array.from({ length: AT_ONCE }, work));
process.disconnect();
agent.destroy();
