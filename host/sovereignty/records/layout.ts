import {
  RefusedError,
  columnsOfScope,
  type BatchColumn,
  type CanonicalAttribute,
  type RecordScope,
} from "#protocol";

import type { KeptColumn } from "./mapping.ts";

/** Which records are ingested, from a governance state's semantic registry. */
export interface IngestTarget {
  readonly recordScope: RecordScope;
  readonly attributes: readonly CanonicalAttribute[];
}

/** A column of a scope's batches, and what its values are. */
export interface LayoutColumn extends BatchColumn {
  readonly attribute: Pick<CanonicalAttribute, "type" | "scale" | "range">;
}

/** How the records of one scope lie in a batch. Plain data: it goes to other threads. */
export interface Layout {
  readonly recordScope: string;
  readonly schema: string;
  readonly columns: readonly LayoutColumn[];
  /** Place of the column that says whose record it is. */
  readonly subject: number;
}

/**
 * @param kept - Columns of the Vault's own, which come after those of the scope.
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED for a scope of attributes that are not registered.
 */
export function layoutOf(
  { recordScope, attributes }: IngestTarget,
  kept: readonly KeptColumn[] = [],
): Layout {
  const { record_scope_id: id, subject_attribute_id: subjectId } = recordScope;
  const columns = columnsOfScope(recordScope).map((column): LayoutColumn => {
    const { attribute_id: attributeId, domain_id: domainId } = column;
    const attribute = attributes.find(
      (each) => each.attribute_id === attributeId && each.domain_id === domainId,
    );
    if (attribute === undefined) throw unresolved(attributeId, `one of domain ${domainId}`);
    return { name: attributeId, type: attribute.type, scale: attribute.scale, attribute };
  });
  const schema = `${id
    .toLowerCase()
    .replace(/^[^a-z]/, "r")
    .replace(/[^a-z0-9_.-]/g, "-")}@1`;
  const subject = columns.findIndex(({ name }) => name === subjectId);
  if (subject === -1) throw unresolved(subjectId, `one of record scope ${id}`);
  const own = kept.map(({ localId, type, scale }): LayoutColumn => {
    return { name: localId, type, scale, attribute: { type, scale, range: null } };
  });
  return { recordScope: id, schema, columns: [...columns, ...own], subject };
}

/** Whether the scope holds documents, whose records are asked for one by one. */
export function holdsDocuments(layout: Layout): boolean {
  return layout.columns.some(({ type }) => type === "bytes");
}

function unresolved(attribute: string, expected: string): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_UNRESOLVED", attribute },
    `attribute ${attribute}: expected ${expected}`,
  );
}
