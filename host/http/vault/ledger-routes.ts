import type { FastifyInstance } from "fastify";
import { identifier, parseWith, usageScope } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import { readParameters, requestFileSchema } from "../request-file.ts";
import type { VaultRoutesContext } from "./context.ts";

const LINES_DEFAULT = 100;

const count = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const page = {
  after: count.default(0),
  limit: count.min(1).max(1_000).default(LINES_DEFAULT),
};
const pageQuery = z.strictObject(page);
const statementQuery = z.strictObject({
  ...page,
  usage_scope: usageScope.optional(),
  record_scope: identifier.optional(),
});
const subjectBody = z.strictObject({ ...page, subject: z.string().min(1).max(1024) });
const dryRunBody = z.strictObject({ actor_id: identifier, request: requestFileSchema });

/** The privacy budget: what consumed it, why requests were declined, and what one would cost. */
export function addLedgerRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { ledger } = context.vault;
  server.get("/v1/vault/ledger", async (request) => {
    const query = parseWith(statementQuery, request.query, "query");
    const { usage_scope: usageScope, record_scope: recordScope, ...rest } = query;
    return plainJson(await ledger.statement({ ...rest, usageScope, recordScope }));
  });
  // A subject's name is no part of a path, which servers in between write down.
  server.post("/v1/vault/ledger/subject", async (request) => {
    const body = parseWith(subjectBody, request.body, "body");
    return plainJson(await ledger.subjectStatement(body));
  });
  server.get("/v1/vault/ledger/declines", async (request) =>
    plainJson(await ledger.declines(parseWith(pageQuery, request.query, "query"))),
  );
  server.post("/v1/vault/ledger/dry-run", async (request) => {
    const { actor_id, request: file } = parseWith(dryRunBody, request.body, "body");
    const { record_scope, usage_scope, vault_ids, epsilon_micro, task_timeout_ms } = file;
    const draft = {
      ...{ actor_id, record_scope, usage_scope, epsilon_micro, task_timeout_ms },
      vault_ids: vault_ids.toSorted(),
      parameters: readParameters(file.parameters),
    };
    return plainJson(await ledger.dryRun(draft, context.governance()));
  });
}
