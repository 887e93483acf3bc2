import { hex } from "../bytes.ts";
import { MalformedError, type ErrorCode } from "../errors.ts";
import { coarsen, isAtGranularity } from "./granularity.ts";
import { digestOf } from "../hash.ts";
import {
  resolveAttribute,
  resolveDomain,
  resolveProjection,
  unresolved,
  type Projection,
  type ResolutionContext,
} from "./projection.ts";
import { requireVaultAttribute } from "./registry-coherence.ts";
import { registryIndex } from "./registry-index.ts";
import type { CanonicalAttribute, RecordScope } from "./semantics.ts";
import { VAULT_ATTRIBUTE, type VaultAttribute } from "./vault-attribute.ts";
import type { AttributeComposition } from "../task-envelope.ts";
import type { Operand, TaskParameters } from "../task-parameters.ts";
import type { TaskRequest } from "../task-request.ts";
import type { GovernanceState } from "../governance/governance-state.ts";

/** The most operands of one composition; the bound of `attributeCompositionSchema`. */
const OPERANDS_MAX = 64;

/** What one operand's name means, for whoever audits it: `rule_id` is null for direct use of a canonical attribute. */
export type OperandReference = Readonly<{
  kind: "canonical" | "query" | "vault_scoped_query";
  domain_id: string;
  id: string;
  semantic_version: string;
  rule_id: string | null;
}>;

/**
 * What a request means under one `semantic_version` (SCP part 3, Canonical Attribute Resolution Flow).
 *
 * `attribute_composition` is null for a task with one operand. `operand_refs`, `operandEpsilonsMicro` and `projections`
 * have one entry for each operand, in order; for `parse` they are empty.
 */
export interface SemanticResolution {
  readonly semantic_version: string;
  readonly record_scope: RecordScope;
  /** Columns that are read, ascending, distinct: canonical attributes, and the Vault's own. For `parse` every attribute of the scope. */
  readonly attribute_ids: readonly string[];
  /** Those of the request's definitions that its operands name, by name: their columns are in no registry. */
  readonly vault_attributes: readonly VaultAttribute[];
  readonly attribute_composition: AttributeComposition | null;
  readonly operand_refs: OperandReference[];
  /** Ascending, distinct: the rules by which query attributes are derived (QA-3). */
  readonly derivation_rule_refs: string[];
  readonly operator: AttributeComposition["operator"];
  /** The registry epsilon of each operand, for whoever prices the composition (DR-5). */
  readonly operandEpsilonsMicro: readonly number[];
  readonly combined_privacy_class: number;
  readonly minimum_result_cardinality: number;
  /** Digest of everything above; equal requests and registries give equal digests. */
  readonly resolutionDigest: Uint8Array;
  /** What enclaves compute for each operand. */
  readonly projections: readonly Projection[];
}

/** What a resolution follows from, besides the request. */
export type ResolutionState = Pick<GovernanceState, "semantics" | "policy">;

/**
 * Resolves a request: record scope, then domain, then attributes, then composition. A pure function of the registry, the
 * policy and the request; the order of a registry's entries does not matter. Nothing is priced.
 *
 * Only active domains and attributes resolve, and deprecated ones where policy permits it. An attribute of another
 * domain than the scope's needs a derivation rule (CA-3), so it is refused with that domain's cross-domain rule named.
 * Ambiguity is refused, never guessed. What a Vault lets be asked of its own columns means something in a task of that
 * Vault alone; elsewhere it is as unknown as any other name (LA-3).
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED, with `candidates`, for a scope, domain or attribute that is
 * unknown, ambiguous, not active or not to be queried; COMPOSITION_INVALID across domains.
 * @throws {@link MalformedError} COMPOSITION_INVALID for operands that no composition has,
 * DERIVATION_VALUE_OUT_OF_RANGE for a literal of another type, outside the range, or finer than the granularity;
 * DERIVATION_REGISTRY_INVALID for a definition of a Vault's column that no registry could have.
 */
