import type { FastifyInstance } from "fastify";
import { consentPurpose, identifier, natural, unixMs } from "#protocol";
import { z } from "zod";

import { CONSENT_SUBJECTS_MAX } from "../../sovereignty/index.ts";
import { importAnswer, subjectTrailAnswer } from "./answers.ts";
import { streamedBody } from "./body.ts";
import { addRoute, both, fromBody, fromBytes, fromQuery, json } from "../route.ts";
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
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/consent",
    summary: "Records what subjects consented to, or withdrew.",
    takes: fromBody(consentBody),
    gives: json(z.object({ subjects: z.int() })),
    bodyBytesMax: CONSENT_BYTES_MAX,
    handle: async (body) => {
      const decision =
        body.state === "granted"
          ? ({ state: "granted", expiresMs: body.expires_ms } as const)
          : ({ state: "withdrawn" } as const);
      return vault.setConsent({
        usageScope: body.usage_scope,
        subjects: body.subjects,
        decision,
      });
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/consent/import",
    summary: "Imports consents from CSV, the same import once.",
    takes: both(fromQuery(importQuery), fromBytes("text/csv")),
    gives: json(importAnswer),
    bodyBytesMax: IMPORT_BYTES_MAX,
    handle: async ([{ id: importId }, body]) => {
      const source = streamedBody(body, "text/csv");
      return vault.operator.importConsents({ importId, source });
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/consent/subject",
    summary: "Says what a subject consented to and what used it.",
    takes: fromBody(subjectBody),
    gives: json(subjectTrailAnswer),
    handle: async ({ subject: name, after_consent: afterConsent, after_use: afterUse }) =>
      vault.operator.subjectTrail(name, { afterConsent, afterUse }),
  });
}
