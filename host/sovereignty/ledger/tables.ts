import type { SchemaWords } from "../../store/index.ts";

/** Tables of snapshots of the ledger and of consents; part of a Vault's store. */
export interface LedgerTables {
  /** The snapshot that a start may begin from; at most one. The file is beside the store. */
  ledger_snapshot: {
    file: string;
    /** SHA-256 of the file. */
    digest: Uint8Array;
    /** The last entry of the ledger and the last consent event that it includes. */
    ledger_position: number;
    consent_position: number;
  };
}

/**
 * Statements of schema version 3 for {@link LedgerTables}. Entries `replenish` and `write_off` have empty reservation,
 * task and record scope.
 */
export function ledgerStatements(sql: SchemaWords): readonly string[] {
  return [
    `create table ledger_snapshot (
       file ${sql.text} primary key, digest ${sql.blob} not null,
       ledger_position ${sql.integer} not null, consent_position ${sql.integer} not null)
       ${sql.strict}`,
    `alter table ledger add column record_scope_micro ${sql.integer}`,
    `create unique index ledger_reserve on ledger (reservation_id) where kind = 'reserve'`,
    `create unique index ledger_end on ledger (reservation_id) where kind in ('commit', 'release')`,
    `create unique index ledger_replenish on ledger (usage_scope, epoch_id)
       where kind = 'replenish'`,
    `alter table consent_event add column after_ledger ${sql.integer}`,
  ];
}
