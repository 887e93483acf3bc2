import { z } from "zod";

/** How deep compositions nest, operands included. */
export const PREDICATE_DEPTH_MAX = 8;
/** How many attribute tests one predicate holds in all. */
export const PREDICATE_OPERANDS_MAX = 64;
const VALUES_MAX = 1024;

const attribute = z.string().min(1).max(256);
const literal = z.union([z.int(), z.string().max(1024)]);

const operandSchema = z.discriminatedUnion("op", [
  z.strictObject({ attribute, op: z.literal("eq"), value: literal }),
  z.strictObject({
    attribute,
    op: z.literal("in"),
    values: z.array(literal).min(1).max(VALUES_MAX),
  }),
  z.strictObject({ attribute, op: z.literal("range"), min: z.int(), max: z.int() }),
]);

/** A test of one attribute. A range is [min, max). */
export type QueryOperand = z.infer<typeof operandSchema>;

/** A composition of predicates. FILTER narrows its first operand by the others, which is AND here. */
export interface QueryComposition {
  readonly operator: "AND" | "OR" | "NOT" | "FILTER";
  readonly operands: readonly QueryPredicate[];
}

/** An operand or a composition of them. */
export type QueryPredicate = QueryOperand | QueryComposition;

/** One schema per level, so that hostile nesting ends at the last of them instead of in the stack. */
function levelSchema(depth: number): z.ZodType<QueryPredicate> {
  if (depth === 1) return operandSchema;
  const operands = z.array(levelSchema(depth - 1));
  const several = operands.min(1).max(PREDICATE_OPERANDS_MAX);
  return z.union([
    operandSchema,
    z.strictObject({ operator: z.enum(["AND", "OR", "FILTER"]), operands: several }),
    z.strictObject({ operator: z.literal("NOT"), operands: operands.length(1) }),
  ]);
}

/** How many attribute tests `predicate` holds. */
export function operandCount(predicate: QueryPredicate): number {
  if ("op" in predicate) return 1;
  return predicate.operands.reduce((sum, operand) => sum + operandCount(operand), 0);
}

/**
 * The predicate of a `query` task: at most 8 levels and 64 attribute tests.
 *
 * Attributes are the resolved references of the task's composition, never ad-hoc column names; whoever
 * resolves them says which column each one reads.
 */
export const queryPredicateSchema: z.ZodType<QueryPredicate> = levelSchema(
  PREDICATE_DEPTH_MAX,
).refine(
  (predicate) => operandCount(predicate) <= PREDICATE_OPERANDS_MAX,
  `predicate: expected at most ${PREDICATE_OPERANDS_MAX} operands, got more`,
);
