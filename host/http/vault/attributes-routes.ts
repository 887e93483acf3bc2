import type { FastifyInstance } from "fastify";
import {
  candidateWindowSchema,
  exceptionSchema,
  hex,
  identifier,
  localTypeSchema,
  mappingSignalSchema,
} from "#protocol";
import { z } from "zod";

import { addRoute, fromBody, fromQuery, json } from "../route.ts";
import type { VaultRoutesContext } from "./context.ts";

const scopeQuery = z.strictObject({ scope: identifier });
const candidateBody = z.strictObject({
  scope: identifier,
  column: z.string().min(1).max(128),
  attribute_id: identifier,
  window: candidateWindowSchema.nullable().default(null),
  exception: exceptionSchema.nullable().default(null),
});
/** A candidate: what it says, and its COSE_Sign1 in hex. */
export const candidateAnswer = z.object({
  ...{ vault_id: z.string(), domain_id: z.string(), attribute_id: z.string() },
  ...{ local_id: z.string(), semantic_version: z.string(), window: candidateWindowSchema },
  ...{ type: localTypeSchema, noised_rows: z.number(), epochs_present: z.number() },
  ...{ epsilon_micro: z.number(), signals: z.array(mappingSignalSchema).readonly() },
  signed: z.string(),
});

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
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/attributes/candidates",
    summary: "Signs what may leave the Vault about a column: noised counts, for an attribute.",
    takes: fromBody(candidateBody),
    gives: json(candidateAnswer),
    handle: async ({ scope, attribute_id: attributeId, column, ...rest }) => {
      const { record_scope_id: recordScope } = context.scope(scope).recordScope;
      const { candidate, signed } = await attributes.candidate({
        ...{ recordScope, column: column.normalize("NFC"), attributeId },
        ...{ governance: context.governance(), ...rest },
      });
      const { genesis_digest: _network, ...said } = candidate;
      return { ...said, signed: hex(signed) };
    },
  });
}
