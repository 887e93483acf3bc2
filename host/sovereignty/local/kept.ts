import { ConflictError, LimitError } from "#protocol";

import type { Reading, Writing } from "../queries.ts";
import { KEPT_COLUMNS_MAX, type IngestMapping } from "../records/mapping-file.ts";
import type { KeptColumn } from "../records/mapping.ts";
import type { VaultContext } from "../vault-context.ts";
import { localIdOf } from "./list-pool.ts";

/**
 * The columns that a mapping has the Vault keep (LA-1), by name. Nothing is kept that an operator did not say.
 *
 * @throws {@link ConflictError} DERIVATION_LOCAL_REFUSED for a column that is kept as another type already;
 * {@link LimitError} SCHEMA_TOO_LARGE for more than 32 of a record scope
 */
export async function keptColumnsOf(
  { store, secrets }: VaultContext,
  recordScope: string,
  { keep }: IngestMapping,
): Promise<KeptColumn[]> {
  const columns = Object.entries(keep)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([column, { type, scale }]): KeptColumn => {
      return {
        column,
        localId: localIdOf(secrets.localColumnId(recordScope, column)),
        type,
        scale,
      };
    });
  if (columns.length > 0) await newColumns(store.db, recordScope, columns);
  return columns;
}

/** Takes note of what an ingest keeps, in the write that publishes it. @throws as {@link keptColumnsOf} */
export async function noteKept(
  { log, nowMs }: VaultContext,
  trx: Writing,
  args: { readonly recordScope: string; readonly columns: readonly KeptColumn[] },
): Promise<void> {
  const { recordScope, columns } = args;
  for (const { column, localId, type, scale } of await newColumns(trx, recordScope, columns)) {
    await trx
      .insertInto("local_kept")
      .values({
        ...{ record_scope: recordScope, column_name: column, local_id: localId },
        ...{ value_type: type, scale, kept_ms: nowMs() },
      })
      .execute();
    await log.append(trx, {
      ...{ type: "local_attribute.kept", taskId: null },
      body: { record_scope: recordScope, local_id: localId, type, scale },
    });
  }
}

/** What a record scope keeps, by name. */
export async function keptIn(db: Reading, recordScope: string): Promise<readonly KeptRow[]> {
  return await db
    .selectFrom("local_kept")
    .select(["column_name", "local_id", "value_type", "scale"])
    .where("record_scope", "=", recordScope)
    .orderBy("column_name")
    .execute();
}

/** What sources call each kept column, by its local identifier. */
export async function columnNames(db: Reading): Promise<ReadonlyMap<string, string>> {
  const rows = await db.selectFrom("local_kept").select(["local_id", "column_name"]).execute();
  return new Map(rows.map(({ local_id: id, column_name: column }) => [id, column]));
}

/** A row of `local_kept`. */
export interface KeptRow {
  readonly column_name: string;
  readonly local_id: string;
  readonly value_type: KeptColumn["type"];
  readonly scale: number;
}

async function newColumns(
  db: Reading,
  recordScope: string,
  columns: readonly KeptColumn[],
): Promise<KeptColumn[]> {
  const rows = await keptIn(db, recordScope);
  const known = new Map(rows.map((row) => [row.column_name, row]));
  for (const { column, type, scale } of columns) {
    const row = known.get(column);
    if (row === undefined || (row.value_type === type && row.scale === scale)) continue;
    throw otherType(column, row);
  }
  const added = columns.filter(({ column }) => !known.has(column));
  if (known.size + added.length > KEPT_COLUMNS_MAX) throw tooMany(recordScope);
  return added;
}

function otherType(column: string, { value_type: type, scale }: KeptRow): ConflictError {
  return new ConflictError(
    { code: "DERIVATION_LOCAL_REFUSED", field: "keep", column },
    `keep ${column}: expected ${type} of scale ${scale}, which it is kept as, got another`,
  );
}

function tooMany(recordScope: string): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", field: "keep", max: KEPT_COLUMNS_MAX },
    `keep: expected at most ${KEPT_COLUMNS_MAX} columns of record scope ${recordScope}, got more`,
  );
}
