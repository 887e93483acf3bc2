import type { DerivationRule, QueryAttribute, SourceReference } from "./derivation-rule.ts";
import { MalformedError } from "../errors.ts";
import { isApplicable, isFiner, type QueryGranularity } from "./granularity.ts";
import { isAllowedAcross } from "./projection.ts";
import { columnAttribute, registryIndex } from "./registry-index.ts";
import { requireRuleTypes } from "./rule-types.ts";
import { LOCAL_ID, columnOfVault, type VaultAttribute } from "./vault-attribute.ts";
import {
  columnsOfScope,
  type CanonicalAttribute,
  type Domain,
  type SemanticRegistry,
} from "./semantics.ts";

const LAYERS = ["global", "family", "concrete", "sub"] as const;

/** Query attributes of one source and transform that one registry holds at most: each is compared with each. */
const PROJECTIONS_OF_ONE_SOURCE_MAX = 64;

/**
 * Refuses a registry whose entries do not fit together, whatever their status:
 *
 * - names that two entries of a kind and domain share, but for attributes that differ in `semantic_version`; those of
 *   Vaults' own columns (LA-3);
 * - domains without their parent or not below it (DM-1); record scopes of attributes that are not registered;
 * - an attribute with direct use and no granularity, or the reverse, or one that its type has not (CA-2, QG-1);
 * - rules over unknown attributes, with types that do not fit (DR-2), or across domains against their policy (DR-4);
 * - query attributes without domain or rule (QA-3), or finer than another without a higher class and cost (QG-2).
 *
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID, naming the first entry at fault.
 */
export function requireCoherentRegistry(registry: SemanticRegistry): void {
  requireDistinctNames(registry);
  requireNoLocalNames(registry);
  for (const domain of registry.domains) requireParent(registry, domain);
  for (const attribute of registry.attributes) requireAttribute(registry, attribute);
  for (const rule of registry.derivation_rules) requireRule(registry, rule);
  for (const query of registry.query_attributes) requireQueryAttribute(registry, query);
  requireScopes(registry);
  requirePricedGranularity(registry);
}

/**
 * Refuses what a Vault lets be asked of its own column when no registry could have it: of a rule that is not over that
 * column alone, hands its values on, or does not fit its type or granularity (LA-3).
 *
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID
 */
export function requireVaultAttribute(attribute: VaultAttribute): void {
  const { local_id: id, domain_id: domainId, derivation_rule: rule } = attribute;
  const subject = `attribute ${id}`;
  const isOwn = rule.source_attributes.every(
    (source) =>
      source.attribute_id === id &&
      source.domain_id === domainId &&
      source.cross_domain_policy === null &&
      source.mediation_authority === null,
  );
  if (!isOwn || rule.rule_id !== id || rule.transform_type === "passthrough") {
    throw incoherent(subject, "a rule of its name over it alone that is no passthrough");
  }
  const column = columnOfVault(attribute);
  requireNumbers(subject, column);
  const sources = rule.source_attributes.map(() => column);
  requireRuleTypes(rule, sources);
  requireDerivedGranularity(subject, rule, attribute.query_granularity);
}

/** @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID */
export function incoherent(subject: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "DERIVATION_REGISTRY_INVALID", subject },
    `${subject}: expected ${expected}, got another`,
  );
}

function requireDistinctNames(registry: SemanticRegistry): void {
  const names = [
    ...registry.domains.map((each) => `domain ${each.domain_id}@${each.domain_version}`),
    ...registry.attributes.map(
      (each) => `attribute ${each.domain_id}/${each.attribute_id}@${each.semantic_version}`,
    ),
    ...registry.query_attributes.map(
      (each) => `query attribute ${each.domain_id}/${each.query_attribute_id}`,
    ),
    ...registry.derivation_rules.map((each) => `derivation rule ${each.rule_id}`),
    ...registry.record_scopes.map((each) => `record scope ${each.record_scope_id}`),
  ];
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw incoherent(name, "one entry of this name");
    seen.add(name);
  }
}

/** What a Vault calls a column of its own is no other thing's name, whoever registers it. */
function requireNoLocalNames(registry: SemanticRegistry): void {
  const { attributes, query_attributes: queries, derivation_rules: rules } = registry;
  const isLocal =
    attributes.some((each) => LOCAL_ID.test(each.attribute_id)) ||
    queries.some((each) => LOCAL_ID.test(each.query_attribute_id)) ||
    rules.some((each) => LOCAL_ID.test(each.rule_id));
  if (isLocal) throw incoherent("registry", "names that are not those of a Vault's own columns");
}

