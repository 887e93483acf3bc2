import type { DerivationRule, QueryAttribute, SourceReference } from "./derivation-rule.ts";
import { RefusedError } from "../errors.ts";
import type { UsageScope } from "../fields.ts";
import type { AttributeComposition } from "../task-envelope.ts";
import { coarsen, type QueryGranularity, type ValueType } from "./granularity.ts";
import type { Policy } from "../governance/policy.ts";
import { registryIndex, type RegistryIndex } from "./registry-index.ts";
import type { CanonicalAttribute, Domain, RecordScope, SemanticRegistry } from "./semantics.ts";
import { columnOfVault, type VaultAttribute } from "./vault-attribute.ts";

/** What a name is resolved under. */
export interface ResolutionContext {
  readonly semantics: SemanticRegistry;
  readonly policy: Policy;
  readonly scope: RecordScope;
  readonly actorId: string;
  readonly usageScope: UsageScope;
  /** How the request composes its operands. */
  readonly operator: AttributeComposition["operator"];
  /** What the request's only Vault lets be asked of its own columns. */
  readonly vaultAttributes: readonly VaultAttribute[];
}

/** The values that a projection gives: numbers are scaled integers within `range`. */
export interface ProjectedOutput {
  readonly type: ValueType;
  readonly scale: number;
  readonly range: { readonly min: number; readonly max: number } | null;
}

/** What a name in a request means: a canonical attribute used directly (rule null), or a query attribute. */
export interface Projection {
  /** As the request names it. */
  readonly name: string;
  readonly domainId: string;
  readonly semanticVersion: string;
  readonly sources: readonly CanonicalAttribute[];
  readonly rule: DerivationRule | null;
  readonly granularity: QueryGranularity;
  readonly privacyClass: number;
  readonly epsilonMicro: number;
  readonly output: ProjectedOutput;
}

/**
 * The one meaning of `name` in a record scope (CA-5, QA-1): a directly queryable attribute of the scope's domain, or a
 * query attribute of it. The names of a Vault's own columns are no others' (LA-3).
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED, with `candidates`, when it is unknown, ambiguous or not to be
 * used for this purpose by this actor; COMPOSITION_INVALID across domains, and for JOIN across record scopes.
 */
export function resolveProjection(context: ResolutionContext, name: string): Projection {
  const [own, ...others] = context.vaultAttributes.filter(({ local_id: id }) => id === name);
  if (own !== undefined && others.length === 0) return ofVault(own);
  const { queryAttributes, attributes } = registryIndex(context.semantics);
  const { domain_id: domainId } = context.scope;
  const query = (queryAttributes.get(name) ?? []).filter((each) => each.domain_id === domainId);
  const canonical = (attributes.get(name) ?? []).filter((each) => each.domain_id === domainId);
  if (query.length === 0) {
    // With no candidate at all the canonical path says so, and names attributes of other domains.
    return directly(resolveAttribute(context, name), context);
  }
  if (canonical.length > 0) {
    throw unresolved(`attribute ${name}`, "one meaning", [
      ...query.map(queryName),
      ...canonical.map(canonicalName),
    ]);
  }
  return derived(eligibleQueryAttribute(context, name, query), context);
}

/**
 * The one attribute `name` that may resolve in the scope's own domain and that its records have.
 *
 * @throws {@link RefusedError} as {@link resolveProjection}
 */
export function resolveAttribute(context: ResolutionContext, name: string): CanonicalAttribute {
  const { scope, semantics } = context;
  const everywhere = registryIndex(semantics).attributes.get(name) ?? [];
  const candidates = everywhere.filter((each) => each.domain_id === scope.domain_id);
  const [foreign] = everywhere.toSorted((a, b) => (a.domain_id < b.domain_id ? -1 : 1));
  if (candidates.length === 0 && foreign !== undefined) {
    throw crossDomain(name, scope.domain_id, resolveDomain(context, foreign.domain_id));
  }
  const eligible = candidates.filter((each) => isEligible(each.status, context));
  const [attribute] = eligible;
  if (attribute === undefined || eligible.length > 1 || !scope.attribute_ids.includes(name)) {
    throw unresolvedAttribute(context, name, candidates);
  }
  return attribute;
}

/**
 * The one domain `id` that may take part in new resolution, and whose parents may (DM-3).
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED
 */
