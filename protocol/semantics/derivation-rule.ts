import { z } from "zod";

import { identifier, microEpsilon, shortText, usageScope } from "../fields.ts";
import { queryGranularitySchema } from "./granularity.ts";

const literal = z.union([z.int(), shortText]);
const label = shortText.min(1);

const increasing = (edges: readonly number[]): boolean =>
  edges.every((edge, index) => index === 0 || edge > (edges[index - 1] ?? edge));

/**
 * One source of a derivation (DR-1, DR-4).
 *
 * `cross_domain_policy` and the authority are null for a source of the query attribute's own domain. A mediated source
 * names the actor whose approval the registration carries.
 */
export const sourceReferenceSchema = z.strictObject({
  domain_id: identifier,
  attribute_id: identifier,
  cross_domain_policy: z.enum(["allowed", "mediated", "denied"]).nullable(),
  mediation_authority: identifier.nullable(),
});

const ruleFields = {
  rule_id: identifier,
  semantic_version: identifier,
  source_attributes: z.array(sourceReferenceSchema).min(1).max(16),
  output_type: z.enum(["integer", "decimal", "text"]),
  /** Decimal digits after the point; 0 unless the output is decimal. */
  output_scale: z.int().min(0).max(9),
  /** Range that a numeric output is held to, in scaled integers, both ends in; null for text. */
  output_range: z.strictObject({ min: z.int(), max: z.int() }).nullable(),
  /** The least that one use in one execution costs (DR-5). */
  privacy_impact_epsilon_micro: microEpsilon.min(1),
};

/** `bucket`: by numeric boundaries, the first label for what lies below all; or by listed values. */
const bucketParametersSchema = z.discriminatedUnion("kind", [
  z
    .strictObject({
      kind: z.literal("boundaries"),
      boundaries: z
        .array(z.int())
        .min(1)
        .max(1024)
        .refine(increasing, { error: "expected increasing boundaries" }),
      labels: z.array(label).min(2).max(1025),
    })
    .refine(({ boundaries, labels }) => labels.length === boundaries.length + 1, {
      error: "expected one label more than boundaries",
    }),
  z
    .strictObject({
      kind: z.literal("groups"),
      groups: z
        .array(z.strictObject({ label, values: z.array(literal).min(1).max(256) }))
        .min(1)
        .max(256),
      /** For values of no group; null makes them absent. */
      other: label.nullable(),
    })
    .refine(({ groups }) => areDistinct(groups.flatMap(({ values }) => values)), {
      error: "expected every value in one group",
    }),
]);

/**
 * How a query attribute is made of canonical ones (DR-1, DR-2). Numbers are scaled integers of their attribute.
 *
 * What each transform gives is said at `derive`.
 */
export const derivationRuleSchema = z.discriminatedUnion("transform_type", [
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("passthrough"),
    transform_params: z.strictObject({}),
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("bucket"),
    transform_params: bucketParametersSchema,
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("hash"),
    transform_params: z.strictObject({ method: z.literal("sha-256"), salt: shortText }),
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("boolean"),
    transform_params: z.strictObject({ test: z.enum(["present", "nonzero"]) }),
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("aggregate"),
    transform_params: z.strictObject({
      function: z.enum(["count", "sum", "average", "minimum", "maximum"]),
    }),
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("threshold"),
    transform_params: z.strictObject({
      comparison: z.enum(["at_least", "below"]),
      boundary: z.int(),
    }),
  }),
  z.strictObject({
    ...ruleFields,
    transform_type: z.literal("composite"),
    transform_params: z.strictObject({
      function: z.enum([
        "sum",
        "difference",
        "product",
        "ratio",
        "minimum",
        "maximum",
        "all",
        "any",
      ]),
      /** `ratio` gives floor(first * multiplier / second); 1 for the other functions. */
      multiplier: z.int().min(1).max(1_000_000_000),
    }),
  }),
]);

/** A governed projection of records (QA-1). It is no canonical truth: `derivation_rule_id` says what it is made of. */
export const queryAttributeSchema = z.strictObject({
  query_attribute_id: identifier,
  domain_id: identifier,
  semantic_version: identifier,
  status: z.enum(["proposed", "registered", "active", "restricted", "deprecated", "retired"]),
  /** The query attribute of the same domain that this one replaces. */
  supersedes: identifier.nullable(),
  derivation_rule_id: identifier,
  query_granularity: queryGranularitySchema,
  privacy_class: z.int().min(0).max(9),
  allowed_usage_scope: z.array(usageScope).min(1).max(8),
  /** Who may use it while it is restricted. */
  restricted_to: z.array(identifier).max(64),
});

export type SourceReference = z.infer<typeof sourceReferenceSchema>;
export type DerivationRule = z.infer<typeof derivationRuleSchema>;
export type QueryAttribute = z.infer<typeof queryAttributeSchema>;

function areDistinct(values: readonly (number | string)[]): boolean {
  return new Set(values).size === values.length;
}
