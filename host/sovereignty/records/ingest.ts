import { createHash } from "node:crypto";

import {
  LimitError,
  MalformedError,
  RefusedError,
  SALT_BYTES,
  SymphonyError,
  encodeCbor,
  hex,
  sha256,
  utf8,
  type AttributeValue,
  type BatchColumn,
  type CanonicalAttribute,
  type RecordScope,
} from "#protocol";
import { z } from "zod";

import { parseAttributeValue } from "./attribute-value.ts";
import { BatchWriter } from "./batch-writer.ts";
import { readCsv, type CsvRow } from "./csv.ts";
import { parseImageHeader } from "./document-image.ts";
import type { VaultContext } from "../vault-context.ts";

/** Most records of a batch, and quarantined rows that a report names. */
export const INGEST_BATCH_ROWS_MAX = 10_000;
const QUARANTINED_NAMED_MAX = 100;
const DOCUMENT_NAME_MAX = 200;

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

/** See {@link ingestCsv}. */
export interface CsvIngest extends IngestTarget {
  readonly source: AsyncIterable<Uint8Array>;
  /** Whether a row at fault ends the ingest, or is left out and reported. */
  readonly onError: "abort" | "quarantine";
  /** At most {@link INGEST_BATCH_ROWS_MAX}, the default. */
  readonly batchRows?: number;
  readonly onProgress?: (records: number) => void;
}

/** See {@link ingestDocuments}. */
export interface DocumentIngest extends IngestTarget {
  readonly documents: AsyncIterable<{
    readonly name: string;
    readonly bytes: Uint8Array;
    /** Value of the subject attribute. */
    readonly subject: string;
  }>;
}

/**
 * Ingests RFC 4180 text whose header names exactly the attributes of the scope, in any order. All rows or, when it
 * throws, none. Holds one batch in memory.
 *
 * @throws MalformedError SCHEMA_UNKNOWN_COLUMN with `column` for one too many or missing; SCHEMA_ROW_MALFORMED with
 * `line` and `column`. LimitError SCHEMA_TOO_LARGE. UnavailableError from key custody or the store.
 */
export async function ingestCsv(context: VaultContext, args: CsvIngest): Promise<IngestReport> {
  const layout = layoutOf(args);
  const rowsMax = Math.min(args.batchRows ?? INGEST_BATCH_ROWS_MAX, INGEST_BATCH_ROWS_MAX);
  const hash = createHash("sha256");
  const rows = readCsv(hashed(args.source, hash));
  return await ingest(context, { layout, rowsMax }, async (sink) => {
    let header: readonly LayoutColumn[] | undefined;
    for await (const group of rows) {
      for (const row of group) {
        if (header === undefined) header = headerOf(row, layout);
        else await takeRow(sink, { row, header, onError: args.onError });
      }
      args.onProgress?.(sink.records);
    }
    if (header === undefined) throw columnMalformed(layout.columns[0]?.name ?? "", "missing");
    return new Uint8Array(hash.digest());
  });
}

/**
 * Ingests PNG or JPEG documents. The scope has one attribute of bytes, which takes the image; its subject attribute
 * takes `subject`, another text attribute, if there is one, `name`. All or, when it throws, none.
 *
 * @throws MalformedError SCHEMA_IMAGE_MALFORMED with `document`; LimitError SCHEMA_TOO_LARGE above 8 MiB.
 */
