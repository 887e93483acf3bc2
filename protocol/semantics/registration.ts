import { z } from "zod";

import {
  derivationRuleSchema,
  queryAttributeSchema,
  type DerivationRule,
} from "./derivation-rule.ts";
import { equalBytes, hex } from "../bytes.ts";
import { VerificationError } from "../errors.ts";
import { bytes32, bytesUpTo, identifier, natural } from "../fields.ts";
import { digestOf } from "../hash.ts";
import {
  CANONICAL_ATTRIBUTE_LIFECYCLE,
  DOMAIN_LIFECYCLE,
  QUERY_ATTRIBUTE_LIFECYCLE,
} from "../lifecycles.ts";
import { defineObject } from "../object.ts";
import { incoherent, requireCoherentRegistry } from "./registry-coherence.ts";
import {
  canonicalAttributeSchema,
  domainSchema,
  recordScopeSchema,
  type CanonicalAttribute,
  type SemanticRegistry,
} from "./semantics.ts";
import { parseCose } from "../signing.ts";

/** Entries of one kind that one registration adds or moves at most; its bytes are bounded by the statement it is in. */
const CHANGES_MAX = 1024;

/** One step of an entry's lifecycle. What an entry says besides its status never changes. */
export const registryTransitionSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("domain"),
    domain_id: identifier,
    domain_version: natural,
    to: domainSchema.shape.status,
  }),
  z.strictObject({
    kind: z.literal("attribute"),
    domain_id: identifier,
    attribute_id: identifier,
    to: canonicalAttributeSchema.shape.status,
  }),
  z.strictObject({
    kind: z.literal("query_attribute"),
    domain_id: identifier,
    query_attribute_id: identifier,
    to: queryAttributeSchema.shape.status,
  }),
]);

/**
 * A new version of the registry, as what it changes of its predecessor: entries that are added and steps of lifecycles.
 * Nothing else about a registered entry can change (DR-3, QG-2).
 */
export const semanticRegistrationSchema = z.strictObject({
  semantic_version: identifier,
  predecessor_version: identifier,
  domains: z.array(domainSchema).max(CHANGES_MAX),
  attributes: z.array(canonicalAttributeSchema).max(CHANGES_MAX),
  query_attributes: z.array(queryAttributeSchema).max(CHANGES_MAX),
  derivation_rules: z.array(derivationRuleSchema).max(CHANGES_MAX),
  record_scopes: z.array(recordScopeSchema).max(CHANGES_MAX),
  transitions: z.array(registryTransitionSchema).max(CHANGES_MAX),
  /** {@link CROSS_DOMAIN_APPROVAL} of every authority that a mediated rule among these names. */
  approvals: z.array(bytesUpTo(4096)).max(64),
});

/** That a mediation authority lets a rule use attributes of another domain (DR-4). */
export const crossDomainApprovalSchema = z.strictObject({
  genesis_digest: bytes32,
  rule_digest: bytes32,
  mediation_authority: identifier,
});

export type SemanticRegistration = z.infer<typeof semanticRegistrationSchema>;
export type RegistryTransition = z.infer<typeof registryTransitionSchema>;

export const CROSS_DOMAIN_APPROVAL = defineObject(
  "cross-domain-approval",
  crossDomainApprovalSchema,
  4096,
);

/** Digest that an approval names: of everything about a rule. */
export function ruleDigest(rule: DerivationRule): Uint8Array {
  return digestOf("derivation-rule", rule);
}

/** What a registration is judged by, besides the registry before it. */
export interface RegistrationContext {
  readonly genesisDigest: Uint8Array;
  /** The signing key of an active actor; undefined for any other name. */
  readonly keyOf: (actorId: string) => Uint8Array | undefined;
}

/**
 * The registry that `registration` makes of its predecessor. Pure; the predecessor stays as it was.
 *
 * @throws {@link VerificationError} GOVERNANCE_EVENT_INVALID for another predecessor, or a mediated rule without the
 * approval of its authority
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID as `requireCoherentRegistry`, and for additions that are
 * not new, or name what is not there
 * @throws {@link ConflictError} EXECUTION_ILLEGAL_TRANSITION for a step that the lifecycle has not
 */
