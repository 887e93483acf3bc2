import type { FastifyInstance, FastifyRequest } from "fastify";
import { hex, identifier, parseWith } from "#protocol";
import { z } from "zod";

import {
  INGEST_FORMATS,
  MAPPING_BYTES_MAX,
  parseMapping,
  type IngestReport,
} from "../../sovereignty/index.ts";
import { SOURCE_TYPE, acceptStreams, streamedBody, takeBytes } from "./body.ts";
import type { VaultRoutesContext } from "./context.ts";

const ingestQuery = z.strictObject({
  scope: identifier,
  format: z.enum(INGEST_FORMATS),
  on_error: z.enum(["abort", "quarantine"]).default("abort"),
  /** The body begins with a mapping file of so many bytes; the source follows it. */
  mapping_bytes: z.coerce.number().pipe(z.int().min(0).max(MAPPING_BYTES_MAX)).default(0),
});
const scopeQuery = z.strictObject({ scope: identifier });

/** What goes into a Vault, and which records it holds. */
export function addRecordsRoutes(server: FastifyInstance, context: VaultRoutesContext): void {
  const { vault } = context;
  acceptStreams(server);
  server.post("/v1/vault/ingests", async (request) => reportView(await ingest(context, request)));
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
    ...(head.length === 0 ? {} : { mapping: parseMapping(head) }),
    source: rest,
    onError: query.on_error,
  });
}

function reportView(report: IngestReport) {
  const { ingest_id, records, batches, quarantined_count: quarantined } = report;
  return { ingest_id, records, batches, quarantined, first_quarantined: report.quarantined };
}
