export { EXIT, UsageError, type CliIo, type CliWatcher } from "./io.ts";
export { reportError } from "./report-error.ts";
export { ACCEPTED_MS, referenceValueOf } from "./reference-value.ts";