export function registerVersion(
  registry: SemanticRegistry,
  registration: SemanticRegistration,
  context: RegistrationContext,
): SemanticRegistry {
  const { semantic_version: version, predecessor_version: predecessor } = registration;
  if (predecessor !== registry.semantic_version) {
    throw new VerificationError(
      {
        code: "GOVERNANCE_EVENT_INVALID",
        expected: registry.semantic_version,
        actual: predecessor,
      },
      `predecessor_version: expected ${registry.semantic_version}, got ${predecessor}`,
    );
  }
  requireNew(registry, registration);
  requireApprovals(registration, context);
  const next = {
    semantic_version: version,
    ...movedEntries(registry, registration),
    derivation_rules: [...registry.derivation_rules, ...registration.derivation_rules],
    record_scopes: [...registry.record_scopes, ...registration.record_scopes],
  };
  requireCoherentRegistry(next);
  requireReplacements(next, registration);
  return next;
}

/** Additions are of this version, begin at the beginning of their lifecycle, and take no name that was ever used. */
function requireNew(registry: SemanticRegistry, registration: SemanticRegistration): void {
  const { semantic_version: version, attributes, query_attributes: queries } = registration;
  const added = [
    ...registration.domains,
    ...attributes,
    ...queries,
    ...registration.derivation_rules,
  ];
  if (added.some((entry) => entry.semantic_version !== version)) {
    throw incoherent("registration", `entries of semantic version ${version}`);
  }
  const staged = [...registration.domains, ...attributes, ...queries];
  if (staged.some(({ status }) => !INITIAL.has(status))) {
    throw incoherent("registration", "additions that are proposed, registered or active");
  }
  const begun = attributes.every(
    (each) =>
      each.effective_from === (each.status === "active" ? version : null) &&
      each.deprecated_from === null &&
      each.retired_from === null,
  );
  if (!begun)
    throw incoherent("registration", "attributes effective from this version once active");
  const known = new Set(registry.attributes.map(nameOf));
  if (attributes.some((each) => known.has(nameOf(each)))) {
    throw incoherent("registration", "attributes of new names");
  }
}

const INITIAL: ReadonlySet<string> = new Set(["proposed", "registered", "active"]);

function nameOf({ domain_id, attribute_id }: CanonicalAttribute): string {
  return `${domain_id}/${attribute_id}`;
}

/** Domains, attributes and query attributes after the steps of their lifecycles, with what is added. */
function movedEntries(registry: SemanticRegistry, registration: SemanticRegistration) {
  const { semantic_version: version } = registration;
  const steps = stepsOf(registration.transitions);
  const take = (key: string): string | undefined => {
    const to = steps.get(key)?.to;
    steps.delete(key);
    return to;
  };
  const domains = registry.domains.map((domain) => {
    const to = take(`domain ${domain.domain_id}@${domain.domain_version}`);
    if (to === undefined) return domain;
    DOMAIN_LIFECYCLE.assertTransition(domain.status, to);
    return { ...domain, status: domainSchema.shape.status.parse(to) };
  });
  const attributes = registry.attributes.map((attribute) => {
    const to = take(`attribute ${nameOf(attribute)}`);
    if (to === undefined) return attribute;
    CANONICAL_ATTRIBUTE_LIFECYCLE.assertTransition(attribute.status, to);
    const status = canonicalAttributeSchema.shape.status.parse(to);
    return { ...attribute, status, ...windowOf(status, version) };
  });
  const query_attributes = registry.query_attributes.map((query) => {
    const to = take(`query_attribute ${query.domain_id}/${query.query_attribute_id}`);
    if (to === undefined) return query;
    QUERY_ATTRIBUTE_LIFECYCLE.assertTransition(query.status, to);
    return { ...query, status: queryAttributeSchema.shape.status.parse(to) };
  });
  const [unused] = steps.keys();
  if (unused !== undefined) throw incoherent(`transition of ${unused}`, "a registered entry");
  return {
    domains: [...domains, ...registration.domains],
    attributes: [...attributes, ...registration.attributes],
    query_attributes: [...query_attributes, ...registration.query_attributes],
  };
}

