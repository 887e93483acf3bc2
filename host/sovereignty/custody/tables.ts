import type { SchemaWords } from "../../store/index.ts";

/** Tables of key rotation, erasure and backups; part of a Vault's store. */
export interface CustodyTables {}

/** Statements of schema version 3 for {@link CustodyTables}. */
export function custodyStatements(_sql: SchemaWords): readonly string[] {
  return [];
}
