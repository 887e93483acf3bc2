import type { SchemaWords } from "../../store/index.ts";

/** Tables of key rotation, erasure and backups; part of a Vault's store. */
export interface CustodyTables {}

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
export function custodyStatements({ blob }: SchemaWords): readonly string[] {
  return [
    `alter table batch add column sealed_id ${blob}`,
    `alter table batch add column erased_rows ${blob}`,
    `alter table execution add column enclave_manifest ${blob}`,
  ];
}
