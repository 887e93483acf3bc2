import { z } from "zod";

import { identifier } from "../fields.ts";
import { registryIndex } from "./registry-index.ts";
import type { CanonicalAttribute, SemanticRegistry } from "./semantics.ts";

/** What the values of a column look like to whoever never keeps one. */
export const localTypeSchema = z.enum(["integer", "decimal", "date", "text"]);
export type LocalType = z.infer<typeof localTypeSchema>;

/** Signals of one column, and how alike two names must be for one, in percent. */
const SIGNALS_MAX = 8;
const CONFIDENCE_MIN_PERCENT = 50;
/** Of the confidence, what names give; the rest is given where the types fit. */
const NAME_PERCENT = 80;
/** Words of a name that are compared. */
const WORDS_MAX = 16;

/** How a column stands to a canonical attribute of its domain: it may be the same, or have its name and be another. */
export const mappingSignalSchema = z.strictObject({
  attribute_id: identifier,
  kind: z.enum(["alias", "conflict"]),
  /** By name and type alone. */
  confidence_percent: z.int().min(CONFIDENCE_MIN_PERCENT).max(100),
});
export type MappingSignal = z.infer<typeof mappingSignalSchema>;

/** A column as its Vault sees it. */
export interface LocalColumn {
  readonly name: string;
  readonly domainId: string;
  readonly type: LocalType;
}

/**
 * What says that columns may mean attributes of their domain that are not retired: the eight surest of each, surest first.
 *
 * Confidence is the share of words that both names have (Dice), of 80, and 20 where the types fit. Pure.
 */
export function mappingSignals(
  registry: SemanticRegistry,
  columns: readonly LocalColumn[],
): MappingSignal[][] {
  const domains = new Map<string, Worded[]>();
  for (const [id, attributes] of registryIndex(registry).attributes) {
    const words = wordsOf(id);
    for (const attribute of attributes) {
      if (attribute.status === "retired" || attribute.status === "superseded") continue;
      const list = domains.get(attribute.domain_id) ?? [];
      domains.set(attribute.domain_id, list);
      list.push({ attribute, words });
    }
  }
  return columns.map((column) => signalsOf(column, domains.get(column.domainId) ?? []));
}

interface Worded {
  readonly attribute: CanonicalAttribute;
  readonly words: ReadonlySet<string>;
}

function signalsOf({ name, type }: LocalColumn, attributes: readonly Worded[]): MappingSignal[] {
  const own = wordsOf(name);
  const signals = attributes.map(({ attribute, words }): MappingSignal => {
    const shared = [...own].filter((word) => words.has(word)).length;
    const all = Math.max(1, own.size + words.size);
    const isFitting = fits(type, attribute.type);
    const byName = Math.floor((NAME_PERCENT * 2 * shared) / all);
    return {
      attribute_id: attribute.attribute_id,
      kind: isFitting ? "alias" : "conflict",
      confidence_percent: byName === 0 ? 0 : byName + (isFitting ? 100 - NAME_PERCENT : 0),
    };
  });
  return signals
    .filter((signal) => signal.confidence_percent >= CONFIDENCE_MIN_PERCENT)
    .sort(
      (a, b) =>
        b.confidence_percent - a.confidence_percent || (a.attribute_id < b.attribute_id ? -1 : 1),
    )
    .slice(0, SIGNALS_MAX);
}

function wordsOf(name: string): ReadonlySet<string> {
  const words = name
    .normalize("NFKC")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u);
  return new Set(words.filter((word) => word !== "").slice(0, WORDS_MAX));
}

/** Whether a column of this type can be an attribute of that type. A date is text there. */
export function fits(type: LocalType, canonical: CanonicalAttribute["type"]): boolean {
  switch (canonical) {
    case "integer":
      return type === "integer";
    case "decimal":
      return type === "integer" || type === "decimal";
    case "text":
      return type === "text" || type === "date";
    case "bytes":
      return false;
  }
}
