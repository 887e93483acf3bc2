import {
  MalformedError,
  RefusedError,
  SALT_BYTES,
  SymphonyError,
  digestOf,
  hex,
  type AttributeValue,
  type BatchColumn,
  type CanonicalAttribute,
  type RecordScope,
} from "#protocol";
import { z } from "zod";

import { parseAttributeValue } from "./attribute-value.ts";
import { BatchWriter } from "./batch-writer.ts";
import { IDENTITY_ROWS, type BoundMapping, type RowMapping } from "./row-mapping.ts";
import type { Cell, RowSource, SourceRow } from "./source.ts";
import type { VaultContext } from "../vault-context.ts";

/** Most records of a batch, and quarantined rows that a report names. */
export const INGEST_BATCH_ROWS_MAX = 10_000;
const QUARANTINED_NAMED_MAX = 100;

const quarantinedRowSchema = z.strictObject({
  line: z.int(),
  column: z.string().nullable(),
  expected: z.string(),
});

const ingestReportSchema = z.strictObject({
  ingest_id: z.string(),
  record_scope: z.string(),
  records: z.int(),
  batches: z.int(),
  commitments: z.int(),
  quarantined_count: z.int(),
  /** The first 100. Says where and what was expected, never a value. */
  quarantined: z.array(quarantinedRowSchema),
});

/** What an ingest did. The same source for the same scope gives the same report and no second copy. */
export type IngestReport = z.infer<typeof ingestReportSchema>;
type QuarantinedRow = z.infer<typeof quarantinedRowSchema>;

/** Which records are ingested, from a governance state's semantic registry. */
export interface IngestTarget {
  readonly recordScope: RecordScope;
  readonly attributes: readonly CanonicalAttribute[];
}

/** How an ingest goes about its rows. */
export interface IngestOptions {
  /** Which cells become which attributes; {@link IDENTITY_ROWS} when absent. */
  readonly mapping?: RowMapping;
  /** Whether a row at fault ends the ingest, or is left out and reported. */
  readonly onError: "abort" | "quarantine";
  /** At most {@link INGEST_BATCH_ROWS_MAX}, the default. */
  readonly batchRows?: number;
  readonly onProgress?: (records: number) => void;
}

/** See {@link ingestRows}. */
export interface RowIngest extends IngestTarget, IngestOptions {
  readonly source: RowSource;
}

/**
 * Ingests the rows of a source. All or, when it throws, none. Holds one batch in memory.
 *
 * @throws MalformedError SCHEMA_UNKNOWN_COLUMN with `column` for columns that the mapping does not take;
 * SCHEMA_ROW_MALFORMED with `line` and `column`. LimitError SCHEMA_TOO_LARGE. UnavailableError from key custody or the
 * store. What the source throws.
 */
export async function ingestRows(context: VaultContext, args: RowIngest): Promise<IngestReport> {
  const { source, mapping = IDENTITY_ROWS, onError } = args;
  const layout = layoutOf(args);
  const rowsMax = Math.min(args.batchRows ?? INGEST_BATCH_ROWS_MAX, INGEST_BATCH_ROWS_MAX);
  const names = layout.columns.map(({ name }) => name);
  const bound = mapping.bind(source.columns, names);
  const width = source.columns.length;
  return await ingest(context, { layout, rowsMax }, async (sink) => {
    for await (const group of source.rows) {
      for (const row of group) await takeRow(sink, row, { layout, bound, width, onError });
      args.onProgress?.(sink.records);
    }
    return sourceDigestOf(source, mapping);
  });
}

interface LayoutColumn extends BatchColumn {
  readonly attribute: CanonicalAttribute;
}

interface Layout {
  readonly recordScope: string;
  readonly schema: string;
  readonly columns: readonly LayoutColumn[];
  /** Name of the column that says whose record it is. */
  readonly subject: string;
}

/** Where rows go while an ingest runs. */
interface Sink {
  readonly records: number;
  readonly subject: string;
  add(values: ReadonlyMap<string, AttributeValue>, contentBytes: number): Promise<void>;
  quarantine(row: QuarantinedRow): void;
}

