import { z } from "zod";

import { identifier, microEpsilon, natural } from "./fields.ts";

/** How fine a projection is (QG-1). `null` means the dimension does not apply. */
export const queryGranularitySchema = z.strictObject({
  temporal_resolution: z.enum(["exact", "day", "week", "month", "quarter", "year"]).nullable(),
  spatial_resolution: z.enum(["exact", "district", "city", "region", "country"]).nullable(),
  numeric_resolution: z
    .strictObject({ boundaries: z.array(z.int()).max(1024), width: natural })
    .nullable(),
  categorical_resolution: z.enum(["exact", "group", "binary"]).nullable(),
});

const lifecycleStatus = z.enum(["proposed", "registered", "active", "deprecated", "retired"]);

/** A semantic namespace (DM-1, DM-2, DM-4). */
export const domainSchema = z.strictObject({
  domain_id: identifier,
  parent_domain_id: identifier.nullable(),
  layer: z.enum(["global", "family", "concrete", "sub"]),
  domain_version: natural,
  semantic_version: identifier,
  status: lifecycleStatus,
  cross_domain: z.enum(["allowed", "mediated", "denied"]),
});

/** A canonical attribute of exactly one domain (CA-1, CA-2). */
export const canonicalAttributeSchema = z.strictObject({
  attribute_id: identifier,
  domain_id: identifier,
  semantic_version: identifier,
  status: z.enum(["proposed", "registered", "active", "deprecated", "retired", "superseded"]),
  supersedes: identifier.nullable(),
  type: z.enum(["integer", "decimal", "text", "bytes"]),
  /** Decimal digits after the point; 0 unless `type` is decimal. */
  scale: z.int().min(0).max(9),
  /** Range of the scaled integer, both ends in; null for text and bytes. */
  range: z.strictObject({ min: z.int(), max: z.int() }).nullable(),
  directly_queryable: z.boolean(),
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
  /** The attribute that identifies the subject inside a Vault. */
  subject_attribute_id: identifier,
  /** The attribute by which enclaves link one subject across Vaults; null when there is none. */
  link_attribute_id: identifier.nullable(),
});

/** The semantic registry at one `semantic_version`. */
export const semanticRegistrySchema = z.strictObject({
  semantic_version: identifier,
  domains: z.array(domainSchema).min(1).max(256),
  attributes: z.array(canonicalAttributeSchema).min(1).max(4096),
  record_scopes: z.array(recordScopeSchema).min(1).max(256),
});

export type SemanticRegistry = z.infer<typeof semanticRegistrySchema>;
export type CanonicalAttribute = z.infer<typeof canonicalAttributeSchema>;
export type RecordScope = z.infer<typeof recordScopeSchema>;
export type Domain = z.infer<typeof domainSchema>;
