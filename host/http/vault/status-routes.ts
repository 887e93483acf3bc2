import type { FastifyInstance } from "fastify";

import { plainJson } from "../plain-json.ts";
import type { VaultRoutesContext } from "./context.ts";

/** How the Vault stands. */
export function addStatusRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  server.get("/v1/vault/status", async () => plainJson(await vault.status()));
}
