import type { Generated, SchemaWords } from "../../store/index.ts";

/** The register of a Vault's backups; part of a Vault's store. */
export interface BackupTables {
  backup: {
    position: Generated<number>;
    /** 16 bytes. */
    backup_id: Uint8Array;
    /** Where its data and its keys were put: absolute. */
    directory: string;
    keys_directory: string;
    /**
     * `making` until all of it is on disk; `expired` when it may not be restored any more; `destroyed` when its files
     * are gone, or somebody has said so.
     */
    state: "making" | "whole" | "expired" | "destroyed";
    created_ms: number;
    /** Position of the last batch in it, events of its log, bytes of its files; 0 while it is made. */
    last_batch: number;
    log_size: number;
    bytes: number;
    /** 1 when this Vault has removed the files there. */
    data_gone: number;
    keys_gone: number;
    expired_ms: number | null;
    /** The erasure that expired it; null when the operator did. */
    erasure_id: number | null;
    /** Who says that it is gone. */
    destroyed_by: "vault" | "operator" | null;
  };
}

/** Statements of schema version 3 for {@link BackupTables}. */
export function backupStatements({
  blob,
  integer,
  position,
  strict,
  text,
}: SchemaWords): readonly string[] {
  return [
    `create table backup (
       position ${position}, backup_id ${blob} not null unique, directory ${text} not null,
       keys_directory ${text} not null, state ${text} not null, created_ms ${integer} not null,
       last_batch ${integer} not null, log_size ${integer} not null, bytes ${integer} not null,
       data_gone ${integer} not null, keys_gone ${integer} not null, expired_ms ${integer},
       erasure_id ${integer} references erasure (erasure_id), destroyed_by ${text}) ${strict}`,
    `create index backup_state on backup (state)`,
  ];
}
