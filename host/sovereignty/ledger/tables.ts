import type { SchemaWords } from "../../store/index.ts";

/** Tables of snapshots of the ledger and of consents; part of a Vault's store. */
export interface LedgerTables {}

/** Statements of schema version 3 for {@link LedgerTables}. */
export function ledgerStatements(_sql: SchemaWords): readonly string[] {
  return [];
}
