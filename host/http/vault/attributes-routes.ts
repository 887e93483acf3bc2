import type { FastifyInstance } from "fastify";
import { identifier, localTypeSchema, mappingSignalSchema } from "#protocol";
import { z } from "zod";

import { addRoute, fromQuery, json } from "../route.ts";
import type { VaultRoutesContext } from "./context.ts";

const scopeQuery = z.strictObject({ scope: identifier });

/** The pool of a record scope. */
export const poolAnswer = z.object({
  attributes: z
    .array(
      z.object({
        ...{ local_id: z.string(), record_scope: z.string(), column: z.string() },
        ...{ domain_hint: z.string(), type: localTypeSchema, rows_at_least: z.number() },
        ...{ epochs_present: z.number(), epochs: z.number() },
        signals: z.array(mappingSignalSchema).readonly(),
      }),
    )
    .readonly(),
  dropped: z.number(),
});

/** Columns that map to no canonical attribute, and what may become of them. */
export function addAttributesRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { attributes } = context.vault;
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/attributes",
    summary: "Lists columns that map to no canonical attribute. No value of them was kept.",
    takes: fromQuery(scopeQuery),
    gives: json(poolAnswer),
    handle: async ({ scope }) => {
      const { record_scope_id: recordScope } = context.scope(scope).recordScope;
      return attributes.list(recordScope, context.governance());
    },
  });
}
