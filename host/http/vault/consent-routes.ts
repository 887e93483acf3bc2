import type { FastifyInstance } from "fastify";
import { consentPurpose, identifier, natural, parseWith, unixMs } from "#protocol";
import { z } from "zod";

import { CONSENT_SUBJECTS_MAX } from "../../sovereignty/index.ts";
import { streamedBody } from "./body.ts";
import type { VaultRoutesContext } from "./context.ts";

const IMPORT_BYTES_MAX = 4 * 1024 * 1024 * 1024;
/** Of a request that names as many subjects as it may. */
const CONSENT_BYTES_MAX = 128 * 1024 * 1024;

const subject = z.string().min(1).max(1024);
const consentBody = z
  .strictObject({
    usage_scope: consentPurpose,
    subjects: z.union([z.literal("all-known"), z.array(subject).max(CONSENT_SUBJECTS_MAX)]),
    state: z.enum(["granted", "withdrawn"]),
    expires_ms: unixMs.nullable().default(null),
  })
  .refine(({ state, expires_ms }) => state === "granted" || expires_ms === null, {
    path: ["expires_ms"],
    error: "expected null for withdrawn",
  });
const importQuery = z.strictObject({ id: identifier });
const subjectBody = z.strictObject({
  subject,
  after_consent: natural.default(0),
  after_use: natural.default(0),
});

/** What data subjects consented to. Subjects are named in bodies, never in paths, which others may log. */
export function addConsentRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  server.post("/v1/vault/consent", { bodyLimit: CONSENT_BYTES_MAX }, async (request) => {
    const body = parseWith(consentBody, request.body, "body");
    const decision =
      body.state === "granted"
        ? ({ state: "granted", expiresMs: body.expires_ms } as const)
        : ({ state: "withdrawn" } as const);
    return vault.setConsent({
      usageScope: body.usage_scope,
      subjects: body.subjects,
      decision,
    });
  });
  server.post("/v1/vault/consent/import", { bodyLimit: IMPORT_BYTES_MAX }, async (request) => {
    const { id: importId } = parseWith(importQuery, request.query, "query");
    const source = streamedBody(request.body, "text/csv");
    return vault.operator.importConsents({ importId, source });
  });
  server.post("/v1/vault/consent/subject", async (request) => {
    const body = parseWith(subjectBody, request.body, "body");
    const page = { afterConsent: body.after_consent, afterUse: body.after_use };
    return vault.operator.subjectTrail(body.subject, page);
  });
}