export async function ingestDocuments(
  context: VaultContext,
  args: DocumentIngest,
): Promise<IngestReport> {
  const layout = layoutOf(args);
  const { image, name: nameColumn } = documentColumns(layout);
  const hash = createHash("sha256");
  return await ingest(context, { layout, rowsMax: INGEST_BATCH_ROWS_MAX }, async (sink) => {
    for await (const { name, bytes, subject } of args.documents) {
      requireDocument(name, subject, bytes);
      hash.update(encodeCbor([name.normalize("NFC"), subject.normalize("NFC"), sha256(bytes)]));
      const values = new Map<string, AttributeValue>([
        [image, bytes],
        [layout.subject, subject.normalize("NFC")],
      ]);
      if (nameColumn !== undefined) values.set(nameColumn, name.normalize("NFC"));
      await sink.add(values, bytes.length);
    }
    return new Uint8Array(hash.digest());
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

function headerOf(row: CsvRow, layout: Layout): readonly LayoutColumn[] {
  const header = row.cells.map((name, index) => {
    const column = layout.columns.find((each) => each.name === name);
    if (column === undefined) throw columnMalformed(name, "unknown");
    if (row.cells.indexOf(name) !== index) throw columnMalformed(name, "repeated");
    return column;
  });
  const missing = layout.columns.find((column) => !row.cells.includes(column.name));
  if (missing !== undefined) throw columnMalformed(missing.name, "missing");
  return header;
}

async function takeRow(
  sink: Sink,
  args: { row: CsvRow; header: readonly LayoutColumn[]; onError: "abort" | "quarantine" },
): Promise<void> {
  const { row, header, onError } = args;
  const parsed = parseRow(row, header, sink.subject);
  if ("values" in parsed) {
    const contentBytes = row.cells.reduce((sum, cell) => sum + cell.length, 0);
    await sink.add(parsed.values, contentBytes);
  } else if (onError === "quarantine") {
    sink.quarantine(parsed);
  } else {
    throw rowMalformed(parsed);
  }
}

function parseRow(
  row: CsvRow,
  header: readonly LayoutColumn[],
  subject: string,
): { values: Map<string, AttributeValue> } | QuarantinedRow {
  const { line, cells } = row;
  if (cells.length !== header.length) {
    return { line, column: null, expected: `${header.length} cells` };
  }
  const values = new Map<string, AttributeValue>();
  for (const [index, column] of header.entries()) {
    try {
      values.set(column.name, parseAttributeValue(cells[index] ?? "", column.attribute));
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      return { line, column: column.name, expected: String(error.details["expected"]) };
    }
  }
  if (subjectText(values.get(subject)) === undefined) {
    return { line, column: subject, expected: "whose record it is, got an empty cell" };
  }
  return { values };
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

function documentColumns(layout: Layout): { image: string; name: string | undefined } {
  const images = layout.columns.filter((column) => column.type === "bytes");
  const others = layout.columns.filter((column) => column.type !== "bytes");
  const names = others.filter((column) => column.name !== layout.subject);
  const [image] = images;
  const fits =
    images.length === 1 && names.length <= 1 && others.every((column) => column.type === "text");
  if (image === undefined || !fits) {
    throw new RefusedError(
      { code: "DERIVATION_UNRESOLVED", record_scope: layout.recordScope },
      `record scope ${layout.recordScope}: expected one attribute of bytes, a subject and at most one other text`,
    );
  }
  return { image: image.name, name: names[0]?.name };
}

/** Names in errors are the operator's file names; the document itself is never told. */
function requireDocument(name: string, subject: string, bytes: Uint8Array): void {
  if (name.length > DOCUMENT_NAME_MAX || utf8(subject).length > DOCUMENT_NAME_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", max: DOCUMENT_NAME_MAX },
      `document name and subject: expected at most ${DOCUMENT_NAME_MAX} characters`,
    );
  }
  if (subject.trim() === "") {
    throw new MalformedError(
      { code: "SCHEMA_ROW_MALFORMED", document: name },
      `document ${name}: expected whose it is, got an empty subject`,
    );
  }
  try {
    parseImageHeader(bytes);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new MalformedError(
      { code: error.code, document: name },
      `document ${name}: ${error.message}`,
      { cause: error },
    );
  }
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: { update(bytes: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    hash.update(bytes);
    yield bytes;
  }
}

function columnMalformed(column: string, problem: "unknown" | "missing" | "repeated") {
  return new MalformedError(
    { code: "SCHEMA_UNKNOWN_COLUMN", column: column.slice(0, 64), problem },
    `column ${column.slice(0, 64)}: expected each attribute of the record scope once, got ${problem}`,
  );
}

function rowMalformed({ line, column, expected }: QuarantinedRow): MalformedError {
  const place = column === null ? `line ${line}` : `line ${line}, column ${column}`;
  return new MalformedError(
    { code: "SCHEMA_ROW_MALFORMED", line, column, expected },
    `${place}: expected ${expected}`,
  );
}
