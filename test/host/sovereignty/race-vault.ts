// Started by race.test.ts: one Vault's process, which decides on what is posted to it until it is killed.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { openFixture, stocked } from "./vault-world.ts";
import { raceBudget } from "./race-world.ts";

const [directory = "", state = ""] = process.argv.slice(2);
const { vault, governance, ...fixture } = await openFixture({ directory, policy: raceBudget });
if (state === "new") await stocked({ ...fixture, vault, governance });

const server = createServer((request, response) => {
  const chunks: Uint8Array[] = [];
  request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
  request.on("end", () => {
    void vault.decide(new Uint8Array(Buffer.concat(chunks)), governance).then(
      (decision) => response.end(decision),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        response.writeHead(500).end();
      },
    );
  });
});
server.listen(0, "127.0.0.1", () => {
  const address: AddressInfo | string | null = server.address();
  if (address !== null && typeof address === "object") process.send?.({ port: address.port });
});
