import type { FastifyInstance } from "fastify";

import { plainJson } from "../plain-json.ts";
import { addRoute, anyJson, nothing } from "../route.ts";
import type { VaultRoutesContext } from "./context.ts";

/** How the Vault stands. */
export function addStatusRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/status",
    summary: "Says how the Vault stands.",
    takes: nothing,
    gives: anyJson,
    handle: async () => plainJson(await vault.status()),
  });
}
