import type { SchemaWords } from "../../store/index.ts";

/** Tables of the pool of local attributes; part of a Vault's store. None holds a value of a record. */
export interface LocalTables {
  /** What the sources that were published in one epoch had in one column that maps to no attribute. */
  local_attribute: {
    record_scope: string;
    column_name: string;
    epoch_id: number;
    domain_id: string;
    rows: number;
    /** How many values, of those that were looked at, were of each type. */
    integer_values: number;
    decimal_values: number;
    date_values: number;
    text_values: number;
  };
  /** Columns that the pool did not take: their names are too long, or they are too many. */
  local_dropped: { record_scope: string; columns: number };
  /** What was said about a column outside the Vault: said again, it is the same. Epochs both in. */
  local_candidate: {
    record_scope: string;
    column_name: string;
    first_epoch: number;
    last_epoch: number;
    /** COSE_Sign1 of a `local-attribute-candidate`. */
    signed: Uint8Array;
  };
}

/** Statements of schema version 4. */
export function localStatements({
  appendOnly,
  blob,
  integer,
  text,
  strict,
}: SchemaWords): readonly string[] {
  return [
    `alter table ingest_run add column observation ${text}`,
    `create table local_attribute (
       record_scope ${text} not null, column_name ${text} not null, epoch_id ${integer} not null,
       domain_id ${text} not null, rows ${integer} not null, integer_values ${integer} not null,
       decimal_values ${integer} not null, date_values ${integer} not null,
       text_values ${integer} not null,
       primary key (record_scope, column_name, epoch_id)) ${strict}`,
    `create table local_dropped (
       record_scope ${text} primary key, columns ${integer} not null) ${strict}`,
    `create table local_candidate (
       record_scope ${text} not null, column_name ${text} not null, first_epoch ${integer} not null,
       last_epoch ${integer} not null, signed ${blob} not null,
       primary key (record_scope, column_name, first_epoch, last_epoch)) ${strict}`,
    ...appendOnly("local_candidate"),
  ];
}
