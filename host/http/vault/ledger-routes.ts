import type { FastifyInstance } from "fastify";
import { identifier, usageScope } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import { readParameters, requestFileSchema } from "../request-file.ts";
import { addRoute, fromBody, fromQuery, json } from "../route.ts";
import {
  declinesAnswer,
  ledgerAnswer,
  subjectStatementAnswer,
  vaultDryRunAnswer,
} from "./answers.ts";
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
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/ledger",
    summary: "Lists what reserved and consumed privacy budget.",
    takes: fromQuery(statementQuery),
    gives: json(ledgerAnswer),
    handle: async ({ usage_scope: usageScope, record_scope: recordScope, ...rest }) =>
      plainJson(await ledger.statement({ ...rest, usageScope, recordScope })),
  });
  // A subject's name is no part of a path, which servers in between write down.
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/ledger/subject",
    summary: "Gives one subject's balances and what consumed them.",
    takes: fromBody(subjectBody),
    gives: json(subjectStatementAnswer),
    handle: async (body) => plainJson(await ledger.subjectStatement(body)),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/ledger/declines",
    summary: "Lists why requests were declined, which submitters are not told.",
    takes: fromQuery(pageQuery),
    gives: json(declinesAnswer),
    handle: async (query) => plainJson(await ledger.declines(query)),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/ledger/dry-run",
    summary: "Judges a request as if it had come, and changes nothing.",
    takes: fromBody(dryRunBody),
    gives: json(vaultDryRunAnswer),
    handle: async ({ actor_id, request: file }) => {
      const { record_scope, usage_scope, vault_ids, epsilon_micro, task_timeout_ms } = file;
      const draft = {
        ...{ actor_id, record_scope, usage_scope, epsilon_micro, task_timeout_ms },
        vault_ids: vault_ids.toSorted(),
        parameters: readParameters(file.parameters),
        vault_attributes: file.vault_attributes,
      };
      return plainJson(await ledger.dryRun(draft, context.governance()));
    },
  });
}
