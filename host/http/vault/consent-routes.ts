import type { FastifyInstance } from "fastify";
import { parseWith, usageScope } from "#protocol";
import { z } from "zod";

import type { VaultRoutesContext } from "./context.ts";

const consentBody = z.strictObject({
  usage_scope: usageScope,
  subjects: z.union([z.literal("all-known"), z.array(z.string().max(1024)).max(100_000)]),
  state: z.enum(["granted", "withdrawn"]),
  expires_ms: z.int().min(0).nullable().default(null),
});

/** What data subjects consented to. */
export function addConsentRoutes(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  server.post("/v1/vault/consent", async (request) => {
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
}
