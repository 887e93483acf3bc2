export {
  PREDICATE_DEPTH_MAX,
  PREDICATE_OPERANDS_MAX,
  operandCount,
  queryPredicateSchema,
  type QueryComposition,
  type QueryOperand,
  type QueryPredicate,
} from "./predicate.ts";
export {
  compilePredicate,
  countSubjects,
  type CompiledPredicate,
  type QueryColumns,
} from "./scan.ts";
