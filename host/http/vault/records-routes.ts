import type { FastifyInstance, FastifyRequest } from "fastify";
import { hex, identifier, parseWith } from "#protocol";
import { z } from "zod";

import {
  INGEST_FORMATS,
  MAPPING_BYTES_MAX,
  QUARANTINE_PAGE_MAX,
  RECORDS_PAGE_MAX,
  SOURCE_NAME_MAX,
  parseMapping,
  type IngestReport,
} from "../../sovereignty/index.ts";
import { SOURCE_TYPE, acceptStreams, streamedBody, takeBytes } from "./body.ts";
import type { VaultRoutesContext } from "./context.ts";

const ingestId = z.string().regex(/^[0-9a-f]{32}$/, { error: "expected 32 hex digits" });
const ingestQuery = z.strictObject({
  scope: identifier,
  format: z.enum(INGEST_FORMATS),
  /** What the source is called: sent again under its name, an interrupted ingest goes on. */
  source: z.string().max(SOURCE_NAME_MAX).default(""),
  on_error: z.enum(["abort", "quarantine"]).default("abort"),
  /** The body begins with a mapping file of so many bytes; the source follows it. */
  mapping_bytes: z.coerce.number().pipe(z.int().min(0).max(MAPPING_BYTES_MAX)).default(0),
});
const quarantineQuery = z.strictObject({
  ingest: ingestId,
  after: z.coerce.number().pipe(z.int().min(0)).default(0),
  limit: z.coerce.number().pipe(z.int().min(1).max(QUARANTINE_PAGE_MAX)).default(100),
});
const abandonBody = z.strictObject({ ingest_id: ingestId });
/** A batch and a row, as the answer before gave them. */
const recordPlace = z
  .string()
  .regex(/^\d{1,15}:\d{1,10}$/, { error: "expected next of the page before" })
  .transform((text) => {
    const [position = 0, row = 0] = text.split(":").map(Number);
    return { position, row };
  });
const recordsQuery = z.strictObject({
  scope: identifier,
  after: recordPlace.nullable().default(null),
  limit: z.coerce.number().pipe(z.int().min(1).max(RECORDS_PAGE_MAX)).default(1_000),
});

/** What goes into a Vault, and which records it holds. */
export function addRecordsRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  acceptStreams(server);
  server.post("/v1/vault/ingests", async (request) => reportView(await ingest(context, request)));
  server.get("/v1/vault/ingests", async () => {
    const { open, published } = await vault.records.runs();
    return { open, published: published.map(reportView) };
  });
  server.get("/v1/vault/ingests/quarantine", async (request) => {
    const query = parseWith(quarantineQuery, request.query, "query");
    return await vault.records.quarantined({ ...query, ingestId: query.ingest });
  });
  server.post("/v1/vault/ingests/abandon", async (request) => {
    const body = parseWith(abandonBody, request.body, "body");
    await vault.records.abandon(body.ingest_id);
    return body;
  });
  server.get("/v1/vault/records", async (request) => {
    const { scope: recordScope, ...page } = parseWith(recordsQuery, request.query, "query");
    const { records, next } = await vault.recordCommitments({ recordScope, ...page });
    return {
      records: records.map(({ commitment, batch_id, row }) => ({
        commitment: hex(commitment),
        batch_id: hex(batch_id),
        row,
      })),
      next: next === null ? null : `${next.position}:${next.row}`,
    };
  });
}

async function ingest(
  { vault, scope }: VaultRoutesContext,
  request: FastifyRequest,
): Promise<IngestReport> {
  const query = parseWith(ingestQuery, request.query, "query");
  const target = scope(query.scope);
  const body = streamedBody(request.body, SOURCE_TYPE);
  const { head, rest } = await takeBytes(body, query.mapping_bytes);
  return await vault.ingest({
    ...target,
    format: query.format,
    name: query.source,
    ...(head.length === 0 ? {} : { mapping: parseMapping(head) }),
    source: rest,
    onError: query.on_error,
  });
}

function reportView(report: IngestReport) {
  const { ingest_id, record_scope, records, batches, quarantined_count: quarantined } = report;
  const counts = { records, batches, quarantined };
  return { ingest_id, record_scope, ...counts, first_quarantined: report.quarantined };
}
