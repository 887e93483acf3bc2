import { timingSafeEqual } from "node:crypto";

import type { FastifyInstance } from "fastify";
import { RefusedError, utf8 } from "#protocol";

import { addAccessRoutes } from "./access-routes.ts";
import { addAttributesRoutes } from "./attributes-routes.ts";
import { addAuditRoutes } from "./audit-routes.ts";
import { addBackupRoutes } from "./backup-routes.ts";
import { addConsentRoutes } from "./consent-routes.ts";
import { addCustodyRoutes } from "./custody-routes.ts";
import type { VaultRoutesContext } from "./context.ts";
import { Jobs } from "./jobs.ts";
import { addLedgerRoutes } from "./ledger-routes.ts";
import { addRecordsRoutes } from "./records-routes.ts";
import { addStatusRoutes } from "./status-routes.ts";
import { addVaultScopedRoutes } from "./vault-scoped-routes.ts";
import { addWitnessRoutes } from "./witness-routes.ts";

export type { VaultRoutesContext } from "./context.ts";

/**
 * The operator's listener of one Vault, `/v1/vault/...`: every call needs the token, on paths that do not exist too;
 * nothing here leaves the organisation.
 */
export function addVaultRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  server.addHook("onRequest", async (request) => {
    if (request.url === "/healthz") return;
    const presented = utf8(request.headers.authorization ?? "");
    const expected = utf8(`Bearer ${context.token}`);
    if (presented.length === expected.length && timingSafeEqual(presented, expected)) return;
    throw new RefusedError(
      { code: "AUTH_TOKEN_INVALID" },
      "authorization: expected the operator's bearer token",
    );
  });
  addRecordsRoutes(server, context);
  addAttributesRoutes(server, context);
  addVaultScopedRoutes(server, context);
  addConsentRoutes(server, context);
  addAccessRoutes(server, context);
  addAuditRoutes(server, context);
  addLedgerRoutes(server, context);
  addStatusRoutes(server, context);
  addWitnessRoutes(server, context);
  const jobs = new Jobs();
  addCustodyRoutes(server, context, jobs);
  addBackupRoutes(server, context, jobs);
}
