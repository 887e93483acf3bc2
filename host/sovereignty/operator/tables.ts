import type { SchemaWords } from "../../store/index.ts";

/** Tables of what the operator searches; part of a Vault's store. */
export interface OperatorTables {}

/** Statements of schema version 3 for {@link OperatorTables}. */
export function operatorStatements(_sql: SchemaWords): readonly string[] {
  return [];
}