export function resolveRequest(request: TaskRequest, state: ResolutionState): SemanticResolution {
  const context = contextOf(request, state);
  const { scope } = context;
  const { operator, operands, projections } = operandsOf(request.parameters, context);
  const parsed = request.parameters.task_class === "parse" ? parsedAttributes(context) : [];
  const minimum_result_cardinality = state.policy.privacy.minimum_result_cardinality;
  const combined_privacy_class = Math.max(
    ...parsed.map((each) => each.default_privacy_class),
    ...projections.map((each) => each.privacyClass),
  );
  const read = [...parsed, ...projections.flatMap(({ sources }) => sources)];
  const resolved = {
    semantic_version: state.semantics.semantic_version,
    record_scope: scope,
    attribute_ids: sortedSet(read.map((each) => each.attribute_id)),
    vault_attributes: usedOf(context, projections),
    attribute_composition: compose({
      operator,
      operands,
      combined_privacy_class,
      minimum_result_cardinality,
    }),
    operand_refs: projections.map((projection) => referenceOf(context, projection)),
    derivation_rule_refs: sortedSet(
      projections.flatMap(({ rule }) => (rule === null ? [] : [rule.rule_id])),
    ),
    operator,
    operandEpsilonsMicro: projections.map((each) => each.epsilonMicro),
    combined_privacy_class,
    minimum_result_cardinality,
  };
  return { ...resolved, resolutionDigest: digestOfResolution(resolved), projections };
}

/** Compositions and definitions stand by their digests, and references by their values: half of the bytes. */
function digestOfResolution(
  resolved: Omit<SemanticResolution, "resolutionDigest" | "projections">,
): Uint8Array {
  const { attribute_composition: composition, operand_refs: references, ...others } = resolved;
  const { vault_attributes: own, ...rest } = others;
  return digestOf("semantic-resolution", {
    ...rest,
    vault_attributes: own.map((each) => VAULT_ATTRIBUTE.digest(each)),
    attribute_composition: composition?.composition_id ?? null,
    operand_refs: references.map(({ kind, domain_id, id, semantic_version, rule_id }) => [
      ...[kind, domain_id, id, semantic_version, rule_id],
    ]),
  });
}

function sortedSet(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}

function usedOf(
  { vaultAttributes }: ResolutionContext,
  projections: readonly Projection[],
): VaultAttribute[] {
  const names = new Set(projections.map(({ name }) => name));
  return vaultAttributes
    .filter(({ local_id: id }) => names.has(id))
    .toSorted((a, b) => (a.local_id < b.local_id ? -1 : 1));
}

function referenceOf(
  { vaultAttributes }: ResolutionContext,
  { name, domainId, semanticVersion, rule }: Projection,
): OperandReference {
  const isOwn = vaultAttributes.some(({ local_id: id }) => id === name);
  const derived = isOwn ? "vault_scoped_query" : "query";
  return {
    kind: rule === null ? "canonical" : derived,
    domain_id: domainId,
    id: name,
    semantic_version: semanticVersion,
    rule_id: rule?.rule_id ?? null,
  };
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
  const id = hex(digestOf("attribute-composition", composition)).slice(0, 60);
  return { composition_id: `c-${id}`, ...composition };
}

/** The scope, which must be one, in a domain that may take part. */
function contextOf(
  request: TaskRequest,
  { semantics, policy }: ResolutionState,
): ResolutionContext {
  const candidates = registryIndex(semantics).recordScopes.get(request.record_scope) ?? [];
  const [scope] = candidates;
  if (scope === undefined || candidates.length > 1) {
    throw unresolved(
      "record_scope",
      "one registered record scope",
      candidates.map((candidate) => candidate.record_scope_id),
    );
  }
  resolveDomain({ semantics, policy }, scope.domain_id);
  const { actor_id: actorId, usage_scope: usageScope } = request;
  const vaultAttributes = ownAttributes(request, scope);
  const operator = operatorOf(request.parameters);
  return { semantics, policy, scope, actorId, usageScope, operator, vaultAttributes };
}

function operatorOf(parameters: TaskParameters): AttributeComposition["operator"] {
  return parameters.task_class === "query" ? parameters.predicate.operator : "FILTER";
}

/** The definitions that mean something here: of this record scope, by the one Vault that is asked. */
function ownAttributes(
  { vault_attributes: given, vault_ids: vaultIds }: TaskRequest,
  { record_scope_id: scopeId, domain_id: domainId }: RecordScope,
): VaultAttribute[] {
  const [sole, ...others] = vaultIds;
  const own = given.filter(
    (each) =>
      others.length === 0 &&
      each.vault_id === sole &&
      each.record_scope === scopeId &&
      each.domain_id === domainId,
  );
  own.forEach(requireVaultAttribute);
  return own;
}

