export { compilePredicate, type CompiledPredicate, type QueryColumns } from "./scan.ts";