/** From which version on an attribute is what it has become (CA-6). */
function windowOf(status: CanonicalAttribute["status"], version: string) {
  switch (status) {
    case "active":
      return { effective_from: version };
    case "deprecated":
      return { deprecated_from: version };
    case "retired":
      return { retired_from: version };
    case "proposed":
    case "registered":
    case "superseded":
      return {};
  }
}

function stepsOf(transitions: readonly RegistryTransition[]): Map<string, RegistryTransition> {
  const steps = new Map<string, RegistryTransition>();
  for (const step of transitions) {
    const key = stepKey(step);
    if (steps.has(key)) throw incoherent(`transition of ${key}`, "one step a version");
    steps.set(key, step);
  }
  return steps;
}

function stepKey(step: RegistryTransition): string {
  switch (step.kind) {
    case "domain":
      return `domain ${step.domain_id}@${step.domain_version}`;
    case "attribute":
      return `attribute ${step.domain_id}/${step.attribute_id}`;
    case "query_attribute":
      return `query_attribute ${step.domain_id}/${step.query_attribute_id}`;
  }
}

/** What is superseded has a successor in its domain, and what supersedes has something to replace (CA-4). */
function requireReplacements(next: SemanticRegistry, registration: SemanticRegistration): void {
  const names = new Set(next.attributes.map(nameOf));
  const replaced = new Set(
    next.attributes.flatMap((each) =>
      each.supersedes === null ? [] : [`${each.domain_id}/${each.supersedes}`],
    ),
  );
  for (const step of registration.transitions) {
    if (step.kind !== "attribute" || step.to !== "superseded") continue;
    const name = `${step.domain_id}/${step.attribute_id}`;
    if (!replaced.has(name))
      throw incoherent(`attribute ${name}`, "a successor that supersedes it");
  }
  const queries = new Set(
    next.query_attributes.map((each) => `${each.domain_id}/${each.query_attribute_id}`),
  );
  const dangling = (set: ReadonlySet<string>, domain: string, id: string | null): boolean =>
    id !== null && !set.has(`${domain}/${id}`);
  const broken =
    registration.attributes.some((each) => dangling(names, each.domain_id, each.supersedes)) ||
    registration.query_attributes.some((each) =>
      dangling(queries, each.domain_id, each.supersedes),
    );
  if (broken) throw incoherent("supersedes", "a registered entry of the same domain");
}

/** Every authority that a mediated rule names has approved exactly this rule, as an active actor. */
function requireApprovals(
  { derivation_rules: rules, approvals }: SemanticRegistration,
  { genesisDigest, keyOf }: RegistrationContext,
): void {
  const approved = new Set<string>();
  for (const approval of approvals) {
    const claimed = CROSS_DOMAIN_APPROVAL.decode(parseCose(approval).payload);
    const publicKey = keyOf(claimed.mediation_authority);
    if (publicKey === undefined) throw unapproved("approvals of active actors");
    const verified = CROSS_DOMAIN_APPROVAL.verify(approval, publicKey);
    if (!equalBytes(verified.genesis_digest, genesisDigest)) {
      throw unapproved("approvals for this network");
    }
    approved.add(`${hex(verified.rule_digest)} ${verified.mediation_authority}`);
  }
  for (const rule of rules) {
    for (const { mediation_authority: authority } of rule.source_attributes) {
      if (authority === null) continue;
      if (!approved.has(`${hex(ruleDigest(rule))} ${authority}`)) {
        throw unapproved(`the approval of ${authority} for rule ${rule.rule_id}`);
      }
    }
  }
}

function unapproved(expected: string): VerificationError {
  return new VerificationError(
    { code: "GOVERNANCE_EVENT_INVALID", expected },
    `registration: expected ${expected}, got none`,
  );
}
