import { MalformedError } from "#protocol";

import { ColumnTallies } from "../local/column-tallies.ts";
import { SourceHead } from "../local/source-head.ts";
import type { VaultContext } from "../vault-context.ts";
import { openCsv } from "./csv.ts";
import { documentMapping, openDocuments } from "./documents.ts";
import { ingestRows, type RowIngest } from "./ingest.ts";
import { openJsonLines } from "./jsonl.ts";
import {
  IDENTITY_MAPPING,
  rowMappingOf,
  saysNothing,
  sourceColumns,
  type IngestMapping,
} from "./mapping.ts";
import type { IngestReport } from "./publish.ts";
import type { RowMapping } from "./row-mapping.ts";

/** What the bytes of a source are. */
export const INGEST_FORMATS = ["csv", "jsonl", "documents"] as const;
export type IngestFormat = (typeof INGEST_FORMATS)[number];

/** See {@link ingestSource}. */
export interface SourceIngest extends Omit<RowIngest, "source" | "mapping" | "untaken"> {
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
  const opened = await open(source, { format, mapping, scope: args });
  return await ingestRows(context, { ...args, ...opened });
}

interface Opening {
  readonly format: IngestFormat;
  readonly mapping: IngestMapping;
  readonly scope: Pick<RowIngest, "recordScope" | "attributes">;
}

type Opened = Pick<RowIngest, "source" | "untaken"> & { readonly mapping: RowMapping };

async function open(
  bytes: AsyncIterable<Uint8Array>,
  { format, mapping, scope }: Opening,
): Promise<Opened> {
  switch (format) {
    case "csv":
      return { ...(await openTable(bytes, mapping)), mapping: rowMappingOf(mapping, format) };
    case "jsonl": {
      const columns = sourceColumns(mapping, scope.recordScope.attribute_ids);
      const tallies = new ColumnTallies(mapping.ignore);
      const source = openJsonLines(bytes, {
        ...{ columns, ignored: new Set(mapping.ignore) },
        passed: (key, cell) => tallies.note(key, cell),
      });
      const untaken = async () => ({ columns: tallies.seen(), dropped: tallies.dropped });
      return { source, mapping: rowMappingOf(mapping, format), untaken };
    }
    case "documents":
      if (!saysNothing(mapping)) {
        throw new MalformedError(
          { code: "SCHEMA_CONFIG_MALFORMED", field: "mapping" },
          "mapping: expected none with documents",
        );
      }
      return { source: openDocuments(bytes), mapping: documentMapping(scope) };
  }
}

async function openTable(
  bytes: AsyncIterable<Uint8Array>,
  { csv, ignore }: IngestMapping,
): Promise<Pick<RowIngest, "source" | "untaken">> {
  const { separator, columns, blank_lines: blankLines } = csv;
  const options = {
    separator,
    ...(columns === null ? {} : { columns }),
    ...(blankLines === "skip" ? { blankLines } : {}),
  } as const;
  if (ignore.length === 0) return { source: await openCsv(bytes, options) };
  const head = new SourceHead();
  const source = await openCsv(head.through(bytes), options);
  const untaken: RowIngest["untaken"] = async (rows) => {
    const named = source.columns.map((column) => column.normalize("NFC"));
    const tallies = await head.tallies(
      named.filter((column) => ignore.includes(column)),
      options,
    );
    return { columns: tallies.inEveryRow(rows), dropped: tallies.dropped };
  };
  return { source, untaken };
}
