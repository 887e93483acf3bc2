import type { FastifyInstance } from "fastify";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import { addRoute, fromBody, nothing, json } from "../route.ts";
import { thawedAnswer, witnessAnswer } from "./answers.ts";
import type { VaultRoutesContext } from "./context.ts";

/** Both words are written out: what they give up does not come back. */
const thawBody = z.strictObject({ write_off: z.literal(true), confirm: z.literal(true) });

/** How the Vault stands with its witnesses, and the way out of a freeze. */
export function addWitnessRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { witness } = context.vault;
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/witness",
    summary: "Says how the Vault stands with its witnesses.",
    takes: nothing,
    gives: json(witnessAnswer),
    handle: async () => plainJson(await witness.status()),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/witness/thaw",
    summary: "Ends a freeze by writing off what the witnesses saw beyond this store.",
    takes: fromBody(thawBody),
    gives: json(thawedAnswer),
    handle: async () => witness.thaw(context.governance()),
  });
}