/** `parse` reads whole records: every attribute of the scope must mean something, and none is compared. */
function parsedAttributes(context: ResolutionContext): CanonicalAttribute[] {
  return context.scope.attribute_ids.map((id) => resolveAttribute(context, id));
}

interface Operands {
  readonly operator: AttributeComposition["operator"];
  readonly operands: readonly Operand[];
  readonly projections: readonly Projection[];
}

/** The operands a task uses. Features filter records to those whose values lie in the registered range. */
function operandsOf(parameters: TaskParameters, context: ResolutionContext): Operands {
  switch (parameters.task_class) {
    case "parse":
      return { operator: "FILTER", operands: [], projections: [] };
    case "query": {
      const { operator, operands } = parameters.predicate;
      requireOperands(operator, operands.length);
      const projections = operands.map((operand) => projectionOf(operand, context));
      return { operator, operands, projections };
    }
    case "compute":
    case "train": {
      const ids = parameters.features.map((feature) => feature.attribute);
      const label = parameters.task_class === "train" ? [labelOperand(parameters.label)] : [];
      requireDistinct([...ids, ...label.map((operand) => operand.attribute)]);
      requireOperands("FILTER", ids.length + label.length);
      const features = ids.map((id) => resolveProjection(context, id));
      const operands = [...features.map(wholeRange), ...label];
      const projections = [...features, ...label.map((operand) => projectionOf(operand, context))];
      return { operator: "FILTER", operands, projections };
    }
  }
}

function projectionOf(operand: Operand, context: ResolutionContext): Projection {
  const projection = resolveProjection(context, operand.attribute);
  requireLiterals(operand, projection);
  return projection;
}

function requireOperands(operator: AttributeComposition["operator"], count: number): void {
  if (operator === "NOT" && count !== 1) {
    throw invalid("predicate", "one operand for NOT", `${count}`);
  }
  if (operator === "JOIN" && count < 2) {
    throw invalid("predicate", "two operands or more for JOIN", `${count}`);
  }
  if (count > OPERANDS_MAX) {
    throw invalid("composition", `at most ${OPERANDS_MAX} operands`, `${count}`);
  }
}

function requireDistinct(ids: readonly string[]): void {
  if (new Set(ids).size === ids.length) return;
  throw invalid(
    "features",
    "each attribute once, and the label among none of them",
    "a repetition",
  );
}

function wholeRange({ name, output }: Projection): Operand {
  const { range } = output;
  if (range === null || !isNumeric(output)) {
    throw outOfRange(name, "a number with a registered range", output.type);
  }
  return { attribute: name, op: "range", min: range.min, max: range.max + 1 };
}

function labelOperand(label: { readonly attribute: string; readonly positive: number }): Operand {
  return { attribute: label.attribute, op: "eq", value: label.positive };
}

function requireLiterals(operand: Operand, projection: Projection): void {
  const { name, output } = projection;
  switch (operand.op) {
    case "eq":
      return requireLiteral(operand.value, projection);
    case "in":
      return operand.values.forEach((value) => requireLiteral(value, projection));
    case "range": {
      const { min, max } = operand;
      if (!isNumeric(output)) throw outOfRange(name, "eq or in", "range");
      if (min >= max) throw outOfRange(name, "min below max", "an empty range");
      requireLiteral(min, projection);
      return requireEnd(max, projection);
    }
  }
}

/** A literal that the projection can give: one between its values would change what the request says (QA-4). */
function requireLiteral(value: number | string, projection: Projection): void {
  const { name, output, granularity } = projection;
  const { type, range } = output;
  const expectedType = isNumeric(output) ? "number" : "string";
  if (type === "bytes" || typeof value !== expectedType) {
    throw outOfRange(name, `a literal comparable to ${type}`, typeof value);
  }
  if (typeof value === "number" && range !== null && (value < range.min || value > range.max)) {
    throw outOfRange(name, `a literal in [${range.min}, ${range.max}]`, "one outside");
  }
  if (!isAtGranularity(value, granularity)) {
    throw outOfRange(name, "a literal at the registered granularity", "a finer one");
  }
}

/** The end of a range is not in it: the next value after the last that the projection gives will do. */
function requireEnd(max: number, projection: Projection): void {
  const { granularity, output } = projection;
  const { range } = output;
  if (range !== null && max > range.max && coarsen(max - 1, granularity) === range.max) return;
  requireLiteral(max, projection);
}

function isNumeric({ type }: Pick<CanonicalAttribute, "type">): boolean {
  return type === "integer" || type === "decimal";
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
