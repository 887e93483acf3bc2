import { timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import {
  MalformedError,
  RefusedError,
  hex,
  identifier,
  parseWith,
  taskClass,
  usageScope,
  utf8,
  type CanonicalAttribute,
  type RecordScope,
} from "#protocol";
import { z } from "zod";

import type { Vault } from "../sovereignty/index.ts";
import { plainJson } from "./plain-json.ts";

/** What the operator's listener needs of its Vault node. */
export interface OperatorRoutesContext {
  readonly vault: Vault;
  /** 64 hex digits that a caller must present. */
  readonly token: string;
  /** The registered scope and its attributes. @throws RefusedError DERIVATION_UNRESOLVED */
  readonly scope: (scopeId: string) => {
    readonly recordScope: RecordScope;
    readonly attributes: readonly CanonicalAttribute[];
  };
}

const CSV_BYTES_MAX = 4 * 1024 * 1024 * 1024;
const DOCUMENT_BYTES_MAX = 9 * 1024 * 1024;

const ingestQuery = z.strictObject({
  scope: identifier,
  on_error: z.enum(["abort", "quarantine"]).default("abort"),
});
const documentQuery = z.strictObject({
  scope: identifier,
  subject: z.string().min(1).max(200),
  name: z.string().min(1).max(200),
});
const scopeQuery = z.strictObject({ scope: identifier });
const consentBody = z.strictObject({
  usage_scope: usageScope,
  subjects: z.union([z.literal("all-known"), z.array(z.string().max(1024)).max(100_000)]),
  state: z.enum(["granted", "withdrawn"]),
  expires_ms: z.int().min(0).nullable().default(null),
});
const grantBody = z.strictObject({
  grant_id: identifier,
  actor_id: identifier,
  task_class: taskClass,
  record_scope: identifier,
  usage_scope: usageScope.nullable(),
  not_before_ms: z.int().min(0).nullable(),
  not_after_ms: z.int().min(0).nullable(),
});
const revokeBody = z.strictObject({ grant_id: identifier });

/** The operator's listener of one Vault: every call needs the token; nothing here leaves the organisation. */
export function addOperatorRoutes(server: FastifyInstance, context: OperatorRoutesContext): void {
  server.addHook("onRequest", async (request) => {
    if (request.url === "/healthz") return;
    const presented = utf8(request.headers.authorization ?? "");
    const expected = utf8(`Bearer ${context.token}`);
    if (presented.length === expected.length && timingSafeEqual(presented, expected)) return;
    throw new RefusedError(
      { code: "AUTH_TOKEN_INVALID" },
      "authorization: expected the operator's bearer token",
    );
  });
  addIngestRoutes(server, context);
  addGovernanceOfAccess(server, context);
  server.get("/v1/operator/status", async () => plainJson(await context.vault.status()));
  server.get("/v1/operator/records", async (request) => {
    const { scope } = parseWith(scopeQuery, request.query, "query");
    const records = await context.vault.recordCommitments(scope);
    return records.map(({ commitment, batch_id, row }) => ({
      commitment: hex(commitment),
      batch_id: hex(batch_id),
      row,
    }));
  });
}

function addIngestRoutes(server: FastifyInstance, context: OperatorRoutesContext): void {
  const { vault } = context;
  server.removeContentTypeParser("text/csv");
  server.addContentTypeParser("text/csv", (_request, payload, done) => done(null, payload));
  server.post("/v1/operator/ingest", { bodyLimit: CSV_BYTES_MAX }, async (request) => {
    const { scope, on_error: onError } = parseWith(ingestQuery, request.query, "query");
    if (!(request.body instanceof Readable)) throw expectedBody("text/csv");
    const source: AsyncIterable<Uint8Array> = request.body;
    return reportView(await vault.ingestCsv({ ...context.scope(scope), source, onError }));
  });
  server.post("/v1/operator/documents", { bodyLimit: DOCUMENT_BYTES_MAX }, async (request) => {
    const { scope, subject, name } = parseWith(documentQuery, request.query, "query");
    if (!(request.body instanceof Uint8Array)) throw expectedBody("an image");
    const bytes = new Uint8Array(request.body);
    const documents = Readable.from([{ name, subject, bytes }]);
    return reportView(await vault.ingestDocuments({ ...context.scope(scope), documents }));
  });
}

function reportView(report: Awaited<ReturnType<Vault["ingestCsv"]>>) {
  const { records, batches, quarantined_count: quarantined } = report;
  return { records, batches, quarantined, first_quarantined: report.quarantined };
}

function expectedBody(what: string): MalformedError {
  return new MalformedError({ code: "SCHEMA_MALFORMED", field: "body" }, `body: expected ${what}`);
}

function addGovernanceOfAccess(server: FastifyInstance, context: OperatorRoutesContext): void {
  const { vault } = context;
  server.post("/v1/operator/consent", async (request) => {
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
  server.post("/v1/operator/grants", async (request) => {
    const grant = parseWith(grantBody, request.body, "body");
    const { domain_id } = context.scope(grant.record_scope).recordScope;
    await vault.grant({ ...grant, domain_id });
    return { grant_id: grant.grant_id };
  });
  server.post("/v1/operator/grants/revoke", async (request) => {
    const { grant_id: grantId } = parseWith(revokeBody, request.body, "body");
    await vault.revokeGrant(grantId);
    return { grant_id: grantId };
  });
}
