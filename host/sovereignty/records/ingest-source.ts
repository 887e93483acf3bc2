import { MalformedError, columnsOfScope } from "#protocol";

import { ColumnTallies } from "../local/column-tallies.ts";
import { keptColumnsOf } from "../local/kept.ts";
import { SourceHead } from "../local/source-head.ts";
import type { VaultContext } from "../vault-context.ts";
import { openCsv } from "./csv.ts";
import { documentMapping, openDocuments } from "./documents.ts";
import { ingestRows, type RowIngest } from "./ingest.ts";
import { openJsonLines } from "./jsonl.ts";
import { IDENTITY_MAPPING, type IngestMapping } from "./mapping-file.ts";
import {
  keepingMapping,
  rowMappingOf,
  saysNothing,
  sourceColumns,
  type KeptColumn,
} from "./mapping.ts";
import type { IngestReport } from "./publish.ts";
import type { RowMapping } from "./row-mapping.ts";
import type { RowSource, SourceRow } from "./source.ts";

/** What the bytes of a source are. */
export const INGEST_FORMATS = ["csv", "jsonl", "documents"] as const;
export type IngestFormat = (typeof INGEST_FORMATS)[number];

/** See {@link ingestSource}. */
export interface SourceIngest extends Omit<RowIngest, "source" | "mapping" | "untaken" | "kept"> {
  readonly format: IngestFormat;
  /** Absent: every attribute from the column of its own name. */
  readonly mapping?: IngestMapping;
  readonly source: AsyncIterable<Uint8Array>;
}

/**
 * Ingests a stream of bytes: RFC 4180 text, JSON Lines, or documents as `documentFrames` writes them.
 *
 * @throws as {@link ingestRows}; MalformedError SCHEMA_CONFIG_MALFORMED for a mapping that does not fit the scope, or any
 * with documents.
 */
export async function ingestSource(
  context: VaultContext,
  { format, mapping = IDENTITY_MAPPING, source, ...args }: SourceIngest,
): Promise<IngestReport> {
  const kept = await keptColumnsOf(context, args.recordScope.record_scope_id, mapping);
  const opened = await open(source, { format, mapping, kept, scope: args });
  return await ingestRows(context, { ...args, ...opened, kept });
}

interface Opening {
  readonly format: IngestFormat;
  readonly mapping: IngestMapping;
  readonly kept: readonly KeptColumn[];
  readonly scope: Pick<RowIngest, "recordScope" | "attributes">;
}

type Opened = Pick<RowIngest, "source" | "untaken"> & { readonly mapping: RowMapping };

async function open(
  bytes: AsyncIterable<Uint8Array>,
  { format, mapping, kept, scope }: Opening,
): Promise<Opened> {
  const attributes = columnsOfScope(scope.recordScope).map((column) => column.attribute_id);
  const rows = (of: "csv" | "jsonl"): RowMapping => {
    const { digest } = declaredMapping({ format: of, mapping, scope });
    return { ...rowMappingOf(keepingMapping(mapping, kept, attributes), of), digest };
  };
  switch (format) {
    case "csv":
      return { ...(await openTable(bytes, mapping)), mapping: rows(format) };
    case "jsonl": {
      const own = kept.map(({ column }) => column);
      const columns = [...sourceColumns(mapping, attributes), ...own];
      const tallies = new ColumnTallies([...mapping.ignore, ...own]);
      const source = openJsonLines(bytes, {
        ...{ columns, ignored: new Set(mapping.ignore) },
        passed: (key, cell) => tallies.note(key, cell),
      });
      const untaken = async () => ({ columns: tallies.seen(), dropped: tallies.dropped });
      return { source: tallied(source, own, tallies), mapping: rows(format), untaken };
    }
    case "documents":
      return {
        source: openDocuments(bytes),
        mapping: declaredMapping({ format, mapping, scope }),
      };
  }
}

/** What a source's rows become as far as its sender says: all that its digest depends on. @throws as {@link ingestSource} */
export function declaredMapping({
  format,
  mapping,
  scope,
}: Pick<Opening, "format" | "mapping" | "scope">): RowMapping {
  if (format !== "documents") return rowMappingOf(mapping, format);
  if (saysNothing(mapping)) return documentMapping(scope);
  throw new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field: "mapping" },
    "mapping: expected none with documents",
  );
}

/** The same rows; `tallies` takes note of what passes in some columns. */
function tallied(source: RowSource, own: readonly string[], tallies: ColumnTallies): RowSource {
  if (own.length === 0) return source;
  const places = own.map((column) => [column, source.columns.indexOf(column)] as const);
  return { ...source, rows: noting(source.rows, places, tallies) };
}

async function* noting(
  rows: RowSource["rows"],
  places: readonly (readonly [string, number])[],
  tallies: ColumnTallies,
): AsyncGenerator<readonly SourceRow[]> {
  for await (const group of rows) {
    for (const row of group) {
      if (!("cells" in row)) continue;
      for (const [column, at] of places) {
        const cell = row.cells[at] ?? null;
        if (typeof cell === "string") tallies.note(column, cell);
      }
    }
    yield group;
  }
}

async function openTable(
  bytes: AsyncIterable<Uint8Array>,
  { csv, ignore, keep }: IngestMapping,
): Promise<Pick<RowIngest, "source" | "untaken">> {
  const { separator, columns, blank_lines: blankLines } = csv;
  const options = {
    separator,
    ...(columns === null ? {} : { columns }),
    ...(blankLines === "skip" ? { blankLines } : {}),
  } as const;
  const untold = new Set([...ignore, ...Object.keys(keep)]);
  if (untold.size === 0) return { source: await openCsv(bytes, options) };
  const head = new SourceHead();
  const source = await openCsv(head.through(bytes), options);
  const untaken: RowIngest["untaken"] = async (rows) => {
    const named = source.columns.map((column) => column.normalize("NFC"));
    const tallies = await head.tallies(
      named.filter((column) => untold.has(column)),
      options,
    );
    return { columns: tallies.inEveryRow(rows), dropped: tallies.dropped };
  };
  return { source, untaken };
}
