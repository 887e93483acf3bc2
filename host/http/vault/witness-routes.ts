import type { FastifyInstance } from "fastify";
import { parseWith } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import type { VaultRoutesContext } from "./context.ts";

/** Both words are written out: what they give up does not come back. */
const thawBody = z.strictObject({ write_off: z.literal(true), confirm: z.literal(true) });

/** How the Vault stands with its witnesses, and the way out of a freeze. */
export function addWitnessRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { witness } = context.vault;
  server.get("/v1/vault/witness", async () => plainJson(await witness.status()));
  server.post("/v1/vault/witness/thaw", async (request) => {
    parseWith(thawBody, request.body, "body");
    return witness.thaw(context.governance());
  });
}
