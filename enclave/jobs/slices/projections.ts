import { derive, type AttributeValue, type ProjectedValue } from "#protocol";

import type { InputRows } from "../inputs.ts";
import type { VerifiedTask } from "../task.ts";

/** What a task may look at: one column for each of its operands, by the operand's name. */
export type ProjectedColumns = ReadonlyMap<string, readonly ProjectedValue[]>;

/**
 * The governed projections of a task's operands (QA-4): each is computed from the record's own columns by its rule, or
 * coarsened to its default granularity, before anything else sees it.
 */
export function projectedColumns(rows: InputRows, task: VerifiedTask): ProjectedColumns {
  return new Map(
    task.projections.map((projection) => [
      projection.name,
      derive(projection, {
        rows: rows.rows,
        sources: projection.sources.map(({ attribute_id: id }) =>
          (rows.columns.get(id) ?? []).map(comparable),
        ),
        subjects: rows.subjects,
      }),
    ]),
  );
}

/** A document is no value to compare: all that a rule can know of it is that it is there. */
function comparable(value: AttributeValue): ProjectedValue {
  return value instanceof Uint8Array ? "document" : value;
}
