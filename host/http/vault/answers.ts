import { z } from "zod";

/** A row that an ingest left out: where it is, and what was expected there. */
export const quarantinedSchema = z.object({
  line: z.number(),
  column: z.string().nullable(),
  expected: z.string(),
});

/** What an ingest did. */
export const ingestReportSchema = z.object({
  ingest_id: z.string(),
  record_scope: z.string(),
  records: z.number(),
  batches: z.number(),
  quarantined: z.number(),
  first_quarantined: z.array(quarantinedSchema),
});

/** A page of record commitments; `next` is null after the last. */
export const recordsSchema = z.object({
  records: z.array(z.object({ commitment: z.string(), batch_id: z.string(), row: z.number() })),
  next: z.string().nullable(),
});
