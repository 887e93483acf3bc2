import type { Generated, SchemaWords } from "../../store/index.ts";

/** Tables of key rotation, erasure and backups; part of a Vault's store. */
export interface CustodyTables {
  /** A rotation of the master key, or the sealing anew of every batch; done when `done_ms` says so. */
  key_run: {
    run_id: Generated<number>;
    kind: "rotate" | "reencrypt";
    /** The key that was current when a rotation began. */
    from_key: string;
    /** Position of the last batch that is sealed anew, and of the last that is to be. */
    after: number;
    until: number;
    started_ms: number;
    done_ms: number | null;
  };
  /** The erasure of one subject. The ordinal stays: with it the budget that is spent. */
  erasure: {
    erasure_id: Generated<number>;
    ordinal: number;
    started_ms: number;
    done_ms: number | null;
  };
  /** What an erasure has destroyed in one batch. */
  erasure_batch: {
    erasure_id: number;
    batch_id: Uint8Array;
    root: Uint8Array;
    records: number;
    /** SHA-256 of the protected key that is gone, and of the sealed file. */
    destroyed_key: Uint8Array;
    destroyed_file: Uint8Array;
  };
}

/** Columns that version 3 adds to `batch`. */
export interface BatchCustodyColumns {
  /** Id in the header and the name of the sealed file; null until the batch is first sealed anew. */
  sealed_id: Uint8Array | null;
  /** Rows whose subject was erased, u32 little endian, ascending; null for none. */
  erased_rows: Uint8Array | null;
}

/** Columns that version 3 adds to `execution`. */
export interface ExecutionCustodyColumns {
  /** Digest of the session manifest of the enclave that keys are released to; null before version 3. */
  enclave_manifest: Uint8Array | null;
}

/** Statements of schema version 3 for {@link CustodyTables} and the columns above. */
export function custodyStatements(words: SchemaWords): readonly string[] {
  const { blob, integer, position, text, strict } = words;
  return [
    `alter table batch add column sealed_id ${blob}`,
    `alter table batch add column erased_rows ${blob}`,
    `alter table execution add column enclave_manifest ${blob}`,
    `create index decision_task on decision (task_id)`,
    `create table key_run (
       run_id ${position}, kind ${text} not null, from_key ${text} not null,
       after ${integer} not null, until ${integer} not null, started_ms ${integer} not null,
       done_ms ${integer}) ${strict}`,
    `create table erasure (
       erasure_id ${position}, ordinal ${integer} not null, started_ms ${integer} not null,
       done_ms ${integer}) ${strict}`,
    `create index erasure_ordinal on erasure (ordinal)`,
    `create table erasure_batch (
       erasure_id ${integer} not null references erasure (erasure_id), batch_id ${blob} not null,
       root ${blob} not null, records ${integer} not null, destroyed_key ${blob} not null,
       destroyed_file ${blob} not null, primary key (erasure_id, batch_id)) ${strict}`,
  ];
}
