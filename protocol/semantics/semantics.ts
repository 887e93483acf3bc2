import { z } from "zod";

import { derivationRuleSchema, queryAttributeSchema } from "./derivation-rule.ts";
import { identifier, microEpsilon, natural } from "../fields.ts";
import { queryGranularitySchema } from "./granularity.ts";

const lifecycleStatus = z.enum(["proposed", "registered", "active", "deprecated", "retired"]);

/** A semantic namespace (DM-1, DM-2, DM-4). */
export const domainSchema = z.strictObject({
  domain_id: identifier,
  parent_domain_id: identifier.nullable(),
  layer: z.enum(["global", "family", "concrete", "sub"]),
  domain_version: natural,
  semantic_version: identifier,
  status: lifecycleStatus,
  /** The most that a rule of another domain may claim for an attribute of this one. */
  cross_domain: z.enum(["allowed", "mediated", "denied"]),
});

/** A canonical attribute of exactly one domain (CA-1, CA-2). `…_from` are semantic versions. */
export const canonicalAttributeSchema = z.strictObject({
  attribute_id: identifier,
  domain_id: identifier,
  /** The version that registered it. */
  semantic_version: identifier,
  /** `domain`: no rule of another domain may use it, whatever the domain allows. */
  scope: z.enum(["domain", "network"]),
  status: z.enum(["proposed", "registered", "active", "deprecated", "retired", "superseded"]),
  effective_from: identifier.nullable(),
  deprecated_from: identifier.nullable(),
  retired_from: identifier.nullable(),
  /** The attribute of the same domain that this one replaces. */
  supersedes: identifier.nullable(),
  type: z.enum(["integer", "decimal", "text", "bytes"]),
  /** Decimal digits after the point; 0 unless `type` is decimal. */
  scale: z.int().min(0).max(9),
  /** Range of the scaled integer, both ends in; null for text and bytes. */
  range: z.strictObject({ min: z.int(), max: z.int() }).nullable(),
  directly_queryable: z.boolean(),
  /** Applied to direct use; null exactly when there is none. */
  default_query_granularity: queryGranularitySchema.nullable(),
  default_privacy_class: z.int().min(0).max(9),
  /** The least a use of this attribute costs (DR-5). */
  privacy_impact_epsilon_micro: microEpsilon,
});

/** A registered set of records: which attributes a record has, and whose it is. */
export const recordScopeSchema = z.strictObject({
  record_scope_id: identifier,
  domain_id: identifier,
  attribute_ids: z.array(identifier).min(1).max(128),
  /** Attributes of other domains that its records carry; only derivation rules can use them (DR-4). */
  foreign_attributes: z
    .array(z.strictObject({ domain_id: identifier, attribute_id: identifier }))
    .max(64),
  /** The attribute that identifies the subject inside a Vault. */
  subject_attribute_id: identifier,
  /** The attribute by which enclaves link one subject across Vaults; null when there is none. */
  link_attribute_id: identifier.nullable(),
});

/** Entries of one kind that a registry holds at most. */
export const REGISTRY_ENTRIES_MAX = 16_384;

/** The semantic registry at one `semantic_version`. */
export const semanticRegistrySchema = z.strictObject({
  semantic_version: identifier,
  domains: z.array(domainSchema).min(1).max(1024),
  attributes: z.array(canonicalAttributeSchema).min(1).max(REGISTRY_ENTRIES_MAX),
  query_attributes: z.array(queryAttributeSchema).max(REGISTRY_ENTRIES_MAX),
  derivation_rules: z.array(derivationRuleSchema).max(REGISTRY_ENTRIES_MAX),
  record_scopes: z.array(recordScopeSchema).min(1).max(1024),
});

export type SemanticRegistry = z.infer<typeof semanticRegistrySchema>;
export type CanonicalAttribute = z.infer<typeof canonicalAttributeSchema>;
export type RecordScope = z.infer<typeof recordScopeSchema>;
export type Domain = z.infer<typeof domainSchema>;

/** An attribute of one domain. */
export type AttributeReference = RecordScope["foreign_attributes"][number];

/** The attributes that records of a scope have, in the order of their columns. */
export function columnsOfScope(scope: RecordScope): readonly AttributeReference[] {
  const own = scope.attribute_ids.map((attribute_id) => ({
    domain_id: scope.domain_id,
    attribute_id,
  }));
  return [...own, ...scope.foreign_attributes];
}
