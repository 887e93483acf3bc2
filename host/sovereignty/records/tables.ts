import type { SchemaWords } from "../../store/index.ts";

/** Tables of what ingest keeps; part of a Vault's store. */
export interface RecordsTables {
  /** An ingest that is not published: staged batches that no task sees, from a source that may be sent again. */
  ingest_run: {
    ingest_id: string;
    record_scope: string;
    source_name: string;
    /** 32 bytes; empty for the identity. */
    mapping_digest: Uint8Array;
    created_ms: number;
    /** When a batch was last staged. */
    touched_ms: number;
    /** What the whole source is known by; null until all of it is staged. From then on the run is to be published. */
    source_digest: Uint8Array | null;
    report: string | null;
    /** JSON of an `Observation`; null for none. */
    observation: string | null;
  };
  /** A stretch of a run's source, and the batch that holds its records: none when every row was at fault. */
  ingest_segment: {
    ingest_id: string;
    sequence: number;
    end_offset: number;
    rows: number;
    records: number;
    /** SHA-256 of the source up to `end_offset`. */
    prefix_digest: Uint8Array;
    batch_id: Uint8Array | null;
    /** SHA-256 of the batch's file. */
    file_digest: Uint8Array | null;
  };
  /** Rows that an ingest left out. Says where and what was expected, never a value. */
  ingest_fault: {
    ingest_id: string;
    line: number;
    sequence: number;
    column_name: string | null;
    expected: string;
  };
  /** Where the record with a commitment is, in scopes that hold documents. Its batch may not be published yet. */
  document_record: {
    record_scope: string;
    commitment: Uint8Array;
    batch_id: Uint8Array;
    row_index: number;
  };
}

/** Statements of schema version 3 for {@link RecordsTables}. */
export function recordsStatements(sql: SchemaWords): readonly string[] {
  const { blob, integer, text, strict } = sql;
  return [
    `create table ingest_run (
       ingest_id ${text} primary key, record_scope ${text} not null, source_name ${text} not null,
       mapping_digest ${blob} not null, created_ms ${integer} not null,
       touched_ms ${integer} not null, source_digest ${blob}, report ${text},
       unique (record_scope, source_name, mapping_digest)) ${strict}`,
    `create table ingest_segment (
       ingest_id ${text} not null references ingest_run (ingest_id), sequence ${integer} not null,
       end_offset ${integer} not null, rows ${integer} not null, records ${integer} not null,
       prefix_digest ${blob} not null, batch_id ${blob}, file_digest ${blob},
       primary key (ingest_id, sequence)) ${strict}`,
    `create table ingest_fault (
       ingest_id ${text} not null, line ${integer} not null, sequence ${integer} not null,
       column_name ${text}, expected ${text} not null, primary key (ingest_id, line)) ${strict}`,
    `create table document_record (
       record_scope ${text} not null, commitment ${blob} not null, batch_id ${blob} not null,
       row_index ${integer} not null, primary key (record_scope, commitment)) ${strict}`,
    `create index document_record_batch on document_record (batch_id)`,
    `create index batch_ingest on batch (ingest_id)`,
  ];
}
