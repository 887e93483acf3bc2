import { MalformedError, RefusedError, type ErrorCode } from "./errors.ts";
import { hex } from "./bytes.ts";
import { digestOf } from "./hash.ts";
import type { GovernanceState } from "./governance.ts";
import type { CanonicalAttribute, Domain, RecordScope, SemanticRegistry } from "./semantics.ts";
import type { AttributeComposition } from "./task-envelope.ts";
import type { Operand, TaskParameters } from "./task-parameters.ts";
import type { TaskRequest } from "./task-request.ts";

/** The most operands of one composition; the bound of `attributeCompositionSchema`. */
const OPERANDS_MAX = 64;

/**
 * What a request means under one `semantic_version` (SCP part 3, Canonical Attribute Resolution Flow).
 *
 * `attribute_composition` is null for a task with one operand. `operandEpsilonsMicro` has one entry for each operand,
 * in order: the registry epsilon of its attribute, for whoever prices the composition. For `parse` it is empty.
 */
export interface SemanticResolution {
  readonly semantic_version: string;
  readonly record_scope: RecordScope;
  /** Ascending, distinct. For `parse` every attribute of the scope. */
  readonly attribute_ids: readonly string[];
  readonly attribute_composition: AttributeComposition | null;
  /** Empty: the registry holds no derivation rules, so nothing that needs one resolves. */
  readonly derivation_rule_refs: string[];
  readonly operator: AttributeComposition["operator"];
  readonly operandEpsilonsMicro: readonly number[];
  readonly combined_privacy_class: number;
  readonly minimum_result_cardinality: number;
  /** Digest of everything above; equal requests and registries give equal digests. */
  readonly resolutionDigest: Uint8Array;
}

/**
 * Resolves a request: record scope, then domain, then attributes, then composition. Pure.
 *
 * Only active domains and attributes resolve: the policy document has no field that permits deprecated ones, and what
 * is not permitted is refused. An attribute of another domain than the scope's needs a derivation rule (CA-3), so it is
 * refused with that domain's cross-domain rule named. Ambiguity is refused, never guessed. Nothing is priced.
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED, with `candidates`, for a scope, domain or attribute that is
 * unknown, ambiguous, not active or not directly queryable; COMPOSITION_INVALID across domains.
 * @throws {@link MalformedError} COMPOSITION_INVALID for operands that no composition has,
 * DERIVATION_VALUE_OUT_OF_RANGE for a literal of another type or outside the attribute's range.
 */
export function resolveRequest(request: TaskRequest, state: GovernanceState): SemanticResolution {
  const { semantics, policy } = state;
  const scope = resolveScope(semantics, request.record_scope);
  const { operator, operands } = operandsOf(request.parameters, semantics, scope);
  const attributes = operands.map((operand) => resolveOperand(operand, semantics, scope));
  const used = operands.length === 0 ? parsedAttributes(semantics, scope) : attributes;
  const minimum_result_cardinality = policy.privacy.minimum_result_cardinality;
  const combined_privacy_class = Math.max(...used.map((each) => each.default_privacy_class));
  const resolved = {
    semantic_version: semantics.semantic_version,
    record_scope: scope,
    attribute_ids: [...new Set(used.map((each) => each.attribute_id))].sort(),
    attribute_composition: compose({
      operator,
      operands,
      combined_privacy_class,
      minimum_result_cardinality,
    }),
    derivation_rule_refs: [],
    operator,
    operandEpsilonsMicro: attributes.map((each) => each.privacy_impact_epsilon_micro),
    combined_privacy_class,
    minimum_result_cardinality,
  };
  return { ...resolved, resolutionDigest: digestOf("semantic-resolution", resolved) };
}

function compose(args: {
  readonly operator: AttributeComposition["operator"];
  readonly operands: readonly Operand[];
  readonly combined_privacy_class: number;
  readonly minimum_result_cardinality: number;
}): AttributeComposition | null {
  const { operands, ...rest } = args;
  if (operands.length < 2) return null;
  const composition = { ...rest, operand_attributes: [...operands] };
  const id = hex(digestOf("attribute-composition", composition)).slice(0, 32);
  return { composition_id: `c-${id}`, ...composition };
}

function resolveScope(semantics: SemanticRegistry, id: string): RecordScope {
  const candidates = semantics.record_scopes.filter((scope) => scope.record_scope_id === id);
  const [scope] = candidates;
  if (scope === undefined || candidates.length > 1) {
    throw unresolved(
      "record_scope",
      "one registered record scope",
      candidates.map((candidate) => candidate.record_scope_id),
    );
  }
  resolveDomain(semantics, scope.domain_id);
  return scope;
}

function resolveDomain(semantics: SemanticRegistry, id: string): Domain {
  const candidates = semantics.domains.filter((domain) => domain.domain_id === id);
  const eligible = candidates.filter((domain) => domain.status === "active");
  const [domain] = eligible;
  if (domain === undefined || eligible.length > 1) {
    const named = candidates.map(
      (each) => `${each.domain_id}@${each.domain_version} ${each.status}`,
    );
    throw unresolved(`domain ${id}`, "one active domain", named);
  }
  return domain;
}