export function resolveDomain(
  context: Pick<ResolutionContext, "semantics" | "policy">,
  id: string,
): Domain {
  const candidates = registryIndex(context.semantics).domains.get(id) ?? [];
  const eligible = candidates.filter(
    ({ status, layer }) =>
      isEligible(status, context) &&
      (layer !== "sub" || context.policy.semantics.sub_domains_permitted),
  );
  const [domain] = eligible;
  if (domain === undefined || eligible.length > 1) {
    throw unresolved(`domain ${id}`, "one active domain", candidates.map(domainName));
  }
  // Layers descend, so this ends: see `requireCoherentRegistry`.
  if (domain.parent_domain_id !== null) resolveDomain(context, domain.parent_domain_id);
  return domain;
}

/** A refusal that names what came into question, sorted. */
export function unresolved(
  subject: string,
  expected: string,
  candidates: readonly string[],
): RefusedError {
  const sorted = [...candidates].sort();
  return new RefusedError(
    { code: "DERIVATION_UNRESOLVED", subject, candidates: sorted },
    `${subject}: expected ${expected}, got ${sorted.join(", ") || "none"}`,
  );
}

function isEligible(status: string, { policy }: Pick<ResolutionContext, "policy">): boolean {
  return status === "active" || (status === "deprecated" && policy.semantics.deprecated_resolvable);
}

/** Direct use is at the attribute's own granularity, class and cost (CA-2). */
function directly(attribute: CanonicalAttribute, { scope }: ResolutionContext): Projection {
  const { attribute_id: name, default_query_granularity: granularity } = attribute;
  if (!attribute.directly_queryable || granularity === null) {
    throw unresolved(
      `attribute ${name}`,
      "a directly queryable attribute or a query attribute with a derivation rule",
      [`${attribute.domain_id}/${name} not directly queryable`],
    );
  }
  return {
    name,
    domainId: scope.domain_id,
    semanticVersion: attribute.semantic_version,
    sources: [attribute],
    rule: null,
    granularity,
    privacyClass: attribute.default_privacy_class,
    epsilonMicro: attribute.privacy_impact_epsilon_micro,
    output: outputOf(attribute, granularity),
  };
}

function derived(query: QueryAttribute, context: ResolutionContext): Projection {
  const { query_granularity: granularity } = query;
  const rule = ruleOf(registryIndex(context.semantics), query);
  return byRule(rule, {
    name: query.query_attribute_id,
    domainId: query.domain_id,
    semanticVersion: query.semantic_version,
    sources: rule.source_attributes.map((source) => resolveSource(context, query, source)),
    granularity,
    privacyClass: query.privacy_class,
  });
}

function ofVault(attribute: VaultAttribute): Projection {
  const { derivation_rule: rule, query_granularity: granularity } = attribute;
  return byRule(rule, {
    name: attribute.local_id,
    domainId: attribute.domain_id,
    semanticVersion: rule.semantic_version,
    sources: rule.source_attributes.map(() => columnOfVault(attribute)),
    granularity,
    privacyClass: attribute.privacy_class,
  });
}

function byRule(
  rule: DerivationRule,
  means: Omit<Projection, "rule" | "epsilonMicro" | "output">,
): Projection {
  const { output_type: type, output_scale: scale, output_range: range } = rule;
  return {
    ...means,
    rule,
    epsilonMicro: rule.privacy_impact_epsilon_micro,
    output: outputOf({ type, scale, range }, means.granularity),
  };
}

function outputOf(
  { type, scale, range }: ProjectedOutput,
  granularity: QueryGranularity,
): ProjectedOutput {
  if (range === null) return { type, scale, range };
  const min = coarsen(range.min, granularity);
  const max = coarsen(range.max, granularity);
  const held = typeof min === "number" && typeof max === "number" ? { min, max } : null;
  return { type, scale, range: held };
}

function eligibleQueryAttribute(
  context: ResolutionContext,
  name: string,
  candidates: readonly QueryAttribute[],
): QueryAttribute {
  const eligible = candidates.filter(
    ({ status, restricted_to: actors }) =>
      isEligible(status, context) || (status === "restricted" && actors.includes(context.actorId)),
  );
  const [query] = eligible;
  if (query === undefined || eligible.length > 1) {
    throw unresolved(`attribute ${name}`, "one active query attribute", candidates.map(queryName));
  }
  if (!query.allowed_usage_scope.includes(context.usageScope)) {
    const allowed = query.allowed_usage_scope.map((usage) => `${queryName(query)} for ${usage}`);
    throw unresolved(`attribute ${name}`, `one for ${context.usageScope}`, allowed);
  }
  return query;
}