function requireParent(registry: SemanticRegistry, domain: Domain): void {
  const { domain_id: id, parent_domain_id: parent, layer } = domain;
  if (parent === null) {
    if (layer === "sub") throw incoherent(`domain ${id}`, "a parent of a sub-domain");
    return;
  }
  const parents = registryIndex(registry).domains.get(parent) ?? [];
  const above = parents.every((each) => LAYERS.indexOf(each.layer) < LAYERS.indexOf(layer));
  if (parents.length === 0 || !above) {
    throw incoherent(`domain ${id}`, "a registered parent of a higher layer");
  }
}

function requireAttribute(registry: SemanticRegistry, attribute: CanonicalAttribute): void {
  const { type, range, directly_queryable: direct } = attribute;
  const subject = `attribute ${attribute.domain_id}/${attribute.attribute_id}`;
  const granularity = attribute.default_query_granularity;
  requireDomain(registry, attribute.domain_id, subject);
  requireNumbers(subject, attribute);
  if (direct !== (granularity !== null)) {
    throw incoherent(subject, "a default granularity exactly when it is directly queryable");
  }
  if (granularity === null) return;
  requireGranularity(subject, granularity, { type, range });
  if (granularity.categorical_resolution === "group") {
    throw incoherent(subject, "groups in a derivation rule");
  }
}

function requireNumbers(
  subject: string,
  { type, scale, range }: Pick<CanonicalAttribute, "type" | "scale" | "range">,
): void {
  const numeric = type === "integer" || type === "decimal";
  if ((!numeric && range !== null) || (range !== null && range.min > range.max)) {
    throw incoherent(subject, "a range of numbers, from its least to its greatest");
  }
  if (type !== "decimal" && scale !== 0) throw incoherent(subject, "scale 0 but for decimals");
}

function requireGranularity(
  subject: string,
  granularity: QueryGranularity,
  { type, range }: Pick<CanonicalAttribute, "type" | "range">,
): void {
  if (!isApplicable(granularity, type)) {
    throw incoherent(subject, `one dimension of granularity that ${type} values have`);
  }
  if (granularity.categorical_resolution !== "binary") return;
  if (range?.min !== 0 || range.max !== 1) throw incoherent(subject, "a binary range [0, 1]");
}

function requireDomain(registry: SemanticRegistry, id: string, subject: string): void {
  if (registryIndex(registry).domains.has(id)) return;
  throw incoherent(subject, "a registered domain");
}

function requireRule(registry: SemanticRegistry, rule: DerivationRule): void {
  const subject = `derivation rule ${rule.rule_id}`;
  const sources = rule.source_attributes.map((source) => {
    const attribute = columnAttribute(registry, source);
    if (attribute === undefined) throw incoherent(subject, "one registered attribute a source");
    if ((source.cross_domain_policy === "mediated") !== (source.mediation_authority !== null)) {
      throw incoherent(subject, "a mediation authority exactly where it is mediated");
    }
    return attribute;
  });
  requireRuleTypes(rule, sources);
}

function requireQueryAttribute(registry: SemanticRegistry, query: QueryAttribute): void {
  const subject = `query attribute ${query.domain_id}/${query.query_attribute_id}`;
  requireDomain(registry, query.domain_id, subject);
  const [rule] = registryIndex(registry).rules.get(query.derivation_rule_id) ?? [];
  if (rule === undefined) throw incoherent(subject, "a registered derivation rule");
  requireDerivedGranularity(subject, rule, query.query_granularity);
  for (const source of rule.source_attributes) {
    requireCrossDomain(registry, { query, source, subject });
  }
}

function requireDerivedGranularity(
  subject: string,
  rule: DerivationRule,
  granularity: QueryGranularity,
): void {
  const { output_type: type, output_range: range, transform_type: transform } = rule;
  requireGranularity(subject, granularity, { type, range });
  if ((granularity.categorical_resolution === "group") !== (transform === "bucket")) {
    throw incoherent(subject, "a bucket rule exactly where its granularity is group");
  }
}