/** The one active attribute `id` of the scope's domain. */
function resolveAttribute(
  semantics: SemanticRegistry,
  scope: RecordScope,
  id: string,
): CanonicalAttribute {
  const everywhere = semantics.attributes.filter((attribute) => attribute.attribute_id === id);
  const candidates = everywhere.filter((attribute) => attribute.domain_id === scope.domain_id);
  const foreign = everywhere.find((attribute) => attribute.domain_id !== scope.domain_id);
  if (candidates.length === 0 && foreign !== undefined) {
    throw crossDomain(id, scope.domain_id, resolveDomain(semantics, foreign.domain_id));
  }
  const eligible = candidates.filter((attribute) => attribute.status === "active");
  const [attribute] = eligible;
  if (attribute === undefined || eligible.length > 1 || !scope.attribute_ids.includes(id)) {
    const successors = semantics.attributes.filter((successor) => successor.supersedes === id);
    throw unresolved(
      `attribute ${id}`,
      `one active attribute of record scope ${scope.record_scope_id}`,
      [...candidates, ...successors].map(
        (each) => `${each.domain_id}/${each.attribute_id}@${each.semantic_version} ${each.status}`,
      ),
    );
  }
  return attribute;
}

function resolveOperand(
  operand: Operand,
  semantics: SemanticRegistry,
  scope: RecordScope,
): CanonicalAttribute {
  const attribute = resolveAttribute(semantics, scope, operand.attribute);
  if (!attribute.directly_queryable) {
    throw unresolved(
      `attribute ${operand.attribute}`,
      "a directly queryable attribute or a query attribute with a derivation rule",
      [`${attribute.domain_id}/${attribute.attribute_id} not directly queryable`],
    );
  }
  requireLiterals(operand, attribute);
  return attribute;
}

/** `parse` reads whole records: every attribute of the scope must mean something, and none is compared. */
function parsedAttributes(semantics: SemanticRegistry, scope: RecordScope): CanonicalAttribute[] {
  return scope.attribute_ids.map((id) => resolveAttribute(semantics, scope, id));
}

interface Operands {
  readonly operator: AttributeComposition["operator"];
  readonly operands: readonly Operand[];
}

/** The operands a task uses. Features filter records to those whose values lie in the registered range. */
function operandsOf(
  parameters: TaskParameters,
  semantics: SemanticRegistry,
  scope: RecordScope,
): Operands {
  switch (parameters.task_class) {
    case "parse":
      return { operator: "FILTER", operands: [] };
    case "query":
      return predicateOperands(parameters.predicate.operator, parameters.predicate.operands);
    case "compute":
    case "train": {
      const ids = parameters.features.map((feature) => feature.attribute);
      const features = ids.map((id) => wholeRange(resolveAttribute(semantics, scope, id)));
      const label = parameters.task_class === "train" ? [labelOperand(parameters.label)] : [];
      requireDistinct([...ids, ...label.map((operand) => operand.attribute)]);
      return predicateOperands("FILTER", [...features, ...label]);
    }
  }
}

function predicateOperands(
  operator: AttributeComposition["operator"],
  operands: readonly Operand[],
): Operands {
  if (operator === "NOT" && operands.length !== 1) {
    throw invalid("predicate", "one operand for NOT", `${operands.length}`);
  }
  if (operands.length > OPERANDS_MAX) {
    throw invalid("composition", `at most ${OPERANDS_MAX} operands`, `${operands.length}`);
  }
  return { operator, operands };
}

function requireDistinct(ids: readonly string[]): void {
  if (new Set(ids).size === ids.length) return;
  throw invalid(
    "features",
    "each attribute once, and the label among none of them",
    "a repetition",
  );
}

function wholeRange(attribute: CanonicalAttribute): Operand {
  const { attribute_id, range } = attribute;
  if (range === null || !isNumeric(attribute)) {
    throw outOfRange(attribute_id, "a number with a registered range", attribute.type);
  }
  return { attribute: attribute_id, op: "range", min: range.min, max: range.max + 1 };
}

function labelOperand(label: { readonly attribute: string; readonly positive: number }): Operand {
  return { attribute: label.attribute, op: "eq", value: label.positive };
}

function requireLiterals(operand: Operand, attribute: CanonicalAttribute): void {
  switch (operand.op) {
    case "eq":
      return requireLiteral(operand.value, attribute);
    case "in":
      return operand.values.forEach((value) => requireLiteral(value, attribute));
    case "range": {
      const { min, max } = operand;
      if (!isNumeric(attribute)) throw outOfRange(operand.attribute, "eq or in", "range");
      if (min >= max) throw outOfRange(operand.attribute, "min below max", "an empty range");
      requireLiteral(min, attribute);
      return requireLiteral(max - 1, attribute);
    }
  }
}

function requireLiteral(value: number | string, attribute: CanonicalAttribute): void {
  const { attribute_id, type, range } = attribute;
  const expectedType = isNumeric(attribute) ? "number" : "string";
  if (type === "bytes" || typeof value !== expectedType) {
    throw outOfRange(attribute_id, `a literal comparable to ${type}`, typeof value);
  }
  if (typeof value !== "number" || range === null) return;
  if (value < range.min || value > range.max) {
    throw outOfRange(attribute_id, `a literal in [${range.min}, ${range.max}]`, "one outside");
  }
}

function isNumeric(attribute: CanonicalAttribute): boolean {
  return attribute.type === "integer" || attribute.type === "decimal";
}

function unresolved(subject: string, expected: string, candidates: string[]): RefusedError {
  const sorted = [...candidates].sort();
  return new RefusedError(
    { code: "DERIVATION_UNRESOLVED", subject, candidates: sorted },
    `${subject}: expected ${expected}, got ${sorted.join(", ") || "none"}`,
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

function invalid(subject: string, expected: string, got: string): MalformedError {
  return malformed("COMPOSITION_INVALID", subject, `expected ${expected}, got ${got}`);
}

function outOfRange(attribute: string, expected: string, got: string): MalformedError {
  const text = `expected ${expected}, got ${got}`;
  return malformed("DERIVATION_VALUE_OUT_OF_RANGE", `attribute ${attribute}`, text);
}

function malformed(code: ErrorCode, subject: string, text: string): MalformedError {
  return new MalformedError({ code, subject }, `${subject}: ${text}`);
}
