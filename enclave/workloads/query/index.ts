export {
  compilePredicate,
  countSubjects,
  type CompiledPredicate,
  type QueryColumns,
} from "./scan.ts";