function ruleOf({ rules }: RegistryIndex, query: QueryAttribute): DerivationRule {
  const candidates = rules.get(query.derivation_rule_id) ?? [];
  const [rule] = candidates;
  if (rule === undefined || candidates.length > 1) {
    throw unresolved(
      `attribute ${query.query_attribute_id}`,
      `one derivation rule ${query.derivation_rule_id}`,
      candidates.map((each) => `${each.rule_id}@${each.semantic_version}`),
    );
  }
  return rule;
}

/** One source of a rule, in its own domain, under the rule of that domain for others (DR-4). */
function resolveSource(
  context: ResolutionContext,
  query: QueryAttribute,
  source: SourceReference,
): CanonicalAttribute {
  const { domain_id: domainId, attribute_id: name } = source;
  const domain = resolveDomain(context, domainId);
  const named = registryIndex(context.semantics).attributes.get(name) ?? [];
  const candidates = named.filter((each) => each.domain_id === domainId);
  const eligible = candidates.filter((each) => isEligible(each.status, context));
  const [attribute] = eligible;
  if (attribute === undefined || eligible.length > 1 || !hasColumn(context.scope, source)) {
    throw unresolvedAttribute(context, name, candidates);
  }
  if (domainId !== query.domain_id && !isAllowedAcross(source, attribute, domain)) {
    throw crossDomain(name, query.domain_id, domain);
  }
  return attribute;
}

function hasColumn(
  scope: RecordScope,
  { domain_id, attribute_id }: Pick<SourceReference, "domain_id" | "attribute_id">,
): boolean {
  if (domain_id === scope.domain_id) return scope.attribute_ids.includes(attribute_id);
  return scope.foreign_attributes.some(
    (each) => each.domain_id === domain_id && each.attribute_id === attribute_id,
  );
}

/**
 * Whether a rule of another domain may use `attribute` (DM-4): a reference may be stricter than the domain, and no laxer.
 * That a mediated one has been approved is a condition of its registration.
 */
export function isAllowedAcross(
  source: SourceReference,
  attribute: CanonicalAttribute,
  domain: Domain,
): boolean {
  const { cross_domain_policy: claimed, mediation_authority: authority } = source;
  if (attribute.scope === "domain" || domain.cross_domain === "denied") return false;
  if (claimed === "mediated") return authority !== null;
  return claimed === "allowed" && domain.cross_domain === "allowed";
}

/** JOIN says that an attribute is of another record scope: a request reads one. */
function unresolvedAttribute(
  { semantics, scope, operator }: ResolutionContext,
  name: string,
  candidates: readonly CanonicalAttribute[],
): RefusedError {
  const holds = (other: RecordScope): boolean => candidates.some((each) => hasColumn(other, each));
  if (operator === "JOIN" && !holds(scope)) {
    const others = semantics.record_scopes.filter(holds).map((other) => other.record_scope_id);
    if (others.length > 0) return acrossScopes(name, scope, others.sort());
  }
  const successors = registryIndex(semantics).successors.get(name) ?? [];
  return unresolved(
    `attribute ${name}`,
    `one active attribute of record scope ${scope.record_scope_id}`,
    [...candidates, ...successors].map(canonicalName),
  );
}

function acrossScopes(id: string, scope: RecordScope, others: readonly string[]): RefusedError {
  const { record_scope_id: own } = scope;
  return new RefusedError(
    { code: "COMPOSITION_INVALID", attribute: id, record_scope: own, candidates: [...others] },
    `attribute ${id}: expected one of record scope ${own}, whose records a JOIN links, ` +
      `got one of ${others.join(", ")}`,
  );
}

function crossDomain(id: string, scopeDomain: string, domain: Domain): RefusedError {
  return new RefusedError(
    {
      code: "COMPOSITION_INVALID",
      attribute: id,
      cross_domain_policy: domain.cross_domain,
      candidates: [`${domain.domain_id}/${id}`],
    },
    `attribute ${id}: expected one of domain ${scopeDomain} or a cross-domain derivation rule, ` +
      `got one of domain ${domain.domain_id}, whose cross-domain policy is ${domain.cross_domain}`,
  );
}

function domainName({ domain_id, domain_version, status }: Domain): string {
  return `${domain_id}@${domain_version} ${status}`;
}

function canonicalName(attribute: CanonicalAttribute): string {
  const { domain_id, attribute_id, semantic_version, status } = attribute;
  return `${domain_id}/${attribute_id}@${semantic_version} ${status}`;
}

function queryName(query: QueryAttribute): string {
  const { domain_id, query_attribute_id, semantic_version, status } = query;
  return `query ${domain_id}/${query_attribute_id}@${semantic_version} ${status}`;
}
