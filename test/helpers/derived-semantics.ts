import type { DerivationRule, QueryAttribute } from "../../protocol/semantics/derivation-rule.ts";
import type { QueryGranularity } from "../../protocol/semantics/granularity.ts";
import type { SemanticRegistration } from "../../protocol/semantics/registration.ts";
import type { SemanticRegistry } from "../../protocol/semantics/semantics.ts";

/** No dimension but those of `set`. */
export function granularityOf(set: Partial<QueryGranularity>): QueryGranularity {
  return {
    temporal_resolution: null,
    spatial_resolution: null,
    numeric_resolution: null,
    categorical_resolution: null,
    ...set,
  };
}

/** What every rule says, over one attribute of the customers' domain. */
const COMMON = {
  semantic_version: "semantics-1",
  output_type: "text",
  output_scale: 0,
  output_range: null,
  privacy_impact_epsilon_micro: 150_000,
} as const;

const source = (attribute_id: string, domain_id = "customer") => ({
  domain_id,
  attribute_id,
  cross_domain_policy: null,
  mediation_authority: null,
});

const BINARY = { output_type: "integer", output_range: { min: 0, max: 1 } } as const;

/** Rules over customers, one of each transform, by what they give. */
export const RULES: Readonly<Record<string, DerivationRule>> = {
  "age-decade": {
    ...COMMON,
    rule_id: "age-decade",
    source_attributes: [source("customer.age")],
    transform_type: "passthrough",
    transform_params: {},
    output_type: "integer",
    output_range: { min: 0, max: 120 },
  },
  "age-band": {
    ...COMMON,
    rule_id: "age-band",
    source_attributes: [source("customer.age")],
    transform_type: "bucket",
    transform_params: {
      kind: "boundaries",
      boundaries: [30, 50],
      labels: ["young", "middle", "senior"],
    },
    privacy_impact_epsilon_micro: 300_000,
  },
  "city-group": {
    ...COMMON,
    rule_id: "city-group",
    source_attributes: [source("customer.city")],
    transform_type: "bucket",
    transform_params: {
      kind: "groups",
      groups: [{ label: "coast", values: ["Porto"] }],
      other: "inland",
    },
  },
  "email-hash": {
    ...COMMON,
    rule_id: "email-hash",
    source_attributes: [source("customer.email")],
    transform_type: "hash",
    transform_params: { method: "sha-256", salt: "network" },
  },
  "has-balance": {
    ...COMMON,
    ...BINARY,
    rule_id: "has-balance",
    source_attributes: [source("customer.balance")],
    transform_type: "boolean",
    transform_params: { test: "nonzero" },
  },
  "total-balance": {
    ...COMMON,
    rule_id: "total-balance",
    source_attributes: [source("customer.balance")],
    transform_type: "aggregate",
    transform_params: { function: "sum" },
    output_type: "decimal",
    output_scale: 2,
    output_range: { min: -1_000_000, max: 10_000_000 },
  },
  "is-adult": {
    ...COMMON,
    ...BINARY,
    rule_id: "is-adult",
    source_attributes: [source("customer.age")],
    transform_type: "threshold",
    transform_params: { comparison: "at_least", boundary: 18 },
  },
  "adult-subscriber": {
    ...COMMON,
    ...BINARY,
    rule_id: "adult-subscriber",
    source_attributes: [source("customer.age"), source("customer.subscribed")],
    transform_type: "composite",
    transform_params: { function: "all", multiplier: 1 },
  },
};

/** The rule `id` of {@link RULES}. */
export function ruleNamed(id: string): DerivationRule {
  const rule = RULES[id];
  if (rule === undefined) throw new Error(`no rule ${id}`);
  return rule;
}

/** The query attribute `customer.<rule>` over each rule, for analytics and marketing, of class 1. */
export function queryAttributeOf(
  rule: DerivationRule,
  change: Partial<QueryAttribute> = {},
): QueryAttribute {
  return {
    query_attribute_id: `customer.${rule.rule_id}`,
    domain_id: "customer",
    semantic_version: rule.semantic_version,
    status: "active",
    supersedes: null,
    derivation_rule_id: rule.rule_id,
    query_granularity: granularityFor(rule),
    privacy_class: 1,
    allowed_usage_scope: ["marketing", "analytics", "training"],
    restricted_to: [],
    ...change,
  };
}

function granularityFor(rule: DerivationRule): QueryGranularity {
  if (rule.transform_type === "bucket") return granularityOf({ categorical_resolution: "group" });
  if (rule.output_type === "text") return granularityOf({ categorical_resolution: "exact" });
  if (rule.output_range?.max === 1) return granularityOf({ categorical_resolution: "binary" });
  const width = rule.output_type === "decimal" ? 10_000 : 10;
  return granularityOf({ numeric_resolution: { boundaries: [], width } });
}

/** `semantics` with all of {@link RULES}, the decade cheaper and of a lower class than the exact age. */
export function derivedSemantics(semantics: SemanticRegistry): SemanticRegistry {
  const rules = Object.values(RULES).map((rule) =>
    rule.rule_id === "age-decade" ? { ...rule, privacy_impact_epsilon_micro: 50_000 } : rule,
  );
  return {
    ...semantics,
    derivation_rules: rules,
    query_attributes: rules.map((rule) => queryAttributeOf(rule)),
  };
}

/** A registration that changes nothing but the version. */
export function registrationOf(change: Partial<SemanticRegistration> = {}): SemanticRegistration {
  return {
    semantic_version: "semantics-2",
    predecessor_version: "semantics-1",
    domains: [],
    attributes: [],
    query_attributes: [],
    derivation_rules: [],
    record_scopes: [],
    transitions: [],
    approvals: [],
    ...change,
  };
}
