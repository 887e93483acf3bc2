import type { FastifyInstance } from "fastify";
import { identifier, taskClass, unixMs, usageScope } from "#protocol";
import { z } from "zod";

import { GRANTS_PAGE_MAX, grantState, revocationReason } from "../../sovereignty/index.ts";
import { addRoute, fromBody, fromQuery, json } from "../route.ts";
import { grantsAnswer } from "./answers.ts";
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

const grantAnswer = z.strictObject({ grant_id: identifier });

/** Who may use the records, for what and when. */
export function addAccessRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/grants",
    summary: "Lists grants, ascending by identifier.",
    takes: fromQuery(grantsQuery),
    gives: json(grantsAnswer),
    handle: async ({ actor: actorId, ...filter }) => vault.operator.grants({ actorId, ...filter }),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/grants",
    summary: "Grants an actor the use of a record scope.",
    takes: fromBody(grantBody),
    gives: json(grantAnswer),
    handle: async (grant) => {
      const { domain_id } = context.scope(grant.record_scope).recordScope;
      await vault.grant({ ...grant, domain_id });
      return { grant_id: grant.grant_id };
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/grants/revoke",
    summary: "Revokes a grant.",
    takes: fromBody(revokeBody),
    gives: json(grantAnswer),
    handle: async ({ grant_id, reason }) => {
      await vault.revokeGrant(grant_id, reason);
      return { grant_id };
    },
  });
}
