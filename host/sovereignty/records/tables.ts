import type { SchemaWords } from "../../store/index.ts";

/** Tables of what ingest keeps; part of a Vault's store. */
export interface RecordsTables {}

/** Statements of schema version 3 for {@link RecordsTables}. */
export function recordsStatements(_sql: SchemaWords): readonly string[] {
  return [];
}
