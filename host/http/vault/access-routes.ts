import type { FastifyInstance } from "fastify";
import { identifier, parseWith, taskClass, usageScope } from "#protocol";
import { z } from "zod";

import type { VaultRoutesContext } from "./context.ts";

const grantBody = z.strictObject({
  grant_id: identifier,
  actor_id: identifier,
  task_class: taskClass,
  record_scope: identifier,
  usage_scope: usageScope.nullable(),
  not_before_ms: z.int().min(0).nullable(),
  not_after_ms: z.int().min(0).nullable(),
});
const revokeBody = z.strictObject({ grant_id: identifier });

/** Who may use the records, for what and when. */
export function addAccessRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  server.post("/v1/vault/grants", async (request) => {
    const grant = parseWith(grantBody, request.body, "body");
    const { domain_id } = context.scope(grant.record_scope).recordScope;
    await vault.grant({ ...grant, domain_id });
    return { grant_id: grant.grant_id };
  });
  server.post("/v1/vault/grants/revoke", async (request) => {
    const { grant_id: grantId } = parseWith(revokeBody, request.body, "body");
    await vault.revokeGrant(grantId);
    return { grant_id: grantId };
  });
}
