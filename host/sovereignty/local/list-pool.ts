import {
  hex,
  mappingSignals,
  type LocalType,
  type MappingSignal,
  type SemanticRegistry,
} from "#protocol";

import type { Reading } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { mostOf } from "./column-tallies.ts";

/** Epochs, both ends in. */
export interface EpochSpan {
  readonly first: number;
  readonly last: number;
}

/** What the pool knows of one column in a span of epochs (LA-1). No value of it was ever kept. */
export interface PoolColumn {
  readonly recordScope: string;
  readonly column: string;
  readonly domainId: string;
  readonly type: LocalType;
  /** Rows of the sources that had it, exactly: this stays in the Vault. */
  readonly rows: number;
  /** Epochs of the span in which a source had it. */
  readonly epochsPresent: number;
}

/** A pool entry as its operator sees it. */
export interface PoolEntry {
  readonly local_id: string;
  readonly record_scope: string;
  readonly column: string;
  readonly domain_hint: string;
  readonly type: LocalType;
  /** Rows of the sources that had it are at least so many, and fewer than ten times that: a power of ten, or 0. */
  readonly rows_at_least: number;
  /** It was there in so many of the last epochs. */
  readonly epochs_present: number;
  readonly epochs: number;
  /** Canonical attributes that it may be, or contradict. */
  readonly signals: readonly MappingSignal[];
}

/** See {@link listPool}. */
export interface PoolPage {
  readonly attributes: readonly PoolEntry[];
  /** Columns that the pool did not take. */
  readonly dropped: number;
}

/** Epochs whose columns are listed, the open one included. */
const LISTED_EPOCHS = 10;

/** The epochs whose columns are listed and judged. */
export function lastEpochs(epochId: number): EpochSpan {
  return { first: Math.max(0, epochId - LISTED_EPOCHS + 1), last: epochId };
}

/** The pool entries of a record scope in the last ten epochs, by name; 256 at most. */
export async function listPool(
  { store, secrets }: VaultContext,
  args: {
    readonly recordScope: string;
    readonly epochId: number;
    readonly semantics: SemanticRegistry;
  },
): Promise<PoolPage> {
  const { recordScope, epochId, semantics } = args;
  const span = lastEpochs(epochId);
  const columns = await poolColumns(store.db, recordScope, span);
  const signals = mappingSignals(
    semantics,
    columns.map(({ column: name, domainId, type }) => ({ name, domainId, type })),
  );
  const dropped = await store.db
    .selectFrom("local_dropped")
    .select("columns")
    .where("record_scope", "=", recordScope)
    .executeTakeFirst();
  return {
    attributes: columns.map((column, index) => ({
      local_id: localIdOf(secrets.localColumnId(recordScope, column.column)),
      ...{ record_scope: recordScope, column: column.column, domain_hint: column.domainId },
      type: column.type,
      rows_at_least: bucketOf(column.rows),
      ...{ epochs_present: column.epochsPresent, epochs: span.last - span.first + 1 },
      signals: signals[index] ?? [],
    })),
    dropped: dropped?.columns ?? 0,
  };
}

/** The identifier of a column, for whoever does not know its name. */
export function localIdOf(secretId: Uint8Array): string {
  return `local-${hex(secretId).slice(0, 40)}`;
}

/** What the pool knows of a scope's columns in `span`, by name. */
export async function poolColumns(
  db: Reading,
  recordScope: string,
  { first, last }: EpochSpan,
): Promise<PoolColumn[]> {
  const found = await db
    .selectFrom("local_attribute")
    .select(({ fn }) => [
      "column_name",
      fn.max("domain_id").as("domain_id"),
      fn.sum<number>("rows").as("rows"),
      fn.count<number>("epoch_id").as("epochs"),
      fn.sum<number>("integer_values").as("integers"),
      fn.sum<number>("decimal_values").as("decimals"),
      fn.sum<number>("date_values").as("dates"),
      fn.sum<number>("text_values").as("texts"),
    ])
    .where("record_scope", "=", recordScope)
    .where("epoch_id", ">=", first)
    .where("epoch_id", "<=", last)
    .groupBy("column_name")
    .orderBy("column_name")
    .execute();
  return found.map((row) => ({
    ...{ recordScope, column: row.column_name, domainId: row.domain_id },
    type: mostOf({
      integer: Number(row.integers),
      decimal: Number(row.decimals),
      date: Number(row.dates),
      text: Number(row.texts),
    }),
    rows: Number(row.rows),
    epochsPresent: Number(row.epochs),
  }));
}

function bucketOf(rows: number): number {
  return rows === 0 ? 0 : 10 ** (`${rows}`.length - 1);
}
