import {
  canonicalAttributeSchema,
  derivationRuleSchema,
  domainSchema,
  identifier,
  queryAttributeSchema,
  recordScopeSchema,
  type SemanticRegistry,
} from "#protocol";
import { z } from "zod";

import { readAuthoredText } from "../authored-file.ts";
import { parseStrict } from "../json-file.ts";

const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;
const ENTRIES_MAX = 1024;

const listOf = <T>(entry: z.ZodType<T>) => z.array(entry).max(ENTRIES_MAX).default([]);

/** What governance keeps of an entry by itself: a document leaves it out. */
const outlineSchema = z.strictObject({
  semantic_version: identifier,
  domains: listOf(z.looseObject({ domain_id: identifier, domain_version: z.int() })),
  attributes: listOf(z.looseObject({ domain_id: identifier, attribute_id: identifier })),
  query_attributes: listOf(
    z.looseObject({ domain_id: identifier, query_attribute_id: identifier }),
  ),
  derivation_rules: listOf(z.looseObject({ rule_id: identifier })),
  record_scopes: listOf(recordScopeSchema),
});

const documentSchema = z.strictObject({
  semantic_version: identifier,
  domains: listOf(domainSchema),
  attributes: listOf(canonicalAttributeSchema),
  query_attributes: listOf(queryAttributeSchema),
  derivation_rules: listOf(derivationRuleSchema),
  record_scopes: listOf(recordScopeSchema),
});

/** Entries as they should be in a version, each with all of its fields. Entries that it does not name stay as they are. */
export type RegistryDocument = z.infer<typeof documentSchema>;

/**
 * Reads a registry document: YAML or JSON with the version to register and, of each kind, the entries it names.
 *
 * `semantic_version` and the `…_from` fields of entries may be left out: they are those of the registered entry, or of
 * the version to register. What is at fault is named with its place.
 *
 * @throws MalformedError SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED; LimitError SCHEMA_TOO_LARGE
 */
export async function readRegistryDocument(
  path: string,
  registry: SemanticRegistry,
): Promise<RegistryDocument> {
  const bound = { subject: "registry document", bytesMax: DOCUMENT_BYTES_MAX };
  const text = await readAuthoredText(path, bound);
  const outline = parseStrict(outlineSchema, text.value, text);
  return parseStrict(documentSchema, completed(outline, registry), text);
}

type Outline = z.infer<typeof outlineSchema>;

/** The outline with what governance keeps: of the registered entry where there is one. */
function completed(outline: Outline, registry: SemanticRegistry): unknown {
  const { semantic_version: version } = outline;
  const known = {
    domains: byName(registry.domains, (each) => `${each.domain_id}@${each.domain_version}`),
    attributes: byName(registry.attributes, (each) => `${each.domain_id}/${each.attribute_id}`),
    queries: byName(
      registry.query_attributes,
      (each) => `${each.domain_id}/${each.query_attribute_id}`,
    ),
    rules: byName(registry.derivation_rules, (each) => each.rule_id),
  };
  return {
    ...outline,
    domains: outline.domains.map((each) => ({
      semantic_version:
        known.domains.get(`${each.domain_id}@${each.domain_version}`)?.semantic_version ?? version,
      ...each,
    })),
    attributes: outline.attributes.map((each) => {
      const registered = known.attributes.get(`${each.domain_id}/${each.attribute_id}`);
      return {
        semantic_version: registered?.semantic_version ?? version,
        effective_from:
          registered?.effective_from ?? (each["status"] === "active" ? version : null),
        deprecated_from: registered?.deprecated_from ?? null,
        retired_from: registered?.retired_from ?? null,
        ...each,
      };
    }),
    query_attributes: outline.query_attributes.map((each) => ({
      semantic_version:
        known.queries.get(`${each.domain_id}/${each.query_attribute_id}`)?.semantic_version ??
        version,
      ...each,
    })),
    derivation_rules: outline.derivation_rules.map((each) => ({
      semantic_version: known.rules.get(each.rule_id)?.semantic_version ?? version,
      ...each,
    })),
  };
}

function byName<T>(entries: readonly T[], nameOf: (entry: T) => string): ReadonlyMap<string, T> {
  return new Map(entries.map((entry) => [nameOf(entry), entry]));
}
