/**
 * The values a request carries for a condition key, `null` when it carries the key not at all, and `unknown`
 * when whoever asks does not know.
 */
export type ContextValues = readonly string[] | null | "unknown";

/** One line of a statement's Condition: an operator, a key and the values it is compared with. */
export interface Condition {
  readonly operator: string;
  /** As written; keys are compared without regard to case. */
  readonly key: string;
  readonly values: readonly string[];
}

/** Whether a condition holds; `unknown` when the operator is not judged here or the key's values are not known. */
export type Holds = boolean | "unknown";

type Compare = (actual: string, wanted: string) => boolean;

/** The operators that are judged: what key policies use on text, ARNs and booleans. */
const COMPARISONS: ReadonlyMap<string, { readonly negated: boolean; readonly compare: Compare }> =
  new Map([
    ["stringequals", { negated: false, compare: equals }],
    ["stringnotequals", { negated: true, compare: equals }],
    ["stringequalsignorecase", { negated: false, compare: equalsIgnoringCase }],
    ["stringnotequalsignorecase", { negated: true, compare: equalsIgnoringCase }],
    ["stringlike", { negated: false, compare: isLike }],
    ["stringnotlike", { negated: true, compare: isLike }],
    ["arnequals", { negated: false, compare: isArnLike }],
    ["arnlike", { negated: false, compare: isArnLike }],
    ["arnnotequals", { negated: true, compare: isArnLike }],
    ["arnnotlike", { negated: true, compare: isArnLike }],
    ["bool", { negated: false, compare: equalsIgnoringCase }],
  ]);

/** Operators that IAM has and that are not judged here. */
const NOT_JUDGED = [
  ...[
    "Equals",
    "NotEquals",
    "LessThan",
    "LessThanEquals",
    "GreaterThan",
    "GreaterThanEquals",
  ].flatMap((name) => [`numeric${name.toLowerCase()}`, `date${name.toLowerCase()}`]),
  ...["binaryequals", "ipaddress", "notipaddress"],
];

/** An operator in its parts. */
export interface Operator {
  /** In lower case, without quantifier and suffix, such as `stringequals`. */
  readonly base: string;
  readonly quantifier: "all" | "any" | null;
  readonly ifExists: boolean;
  /** Whether it is true for a value that is not among those given. */
  readonly negated: boolean;
  /** Whether IAM has it. */
  readonly known: boolean;
}

/** Takes an operator's name apart: `ForAnyValue:StringEqualsIfExists`. Names do not regard case. */
export function parseOperator(name: string): Operator {
  const parts = /^(?:for(all|any)values?:)?(.*?)(ifexists)?$/.exec(name.toLowerCase());
  const base = parts?.[2] ?? "";
  const quantifier = parts?.[1] === "all" ? "all" : parts?.[1] === "any" ? "any" : null;
  const ifExists = parts?.[3] !== undefined;
  const isNull = base === "null" && quantifier === null && !ifExists;
  const comparison = COMPARISONS.get(base);
  const known = isNull || comparison !== undefined || NOT_JUDGED.includes(base);
  return { base, quantifier, ifExists, negated: comparison?.negated ?? false, known };
}

/**
 * Whether `condition` holds for a request with these values of its key.
 *
 * A key that is absent makes a positive operator false and a negated one true; `IfExists` and `ForAllValues`
 * make it true; `Null` asks for it. Policy variables are not expanded: a value with one gives `unknown`.
 *
 * @see IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys"
 */
export function conditionHolds(condition: Condition, actual: ContextValues): Holds {
  const { base, quantifier, ifExists, negated, known } = parseOperator(condition.operator);
  if (!known || actual === "unknown") return "unknown";
  if (condition.values.some((value) => value.includes("${"))) return "unknown";
  if (base === "null") {
    const wanted = condition.values.map((value) => value.toLowerCase());
    return wanted.includes(actual === null ? "true" : "false");
  }
  const compare = COMPARISONS.get(base)?.compare;
  if (compare === undefined) return "unknown";
  if (actual === null) return ifExists || quantifier === "all" || (quantifier === null && negated);
  const matches = (value: string): boolean =>
    condition.values.some((wanted) => compare(value, wanted));
  if (quantifier === "all") return actual.every((value) => matches(value) !== negated);
  if (quantifier === "any") return actual.some((value) => matches(value) !== negated);
  return actual.some(matches) !== negated;
}

/** Whether `text` matches `pattern`, where `*` is any text and `?` any one character. */
export function isLike(text: string, pattern: string): boolean {
  let [at, in0, star, mark] = [0, 0, -1, 0];
  while (at < text.length) {
    if (pattern[in0] === "*") {
      star = in0++;
      mark = at;
    } else if (in0 < pattern.length && (pattern[in0] === "?" || pattern[in0] === text[at])) {
      at += 1;
      in0 += 1;
    } else if (star >= 0) {
      in0 = star + 1;
      at = ++mark;
    } else {
      return false;
    }
  }
  while (pattern[in0] === "*") in0 += 1;
  return in0 === pattern.length;
}

/** A wildcard stays in its part of the ARN (IAM user guide, "Amazon Resource Name (ARN) condition operators"). */
function isArnLike(arn: string, pattern: string): boolean {
  const [parts, wanted] = [partsOf(arn), partsOf(pattern)];
  return (
    parts.length === wanted.length &&
    parts.every((part, index) => isLike(part, wanted[index] ?? ""))
  );
}

/** The six parts of an ARN; the last may have colons of its own. */
function partsOf(arn: string): readonly string[] {
  const parts = arn.split(":");
  return parts.length <= 6 ? parts : [...parts.slice(0, 5), parts.slice(5).join(":")];
}

function equals(actual: string, wanted: string): boolean {
  return actual === wanted;
}

function equalsIgnoringCase(actual: string, wanted: string): boolean {
  return actual.toLowerCase() === wanted.toLowerCase();
}