/** Runs `read` into a writer and publishes what it took; `read` returns the digest of its source. */
async function ingest(
  context: VaultContext,
  { layout, rowsMax }: { layout: Layout; rowsMax: number },
  read: (sink: Sink) => Promise<Uint8Array>,
): Promise<IngestReport> {
  const { recordScope, schema, columns } = layout;
  const writer = new BatchWriter(context, { recordScope, schema, columns, rowsMax });
  const taken = { records: 0, quarantinedCount: 0, quarantined: new Array<QuarantinedRow>() };
  try {
    const sourceDigest = await read({
      get records() {
        return taken.records;
      },
      subject: layout.subject,
      add: async (values, contentBytes) => {
        await writer.add(recordOf(context, layout, values), contentBytes);
        taken.records += 1;
      },
      quarantine: (row) => {
        taken.quarantinedCount += 1;
        if (taken.quarantined.length < QUARANTINED_NAMED_MAX) taken.quarantined.push(row);
      },
    });
    await writer.flush();
    const report: IngestReport = {
      ingest_id: writer.ingestId,
      record_scope: recordScope,
      records: taken.records,
      batches: writer.batchCount,
      commitments: taken.records,
      quarantined_count: taken.quarantinedCount,
      quarantined: taken.quarantined,
    };
    return await publish(context, { writer, report, sourceDigest });
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

/** Publishes an ingest, unless its source is there already: then the earlier report stands for both. */
async function publish(
  context: VaultContext,
  args: { writer: BatchWriter; report: IngestReport; sourceDigest: Uint8Array },
): Promise<IngestReport> {
  const { writer, report, sourceDigest } = args;
  const earlier = await context.store.write(async (trx) => {
    const known = await trx
      .selectFrom("ingest")
      .select("report")
      .where("source_digest", "=", sourceDigest)
      .where("record_scope", "=", report.record_scope)
      .executeTakeFirst();
    if (known !== undefined) return ingestReportSchema.parse(JSON.parse(known.report));
    const batches = await writer.publish(trx);
    await trx
      .insertInto("ingest")
      .values({
        source_digest: sourceDigest,
        record_scope: report.record_scope,
        report: JSON.stringify(report),
        at_ms: context.nowMs(),
      })
      .execute();
    await context.log.append(trx, {
      type: "ingest.published",
      taskId: null,
      body: { ingest_id: report.ingest_id, record_scope: report.record_scope, batches },
    });
    return undefined;
  });
  if (earlier === undefined) return report;
  await writer.discard();
  return earlier;
}

function layoutOf({ recordScope, attributes }: IngestTarget): Layout {
  const columns = recordScope.attribute_ids.map((id): LayoutColumn => {
    const attribute = attributes.find(
      (each) => each.attribute_id === id && each.domain_id === recordScope.domain_id,
    );
    if (attribute === undefined) {
      throw new RefusedError(
        { code: "DERIVATION_UNRESOLVED", attribute: id },
        `attribute ${id}: expected one of domain ${recordScope.domain_id}`,
      );
    }
    return { name: id, type: attribute.type, scale: attribute.scale, attribute };
  });
  const recordScopeId = recordScope.record_scope_id;
  const schema = `${recordScopeId
    .toLowerCase()
    .replace(/^[^a-z]/, "r")
    .replace(/[^a-z0-9_.-]/g, "-")}@1`;
  return { recordScope: recordScopeId, schema, columns, subject: recordScope.subject_attribute_id };
}

/** What a source is known by: its bytes and what they were read as. */
function sourceDigestOf(source: RowSource, mapping: RowMapping): Uint8Array {
  const bytes = source.digest();
  return mapping.digest === null ? bytes : digestOf("ingest-source", [bytes, mapping.digest]);
}

interface RowShape {
  readonly layout: Layout;
  readonly bound: BoundMapping;
  /** Cells of a row of the source. */
  readonly width: number;
}

async function takeRow(
  sink: Sink,
  row: SourceRow,
  shape: RowShape & { readonly onError: "abort" | "quarantine" },
): Promise<void> {
  const parsed = parseRow(row, shape);
  if ("values" in parsed) {
    await sink.add(parsed.values, parsed.contentBytes);
  } else if (shape.onError === "quarantine") {
    sink.quarantine(parsed);
  } else {
    throw rowMalformed(parsed);
  }
}

function parseRow(
  row: SourceRow,
  { layout, bound, width }: RowShape,
): { values: Map<string, AttributeValue>; contentBytes: number } | QuarantinedRow {
  const { line } = row;
  if ("fault" in row) return { line, ...row.fault };
  if (row.cells.length !== width) return { line, column: null, expected: `${width} cells` };
  const cells = bound.apply(row.cells, line);
  const values = new Map<string, AttributeValue>();
  for (const [index, { name, attribute }] of layout.columns.entries()) {
    try {
      values.set(name, valueOf(cells[index] ?? null, attribute));
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      const expected = String(error.details["expected"]);
      return { line, column: bound.names[index] ?? name, expected };
    }
  }
  if (subjectText(values.get(layout.subject)) === undefined) {
    const index = layout.columns.findIndex(({ name }) => name === layout.subject);
    const column = bound.names[index] ?? layout.subject;
    return { line, column, expected: "whose record it is, got an empty cell" };
  }
  const contentBytes = cells.reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
  return { values, contentBytes };
}

function valueOf(cell: Cell, attribute: CanonicalAttribute): AttributeValue {
  if (cell === null) return null;
  return typeof cell === "string" ? parseAttributeValue(cell, attribute) : cell;
}

function recordOf(
  context: VaultContext,
  layout: Layout,
  values: ReadonlyMap<string, AttributeValue>,
) {
  const attributes: Record<string, AttributeValue> = {};
  for (const { name } of layout.columns) attributes[name] = values.get(name) ?? null;
  return {
    schema: layout.schema,
    subject_id: context.secrets.subjectId(subjectText(values.get(layout.subject)) ?? ""),
    attributes,
    salt: context.random(SALT_BYTES),
  };
}

/** The value that names a subject, as text; undefined when it names nobody. */
function subjectText(value: AttributeValue | undefined): string | undefined {
  if (typeof value === "number") return String(value);
  if (value instanceof Uint8Array) return value.length === 0 ? undefined : hex(value);
  return value === null || value === undefined || value.trim() === "" ? undefined : value;
}

function rowMalformed({ line, column, expected }: QuarantinedRow): MalformedError {
  const place = column === null ? `line ${line}` : `line ${line}, column ${column}`;
  return new MalformedError(
    { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
    `${place}: expected ${expected}`,
  );
}
