import type { DerivationRule, QueryAttribute } from "./derivation-rule.ts";
import type {
  AttributeReference,
  CanonicalAttribute,
  Domain,
  RecordScope,
  SemanticRegistry,
} from "./semantics.ts";

/** A registry by name. Each list holds every entry of a name, whatever its status, in no particular order. */
export interface RegistryIndex {
  readonly domains: ReadonlyMap<string, readonly Domain[]>;
  readonly attributes: ReadonlyMap<string, readonly CanonicalAttribute[]>;
  readonly queryAttributes: ReadonlyMap<string, readonly QueryAttribute[]>;
  readonly rules: ReadonlyMap<string, readonly DerivationRule[]>;
  readonly recordScopes: ReadonlyMap<string, readonly RecordScope[]>;
  /** Canonical attributes by the name of the one they replace. */
  readonly successors: ReadonlyMap<string, readonly CanonicalAttribute[]>;
}

const known = new WeakMap<SemanticRegistry, RegistryIndex>();

/** The index of a registry, made once; a registry is never changed in place. */
export function registryIndex(registry: SemanticRegistry): RegistryIndex {
  const made = known.get(registry) ?? indexOf(registry);
  known.set(registry, made);
  return made;
}

/**
 * The attribute that a column of a record scope holds, whatever its status; undefined when none is registered, or
 * several are.
 */
export function columnAttribute(
  registry: SemanticRegistry,
  { domain_id, attribute_id }: AttributeReference,
): CanonicalAttribute | undefined {
  const named = registryIndex(registry).attributes.get(attribute_id) ?? [];
  const [attribute, ...others] = named.filter((each) => each.domain_id === domain_id);
  return others.length === 0 ? attribute : undefined;
}

function indexOf(registry: SemanticRegistry): RegistryIndex {
  return {
    domains: byName(registry.domains, (each) => each.domain_id),
    attributes: byName(registry.attributes, (each) => each.attribute_id),
    queryAttributes: byName(registry.query_attributes, (each) => each.query_attribute_id),
    rules: byName(registry.derivation_rules, (each) => each.rule_id),
    recordScopes: byName(registry.record_scopes, (each) => each.record_scope_id),
    successors: byName(
      registry.attributes.filter((each) => each.supersedes !== null),
      (each) => each.supersedes ?? "",
    ),
  };
}

function byName<T>(entries: readonly T[], nameOf: (entry: T) => string): Map<string, T[]> {
  const lists = new Map<string, T[]>();
  for (const entry of entries) {
    const name = nameOf(entry);
    const list = lists.get(name);
    if (list === undefined) lists.set(name, [entry]);
    else list.push(entry);
  }
  return lists;
}
