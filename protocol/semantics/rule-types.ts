import type { DerivationRule } from "./derivation-rule.ts";
import { MalformedError } from "../errors.ts";
import type { CanonicalAttribute } from "./semantics.ts";

/**
 * Refuses a rule whose output cannot come of its transform and sources, or whose parameters are of another type than
 * they (DR-1, DR-2).
 *
 * @throws {@link MalformedError} DERIVATION_REGISTRY_INVALID
 */
export function requireRuleTypes(
  rule: DerivationRule,
  sources: readonly CanonicalAttribute[],
): void {
  requireOutput(rule);
  const [first] = sources;
  const single = rule.transform_type !== "composite";
  if (first === undefined || (single && sources.length !== 1)) {
    throw misfit(rule, `one source for ${rule.transform_type}`);
  }
  switch (rule.transform_type) {
    case "passthrough":
      return requireSame(rule, first);
    case "bucket":
      return requireBuckets(rule, first);
    case "hash":
      return requireThat(rule, rule.output_type === "text" && first.type !== "bytes", "text");
    case "boolean":
      return requireBinary(rule);
    case "threshold":
      requireThat(rule, isNumber(first), "a number as source");
      return requireBinary(rule);
    case "aggregate":
      if (rule.transform_params.function === "count") {
        return requireThat(rule, rule.output_type === "integer", "an integer as count");
      }
      requireThat(rule, isNumber(first), "a number as source");
      return requireSame(rule, first);
    case "composite":
      return requireComposite(rule, sources);
  }
}

function requireOutput(rule: DerivationRule): void {
  const { output_type: type, output_scale: scale, output_range: range } = rule;
  const numeric = type !== "text";
  requireThat(rule, numeric === (range !== null), "an output range exactly for numbers");
  requireThat(
    rule,
    range === null || range.min <= range.max,
    "an output range from least to greatest",
  );
  requireThat(rule, type === "decimal" || scale === 0, "output scale 0 but for decimals");
}

function requireSame(rule: DerivationRule, source: CanonicalAttribute): void {
  const same = rule.output_type === source.type && rule.output_scale === source.scale;
  requireThat(rule, same, `output ${source.type} of scale ${source.scale}`);
}

function requireBuckets(
  rule: Extract<DerivationRule, { transform_type: "bucket" }>,
  source: CanonicalAttribute,
): void {
  const { transform_params: params } = rule;
  requireThat(rule, rule.output_type === "text", "text");
  if (params.kind === "boundaries") {
    return requireThat(rule, isNumber(source), "a number as source");
  }
  const type = isNumber(source) ? "number" : "string";
  const typed = params.groups.every(({ values }) => values.every((value) => typeof value === type));
  requireThat(rule, source.type !== "bytes" && typed, `groups of ${source.type}`);
}

function requireBinary(rule: DerivationRule): void {
  const { output_type: type, output_range: range } = rule;
  requireThat(
    rule,
    type === "integer" && range?.min === 0 && range.max === 1,
    "an integer in [0, 1]",
  );
}

function requireComposite(
  rule: Extract<DerivationRule, { transform_type: "composite" }>,
  sources: readonly CanonicalAttribute[],
): void {
  const { function: name, multiplier } = rule.transform_params;
  requireThat(
    rule,
    sources.length >= 2 && sources.every(isNumber),
    "two or more numbers as sources",
  );
  requireThat(rule, name === "ratio" || multiplier === 1, "multiplier 1 but for ratio");
  const [first, second, ...others] = sources.map(({ scale }) => scale);
  const alike = [second, ...others].every((scale) => scale === first);
  switch (name) {
    case "all":
    case "any":
      return requireBinary(rule);
    case "product": {
      const scale = sources.reduce((sum, source) => sum + source.scale, 0);
      return requireThat(rule, rule.output_scale === scale && isNumeric(rule), `scale ${scale}`);
    }
    case "ratio":
      return requireThat(
        rule,
        sources.length === 2 && alike && isNumeric(rule),
        "two sources of one scale and a number as output",
      );
    case "difference":
      requireThat(rule, sources.length === 2, "two sources");
      break;
    case "sum":
    case "minimum":
    case "maximum":
      break;
  }
  requireThat(
    rule,
    alike && rule.output_scale === first && isNumeric(rule),
    "one scale throughout",
  );
}

function isNumber({ type }: Pick<CanonicalAttribute, "type">): boolean {
  return type === "integer" || type === "decimal";
}

function isNumeric({ output_type: type }: DerivationRule): boolean {
  return type !== "text";
}

function requireThat(rule: DerivationRule, holds: boolean, expected: string): void {
  if (!holds) throw misfit(rule, expected);
}

function misfit({ rule_id }: DerivationRule, expected: string): MalformedError {
  const subject = `derivation rule ${rule_id}`;
  return new MalformedError(
    { code: "DERIVATION_REGISTRY_INVALID", subject },
    `${subject}: expected ${expected}, got another`,
  );
}
