import { MalformedError } from "#protocol";

import type { VaultContext } from "../vault-context.ts";
import { openCsv, type CsvSource } from "./csv.ts";
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
import type { RowSource } from "./source.ts";

/** What the bytes of a source are. */
export const INGEST_FORMATS = ["csv", "jsonl", "documents"] as const;
export type IngestFormat = (typeof INGEST_FORMATS)[number];

/** See {@link ingestSource}. */
export interface SourceIngest extends Omit<RowIngest, "source" | "mapping"> {
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

async function open(
  bytes: AsyncIterable<Uint8Array>,
  { format, mapping, scope }: Opening,
): Promise<{ readonly source: RowSource | CsvSource; readonly mapping: RowMapping }> {
  switch (format) {
    case "csv": {
      const { separator, columns, blank_lines: blankLines } = mapping.csv;
      const source = await openCsv(bytes, {
        separator,
        ...(columns === null ? {} : { columns }),
        ...(blankLines === "skip" ? { blankLines } : {}),
      });
      return { source, mapping: rowMappingOf(mapping, format) };
    }
    case "jsonl": {
      const columns = sourceColumns(mapping, scope.recordScope.attribute_ids);
      const source = openJsonLines(bytes, { columns, ignored: new Set(mapping.ignore) });
      return { source, mapping: rowMappingOf(mapping, format) };
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
