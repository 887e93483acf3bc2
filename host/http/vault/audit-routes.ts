import type { FastifyInstance } from "fastify";
import { unixMs } from "#protocol";
import { z } from "zod";

import { AUDIT_PAGE_MAX } from "../../sovereignty/index.ts";
import { plainJson } from "../plain-json.ts";
import { addRoute, fromQuery, nothing, json } from "../route.ts";
import { auditAnswer, replayAnswer } from "./answers.ts";
import type { VaultRoutesContext } from "./context.ts";

const named = z.string().min(1).max(128).optional();
const timeMs = z.coerce.number().pipe(unixMs).optional();

const auditQuery = z.strictObject({
  ...{ type: named, task: named, grant: named, actor: named },
  ...{ scope: named, purpose: named, reservation: named },
  since_ms: timeMs,
  until_ms: timeMs,
  after: z.coerce.number().int().min(-1).default(-1),
  limit: z.coerce.number().int().min(1).max(AUDIT_PAGE_MAX).default(100),
  proofs: z.enum(["true", "false"]).default("false"),
});

/** The audit trail over the Vault's one log. */
export function addAuditRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/audit",
    summary: "Gives a page of the Vault's log that fits a filter, with proofs when asked.",
    takes: fromQuery(auditQuery),
    gives: json(auditAnswer),
    handle: async (query) => {
      const filter = {
        type: query.type,
        taskId: query.task,
        grantId: query.grant,
        actorId: query.actor,
        recordScope: query.scope,
        usageScope: query.purpose,
        reservationId: query.reservation,
        sinceMs: query.since_ms,
        untilMs: query.until_ms,
      };
      const { after, limit, proofs } = query;
      const page = { after, limit, proofs: proofs === "true" };
      return plainJson(await vault.operator.audit(filter, page));
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/audit/replay",
    summary: "Judges every past authorization again and names the differences.",
    takes: nothing,
    gives: json(replayAnswer),
    handle: async () => vault.operator.replayAuthorizations(),
  });
}