/** Sources of another domain say under which policy; the others say nothing. That policy is judged again at each use. */
function requireCrossDomain(
  registry: SemanticRegistry,
  args: {
    readonly query: QueryAttribute;
    readonly source: SourceReference;
    readonly subject: string;
  },
): void {
  const { query, source, subject } = args;
  if (source.domain_id === query.domain_id) {
    if (source.cross_domain_policy === null) return;
    throw incoherent(subject, "no cross-domain policy for a source of its own domain");
  }
  const attribute = columnAttribute(registry, source);
  const domains = registryIndex(registry).domains.get(source.domain_id) ?? [];
  const allowed = domains.some(
    (domain) => attribute !== undefined && isAllowedAcross(source, attribute, domain),
  );
  if (!allowed)
    throw incoherent(subject, `a source that domain ${source.domain_id} lets others use`);
}

function requireScopes(registry: SemanticRegistry): void {
  for (const scope of registry.record_scopes) {
    const subject = `record scope ${scope.record_scope_id}`;
    requireDomain(registry, scope.domain_id, subject);
    const columns = columnsOfScope(scope);
    const ids = new Set(columns.map((each) => each.attribute_id));
    const foreign = scope.foreign_attributes.every((each) => each.domain_id !== scope.domain_id);
    if (ids.size < columns.length || !foreign) {
      throw incoherent(subject, "every attribute once, and foreign ones of other domains");
    }
    const { attributes } = registryIndex(registry);
    const registered = columns.every(({ domain_id, attribute_id }) =>
      attributes.get(attribute_id)?.some((each) => each.domain_id === domain_id),
    );
    if (!registered) throw incoherent(subject, "registered attributes");
    const { subject_attribute_id: owner, link_attribute_id: link } = scope;
    if (!ids.has(owner) || (link !== null && !ids.has(link))) {
      throw incoherent(subject, "its subject and link among its attributes");
    }
  }
}

interface Priced {
  readonly name: string;
  readonly granularity: QueryGranularity;
  readonly privacyClass: number;
  readonly epsilonMicro: number;
}

/** Of two projections of the same sources the finer one is of a higher class and costs more (QG-2). */
function requirePricedGranularity(registry: SemanticRegistry): void {
  for (const group of projectionsBySource(registry).values()) {
    if (group.length > PROJECTIONS_OF_ONE_SOURCE_MAX) {
      const most = `at most ${PROJECTIONS_OF_ONE_SOURCE_MAX} projections of its sources`;
      throw incoherent(group[0]?.name ?? "", most);
    }
    for (const fine of group) {
      const cheap = group.some(
        (coarse) =>
          isFiner(fine.granularity, coarse.granularity) &&
          (fine.privacyClass <= coarse.privacyClass || fine.epsilonMicro <= coarse.epsilonMicro),
      );
      if (cheap)
        throw incoherent(fine.name, "a higher class and cost than coarser projections have");
    }
  }
}

function projectionsBySource(registry: SemanticRegistry): ReadonlyMap<string, readonly Priced[]> {
  const groups = new Map<string, Priced[]>();
  const add = (key: string, priced: Priced): void => {
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [priced]);
    else group.push(priced);
  };
  for (const attribute of registry.attributes) {
    const { default_query_granularity: granularity, status } = attribute;
    if (granularity === null || ENDED.has(status)) continue;
    const name = `${attribute.domain_id}/${attribute.attribute_id}`;
    add(`passthrough ${name}`, {
      name: `attribute ${name}`,
      granularity,
      privacyClass: attribute.default_privacy_class,
      epsilonMicro: attribute.privacy_impact_epsilon_micro,
    });
  }
  for (const query of registry.query_attributes) {
    const [rule] = registryIndex(registry).rules.get(query.derivation_rule_id) ?? [];
    if (rule === undefined || ENDED.has(query.status)) continue;
    const sources = rule.source_attributes.map((each) => `${each.domain_id}/${each.attribute_id}`);
    add(`${rule.transform_type} ${sources.sort().join(" ")}`, {
      name: `query attribute ${query.domain_id}/${query.query_attribute_id}`,
      granularity: query.query_granularity,
      privacyClass: query.privacy_class,
      epsilonMicro: rule.privacy_impact_epsilon_micro,
    });
  }
  return groups;
}

const ENDED: ReadonlySet<string> = new Set(["retired", "superseded"]);
