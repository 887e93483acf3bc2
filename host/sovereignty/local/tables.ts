import type { KeptType } from "#protocol";

import type { SchemaWords } from "../../store/index.ts";

/** Tables of local attributes; part of a Vault's store. None holds a value of a record. */
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
  /** A candidate that its operator lets go to the coordinator. */
  local_share: {
    record_scope: string;
    column_name: string;
    first_epoch: number;
    last_epoch: number;
    attribute_id: string;
    approved_ms: number;
    /** When the coordinator took or refused it; null while it waits. */
    ended_ms: number | null;
    /** Why it was refused; null when it was not. */
    code: string | null;
  };
  /** A column whose values the Vault keeps in its sealed batches, since it was first said; for good. */
  local_kept: {
    record_scope: string;
    column_name: string;
    local_id: string;
    value_type: KeptType;
    scale: number;
    kept_ms: number;
  };
  /** A kept column that the Vault's own tasks may ask of (LA-3). Of one column at most one is not retired. */
  local_promoted: {
    /** Of the definition; 32 bytes. */
    digest: Uint8Array;
    record_scope: string;
    column_name: string;
    /** CBOR of a `vault-attribute`. */
    definition: Uint8Array;
    promoted_ms: number;
    /** Null while it may be asked of. */
    retired_ms: number | null;
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

/** Statements of schema version 5. */
export function keptStatements({ blob, integer, text, strict }: SchemaWords): readonly string[] {
  return [
    `create table local_kept (
       record_scope ${text} not null, column_name ${text} not null, local_id ${text} not null,
       value_type ${text} not null, scale ${integer} not null, kept_ms ${integer} not null,
       primary key (record_scope, column_name)) ${strict}`,
    `create table local_promoted (
       digest ${blob} primary key, record_scope ${text} not null, column_name ${text} not null,
       definition ${blob} not null, promoted_ms ${integer} not null, retired_ms ${integer}) ${strict}`,
    `create index local_promoted_column on local_promoted (record_scope, column_name)`,
  ];
}

/** Statements of schema version 6. */
export function shareStatements({ integer, text, strict }: SchemaWords): readonly string[] {
  return [
    `create table local_share (
       record_scope ${text} not null, column_name ${text} not null, first_epoch ${integer} not null,
       last_epoch ${integer} not null, attribute_id ${text} not null,
       approved_ms ${integer} not null, ended_ms ${integer}, code ${text},
       primary key (record_scope, column_name, first_epoch, last_epoch)) ${strict}`,
    `create index local_share_waiting on local_share (approved_ms) where ended_ms is null`,
  ];
}
