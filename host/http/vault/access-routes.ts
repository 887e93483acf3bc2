import type { FastifyInstance } from "fastify";
import { identifier, parseWith, taskClass, unixMs, usageScope } from "#protocol";
import { z } from "zod";

import { GRANTS_PAGE_MAX, grantState, revocationReason } from "../../sovereignty/index.ts";
import type { VaultRoutesContext } from "./context.ts";

const grantBody = z.strictObject({
  grant_id: identifier,
  actor_id: identifier,
  task_class: taskClass,
  record_scope: identifier,
  usage_scope: usageScope.nullable(),
  not_before_ms: unixMs.nullable(),
  not_after_ms: unixMs.nullable(),
});
const revokeBody = z.strictObject({
  grant_id: identifier,
  reason: revocationReason.default("unstated"),
});
const grantsQuery = z.strictObject({
  actor: identifier.optional(),
  state: grantState.optional(),
  after: identifier.optional(),
  limit: z.coerce.number().int().min(1).max(GRANTS_PAGE_MAX).default(100),
});

/** Who may use the records, for what and when. */
export function addAccessRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  server.get("/v1/vault/grants", async (request) => {
    const { actor: actorId, ...filter } = parseWith(grantsQuery, request.query, "query");
    return vault.operator.grants({ actorId, ...filter });
  });
  server.post("/v1/vault/grants", async (request) => {
    const grant = parseWith(grantBody, request.body, "body");
    const { domain_id } = context.scope(grant.record_scope).recordScope;
    await vault.grant({ ...grant, domain_id });
    return { grant_id: grant.grant_id };
  });
  server.post("/v1/vault/grants/revoke", async (request) => {
    const { grant_id: grantId, reason } = parseWith(revokeBody, request.body, "body");
    await vault.revokeGrant(grantId, reason);
    return { grant_id: grantId };
  });
}
