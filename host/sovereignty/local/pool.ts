import type { Writing } from "../queries.ts";
import { POOL_COLUMNS_MAX, type Observation, type ObservedColumn } from "./column-tallies.ts";

/** Epochs that the pool remembers. */
export const POOL_EPOCHS = 64;

/**
 * Adds what one source had to the pool, in the write that publishes it: once, whatever comes between.
 *
 * A scope has 256 columns at most, of the last 64 epochs. What comes beyond is counted and nothing else.
 */
export async function addToPool(
  trx: Writing,
  recordScope: string,
  { epoch_id: epochId, domain_id: domainId, columns, dropped }: Observation,
): Promise<void> {
  await trx
    .deleteFrom("local_attribute")
    .where("record_scope", "=", recordScope)
    .where("epoch_id", "<=", epochId - POOL_EPOCHS)
    .execute();
  const known = await trx
    .selectFrom("local_attribute")
    .select("column_name")
    .distinct()
    .where("record_scope", "=", recordScope)
    .execute();
  const names = new Set(known.map((row) => row.column_name));
  let refused = dropped;
  for (const observed of columns) {
    if (!names.has(observed.column) && names.size >= POOL_COLUMNS_MAX) {
      refused += 1;
      continue;
    }
    names.add(observed.column);
    await addColumn(trx, { recordScope, epochId, domainId, observed });
  }
  if (refused > 0) await countDropped(trx, recordScope, refused);
}

async function addColumn(
  trx: Writing,
  args: {
    readonly recordScope: string;
    readonly epochId: number;
    readonly domainId: string;
    readonly observed: ObservedColumn;
  },
): Promise<void> {
  const { column, rows, types } = args.observed;
  await trx
    .insertInto("local_attribute")
    .values({
      ...{ record_scope: args.recordScope, column_name: column, epoch_id: args.epochId },
      ...{ domain_id: args.domainId, rows },
      ...{ integer_values: types.integer, decimal_values: types.decimal },
      ...{ date_values: types.date, text_values: types.text },
    })
    .onConflict((conflict) =>
      conflict.columns(["record_scope", "column_name", "epoch_id"]).doUpdateSet((eb) => ({
        rows: eb("local_attribute.rows", "+", rows),
        integer_values: eb("local_attribute.integer_values", "+", types.integer),
        decimal_values: eb("local_attribute.decimal_values", "+", types.decimal),
        date_values: eb("local_attribute.date_values", "+", types.date),
        text_values: eb("local_attribute.text_values", "+", types.text),
      })),
    )
    .execute();
}

async function countDropped(trx: Writing, recordScope: string, columns: number): Promise<void> {
  await trx
    .insertInto("local_dropped")
    .values({ record_scope: recordScope, columns })
    .onConflict((conflict) =>
      conflict.column("record_scope").doUpdateSet((eb) => ({
        columns: eb("local_dropped.columns", "+", columns),
      })),
    )
    .execute();
}
