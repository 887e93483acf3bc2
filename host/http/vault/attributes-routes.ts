import type { FastifyInstance } from "fastify";
import {
  CANDIDATES_MAX,
  candidateWindowSchema,
  exceptionSchema,
  fromHex,
  hex,
  identifier,
  judgePromotion,
  localTypeSchema,
  mappingSignalSchema,
  promotionSchema,
  vaultScopedSchema,
  type SemanticRegistration,
} from "#protocol";
import { z } from "zod";

import type { AttributesApi } from "../../sovereignty/index.ts";
import { plainJson } from "../plain-json.ts";
import { addRoute, fromBody, fromQuery, json } from "../route.ts";
import type { VaultRoutesContext } from "./context.ts";

/** 256 candidates in hex, and a definition. */
const PROMOTION_BYTES_MAX = 9 * 1024 * 1024;

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

/** Candidates that were let go. `ended_ms` is null while one waits; `code` is why it was refused. */
export const sharesAnswer = z.object({
  shares: z.array(
    z.object({
      ...{ column: z.string(), attribute_id: z.string(), window: candidateWindowSchema },
      ...{ approved_ms: z.number(), ended_ms: z.number().nullable(), code: z.string().nullable() },
    }),
  ),
});

const signedHex = z
  .string()
  .max(32_768)
  .regex(/^(?:[0-9a-f]{2})+$/, { error: "expected hex digits in pairs" });
/** A promotion within the Vault, as a file has it; and any, to which candidates of other Vaults are added. */
export const vaultScopedFile = z.strictObject({
  to: z.literal("vault_scoped_query"),
  scope: identifier,
  column: z.string().min(1).max(128),
  ...vaultScopedSchema.shape,
});
export const promotionFile = z.discriminatedUnion("to", [
  vaultScopedFile,
  z.strictObject({
    to: z.literal("canonical"),
    ...promotionSchema.shape,
    exception: exceptionSchema.nullable(),
  }),
]);
const promotionBody = z.strictObject({
  promotion: promotionFile,
  candidates: z.array(signedHex).max(CANDIDATES_MAX).default([]),
});
/** What each promotion takes, and how it stands. */
export const preconditionsAnswer = z
  .array(
    z.object({
      ...{ name: z.string(), met: z.boolean() },
      ...{ expected: z.string(), actual: z.string() },
    }),
  )
  .readonly();
/** What came of judging a promotion. Nothing was promoted: governance may be asked for what `registration` says. */
export const judgementAnswer = z.object({
  to: z.enum(["vault_scoped_query", "canonical"]),
  preconditions: preconditionsAnswer,
  all_met: z.boolean(),
  evidence_digest: z.string().nullable(),
  /** The state that governance's decision would give the attribute; null when it is not to be asked. */
  proposes: z.enum(["proposed", "registered"]).nullable(),
  /** What it would decide, byte strings in hex. */
  registration: z.unknown(),
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
    handle: async (body) => viewOf(await attributes.candidate(askedOf(context, body))),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/attributes/shares",
    summary: "Signs the same, and lets it go to the coordinator for all Vaults to see.",
    takes: fromBody(candidateBody),
    gives: json(candidateAnswer),
    handle: async (body) => viewOf(await attributes.share(askedOf(context, body))),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/attributes/shares",
    summary: "Lists what was let go, newest first, and what the coordinator said to it.",
    takes: fromQuery(scopeQuery),
    gives: json(sharesAnswer),
    handle: async ({ scope }) => {
      const { record_scope_id: recordScope } = context.scope(scope).recordScope;
      const shares = await attributes.shares(recordScope);
      return {
        shares: shares.map(({ column_name, attribute_id, first_epoch, last_epoch, ...rest }) => ({
          ...{ column: column_name, attribute_id, window: { first_epoch, last_epoch } },
          ...{ approved_ms: rest.approved_ms, ended_ms: rest.ended_ms, code: rest.code },
        })),
      };
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/attributes/promotion",
    summary: "Judges whether a column could be promoted, and changes nothing.",
    takes: fromBody(promotionBody),
    gives: json(judgementAnswer),
    bodyBytesMax: PROMOTION_BYTES_MAX,
    handle: async (body) => judge(context, body),
  });
}

function askedOf(
  context: VaultRoutesContext,
  { scope, attribute_id: attributeId, column, window, exception }: z.output<typeof candidateBody>,
) {
  const { record_scope_id: recordScope } = context.scope(scope).recordScope;
  return {
    ...{ recordScope, column: column.normalize("NFC"), attributeId, window, exception },
    governance: context.governance(),
  };
}

function viewOf({ candidate, signed }: Awaited<ReturnType<AttributesApi["candidate"]>>) {
  const { genesis_digest: _network, ...said } = candidate;
  return { ...said, signed: hex(signed) };
}

async function judge(
  { vault, scope: scopeOf, governance }: VaultRoutesContext,
  { promotion, candidates }: z.output<typeof promotionBody>,
) {
  if (promotion.to === "canonical") {
    const { to, exception, ...defined } = promotion;
    const signed = candidates.map(fromHex);
    const judged = judgePromotion(governance(), { promotion: defined, signed, exception });
    const { preconditions, report, registration } = judged;
    return {
      ...{ to, preconditions, all_met: registration !== null },
      evidence_digest: hex(report.evidence_digest),
      proposes: proposedState(registration),
      registration: plainJson(registration),
    };
  }
  const { to, scope, column, ...declared } = promotion;
  const { record_scope_id: recordScope, domain_id: domainId } = scopeOf(scope).recordScope;
  const { preconditions, definition } = await vault.attributes.judgeVaultScoped({
    ...{ recordScope, domainId, column: column.normalize("NFC"), declared },
    governance: governance(),
  });
  const all_met = definition !== null;
  return { to, preconditions, all_met, evidence_digest: null, proposes: null, registration: null };
}

function proposedState(
  registration: SemanticRegistration | null,
): "proposed" | "registered" | null {
  if (registration === null) return null;
  return registration.transitions.length > 0 ? "registered" : "proposed";
}
