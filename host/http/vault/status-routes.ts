import type { FastifyInstance } from "fastify";

import { plainJson } from "../plain-json.ts";
import { addRoute, json, nothing } from "../route.ts";
import { statusAnswer } from "./answers.ts";
import type { VaultRoutesContext } from "./context.ts";

/** How the Vault stands. */
export function addStatusRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/status",
    summary: "Says how the Vault stands.",
    takes: nothing,
    gives: json(statusAnswer),
    handle: async () => plainJson(await vault.status()),
  });
}
