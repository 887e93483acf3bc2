import {
  MalformedError,
  encodeCbor,
  equalBytes,
  type CborValue,
  type RegistryTransition,
  type SemanticRegistration,
  type SemanticRegistry,
} from "#protocol";

import type { RegistryDocument } from "./document.ts";

/** One difference between a document and the registry: `from` is null for what is new. */
export interface RegistryChange {
  readonly kind: string;
  readonly name: string;
  readonly from: string | null;
  /** The status it gets; null where there is none. */
  readonly to: string | null;
}

/** What registering a document would come to. */
export interface RegistryPlan {
  readonly changes: readonly RegistryChange[];
  readonly registration: SemanticRegistration;
}

/**
 * What a document changes of a registry. Pure; says nothing about whether governance would take it.
 *
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID for a registered entry that says something else than its
 * status: that is never changed, only replaced.
 */
export function planRegistration(
  registry: SemanticRegistry,
  document: RegistryDocument,
  approvals: Uint8Array[],
): RegistryPlan {
  const domains = compare(registry.domains, document.domains, {
    kind: "domain",
    nameOf: (each) => `${each.domain_id}@${each.domain_version}`,
  });
  const attributes = compare(registry.attributes, document.attributes, {
    kind: "attribute",
    nameOf: (each) => `${each.domain_id}/${each.attribute_id}`,
  });
  const queries = compare(registry.query_attributes, document.query_attributes, {
    kind: "query attribute",
    nameOf: (each) => `${each.domain_id}/${each.query_attribute_id}`,
  });
  const rules = compare(registry.derivation_rules, document.derivation_rules, {
    kind: "derivation rule",
    nameOf: (each) => each.rule_id,
  });
  const scopes = compare(registry.record_scopes, document.record_scopes, {
    kind: "record scope",
    nameOf: (each) => each.record_scope_id,
  });
  return {
    changes: [domains, attributes, queries, rules, scopes].flatMap(({ changes }) => changes),
    registration: {
      semantic_version: document.semantic_version,
      predecessor_version: registry.semantic_version,
      domains: domains.added,
      attributes: attributes.added,
      query_attributes: queries.added,
      derivation_rules: rules.added,
      record_scopes: scopes.added,
      transitions: [
        ...domains.moved.map(({ domain_id, domain_version, status }): RegistryTransition => ({
          ...{ kind: "domain", domain_id, domain_version, to: status },
        })),
        ...attributes.moved.map(({ domain_id, attribute_id, status }): RegistryTransition => ({
          ...{ kind: "attribute", domain_id, attribute_id, to: status },
        })),
        ...queries.moved.map(({ domain_id, query_attribute_id, status }): RegistryTransition => ({
          ...{ kind: "query_attribute", domain_id, query_attribute_id, to: status },
        })),
      ],
      approvals,
    },
  };
}

/** The difference in words, one line each. */
export function changeLine({ kind, name, from, to }: RegistryChange): string {
  if (from === null) return `+ ${kind} ${name}${to === null ? "" : ` (${to})`}`;
  return `~ ${kind} ${name}: ${from} -> ${to ?? ""}`;
}

function compare<T extends Readonly<Record<string, CborValue>>>(
  registered: readonly T[],
  wanted: readonly T[],
  { kind, nameOf }: { readonly kind: string; readonly nameOf: (entry: T) => string },
): { readonly added: T[]; readonly moved: T[]; readonly changes: RegistryChange[] } {
  const known = new Map(registered.map((entry) => [nameOf(entry), entry]));
  const added: T[] = [];
  const moved: T[] = [];
  const changes: RegistryChange[] = [];
  for (const entry of wanted) {
    const name = nameOf(entry);
    const before = known.get(name);
    const to = statusOf(entry);
    if (before === undefined) {
      added.push(entry);
      changes.push({ kind, name, from: null, to });
      continue;
    }
    requireSame({ kind, name }, before, entry);
    const from = statusOf(before);
    if (from === to) continue;
    moved.push(entry);
    changes.push({ kind, name, from, to });
  }
  return { added, moved, changes };
}

function statusOf(entry: Readonly<Record<string, CborValue>>): string | null {
  const { status } = entry;
  return typeof status === "string" ? status : null;
}

function requireSame(
  { kind, name }: { readonly kind: string; readonly name: string },
  before: Readonly<Record<string, CborValue>>,
  entry: Readonly<Record<string, CborValue>>,
): void {
  for (const field of Object.keys(before)) {
    if (field === "status") continue;
    const same = equalBytes(encodeCbor(before[field] ?? null), encodeCbor(entry[field] ?? null));
    if (same) continue;
    const subject = `${kind} ${name}`;
    throw new MalformedError(
      { code: "DERIVATION_REGISTRY_INVALID", subject, field },
      `${subject}, ${field}: expected what is registered, or an entry of another name that replaces it, got another`,
    );
  }
}
