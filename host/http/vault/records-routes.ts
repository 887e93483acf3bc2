import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { hex, identifier, parseWith } from "#protocol";
import { z } from "zod";

import type { IngestReport } from "../../sovereignty/index.ts";
import { expectedBody, streamedBody } from "./body.ts";
import type { VaultRoutesContext } from "./context.ts";

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

/** What goes into a Vault, and which records it holds. */
export function addRecordsRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  server.removeContentTypeParser("text/csv");
  server.addContentTypeParser("text/csv", (_request, payload, done) => done(null, payload));
  server.post("/v1/vault/ingest", { bodyLimit: CSV_BYTES_MAX }, async (request) => {
    const { scope, on_error: onError } = parseWith(ingestQuery, request.query, "query");
    const source = streamedBody(request.body, "text/csv");
    return reportView(await vault.ingestCsv({ ...context.scope(scope), source, onError }));
  });
  server.post("/v1/vault/documents", { bodyLimit: DOCUMENT_BYTES_MAX }, async (request) => {
    const { scope, subject, name } = parseWith(documentQuery, request.query, "query");
    if (!(request.body instanceof Uint8Array)) throw expectedBody("an image");
    const bytes = new Uint8Array(request.body);
    const documents = Readable.from([{ name, subject, bytes }]);
    return reportView(await vault.ingestDocuments({ ...context.scope(scope), documents }));
  });
  server.get("/v1/vault/records", async (request) => {
    const { scope } = parseWith(scopeQuery, request.query, "query");
    const records = await vault.recordCommitments(scope);
    return records.map(({ commitment, batch_id, row }) => ({
      commitment: hex(commitment),
      batch_id: hex(batch_id),
      row,
    }));
  });
}

function reportView(report: IngestReport) {
  const { records, batches, quarantined_count: quarantined } = report;
  return { records, batches, quarantined, first_quarantined: report.quarantined };
}
