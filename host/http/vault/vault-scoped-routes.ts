import type { FastifyInstance } from "fastify";
import { identifier, vaultAttributeSchema } from "#protocol";
import { z } from "zod";

import { addRoute, fromBody, fromQuery, json } from "../route.ts";
import { preconditionsAnswer, vaultScopedFile } from "./attributes-routes.ts";
import type { VaultRoutesContext } from "./context.ts";

const PATH = "/v1/vault/attributes/vault-scoped";

const scopeQuery = z.strictObject({ scope: identifier });
const columnBody = z.strictObject({ scope: identifier, column: z.string().min(1).max(128) });

/** What came of a promotion: what requests carry, or why there is nothing to carry. */
export const promotedAnswer = z.object({
  preconditions: preconditionsAnswer,
  definition: vaultAttributeSchema.nullable(),
});
/** Columns that the Vault's own tasks may ask of, or might. */
export const promotedListAnswer = z.object({
  attributes: z
    .array(
      z.object({
        ...{ column: z.string(), promoted_ms: z.number(), retired_ms: z.number().nullable() },
        definition: vaultAttributeSchema,
      }),
    )
    .readonly(),
});

/** Columns of the Vault's own that its own tasks may ask of (LA-3). */
export function addVaultScopedRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { attributes } = context.vault;
  addRoute(server, {
    method: "POST",
    path: PATH,
    summary: "Lets tasks of this Vault alone ask of a kept column, if every precondition is met.",
    takes: fromBody(vaultScopedFile),
    gives: json(promotedAnswer),
    handle: async ({ to: _to, scope, column, ...declared }) => {
      const { record_scope_id: recordScope, domain_id: domainId } =
        context.scope(scope).recordScope;
      return await attributes.promote({
        ...{ recordScope, domainId, column: column.normalize("NFC"), declared },
        governance: context.governance(),
      });
    },
  });
  addRoute(server, {
    method: "GET",
    path: PATH,
    summary: "Lists columns that tasks of this Vault alone may ask of, and those that are retired.",
    takes: fromQuery(scopeQuery),
    gives: json(promotedListAnswer),
    handle: async ({ scope }) => {
      const { record_scope_id: recordScope } = context.scope(scope).recordScope;
      const promoted = await attributes.promoted(recordScope);
      return {
        attributes: promoted.map(({ column, definition, promotedMs, retiredMs }) => ({
          ...{ column, definition, promoted_ms: promotedMs, retired_ms: retiredMs },
        })),
      };
    },
  });
  addRoute(server, {
    method: "POST",
    path: `${PATH}/retire`,
    summary: "Ends that: no request that comes from now on may name the column.",
    takes: fromBody(columnBody),
    gives: json(columnBody),
    handle: async ({ scope, column }) => {
      const { record_scope_id: recordScope } = context.scope(scope).recordScope;
      await attributes.retire({ recordScope, column: column.normalize("NFC") });
      return { scope, column };
    },
  });
}
