import type { FastifyInstance } from "fastify";
import { fromHex, hex, identifier, utf8 } from "#protocol";
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
import { SOURCE_TYPE, STREAM_BYTES_MAX, acceptStreams, streamedBody, takeBytes } from "./body.ts";
import { addRoute, both, fromBody, fromBytes, fromQuery, json, nothing } from "../route.ts";
import {
  ingestReportSchema,
  ingestsSchema,
  publishedSchema,
  quarantinedSchema,
  recordsSchema,
} from "./answers.ts";
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
const publishedBody = z.strictObject({
  scope: identifier,
  format: z.enum(INGEST_FORMATS),
  /** SHA-256 of the source's bytes. */
  digest: z.string().regex(/^[0-9a-f]{64}$/, { error: "expected 64 hex digits" }),
  /** The text of its mapping file; empty where every attribute is a column of its own name. */
  mapping: z.string().max(MAPPING_BYTES_MAX).default(""),
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
  const { vault, scope: target } = context;
  acceptStreams(server);
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/ingests",
    summary: "Puts a source of records, streamed, into the Vault.",
    takes: both(fromQuery(ingestQuery), fromBytes(SOURCE_TYPE)),
    gives: json(ingestReportSchema),
    bodyBytesMax: STREAM_BYTES_MAX,
    handle: async ([query, body]) => reportView(await ingest(context, query, body)),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/ingests",
    summary: "Lists open ingests, oldest first, and the last published ones.",
    takes: nothing,
    gives: json(ingestsSchema),
    handle: async () => {
      const { open, published } = await vault.records.runs();
      return { open, published: published.map(reportView) };
    },
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/ingests/published",
    summary: "Says whether a source is published already, so that it need not be sent again.",
    takes: fromBody(publishedBody),
    gives: json(publishedSchema),
    handle: async ({ scope, format, digest, mapping }) => {
      const published = await vault.records.published({
        ...{ ...target(scope), format, digest: fromHex(digest) },
        ...(mapping === "" ? {} : { mapping: parseMapping(utf8(mapping)) }),
      });
      return { published: published === null ? null : reportView(published) };
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/ingests/quarantine",
    summary: "Lists rows that an ingest left out.",
    takes: fromQuery(quarantineQuery),
    gives: json(z.array(quarantinedSchema).readonly()),
    handle: async (query) => vault.records.quarantined({ ...query, ingestId: query.ingest }),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/ingests/abandon",
    summary: "Removes an interrupted ingest and what it has staged.",
    takes: fromBody(abandonBody),
    gives: json(abandonBody),
    handle: async (body) => {
      await vault.records.abandon(body.ingest_id);
      return body;
    },
  });
  addRecordList(server, context);
}

function addRecordList(server: FastifyInstance, { vault }: VaultRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/records",
    summary: "Lists the commitments of a scope's records.",
    takes: fromQuery(recordsQuery),
    gives: json(recordsSchema),
    handle: async ({ scope: recordScope, ...page }) => {
      const { records, next } = await vault.recordCommitments({ recordScope, ...page });
      return {
        records: records.map(({ commitment, batch_id, row }) => ({
          commitment: hex(commitment),
          batch_id: hex(batch_id),
          row,
        })),
        next: next === null ? null : `${next.position}:${next.row}`,
      };
    },
  });
}

async function ingest(
  { vault, scope, governance }: VaultRoutesContext,
  query: z.output<typeof ingestQuery>,
  sent: unknown,
): Promise<IngestReport> {
  const target = scope(query.scope);
  const body = streamedBody(sent, SOURCE_TYPE);
  const { head, rest } = await takeBytes(body, query.mapping_bytes);
  return await vault.ingest({
    ...target,
    epochId: governance().epoch.epochId,
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
