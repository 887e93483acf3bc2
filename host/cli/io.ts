import { SymphonyError } from "#protocol";

/** Where a command writes. */
export interface CliIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** The person at the other end; absent where nobody watches. */
  readonly watcher?: CliWatcher;
}

/** What a command that takes long may ask of its surroundings. */
export interface CliWatcher {
  /** Whether standard error is a terminal, where a line may be written over. */
  readonly isTerminal: boolean;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
  /** Calls `stop`, once, instead of ending the process when it is interrupted; until the function returned is called. */
  readonly onInterrupt: (stop: () => void) => () => void;
}

/** Exit codes of every command. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unavailable: 3, bug: 70 } as const;

/** Words that do not make a command. Exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** A refusal by a server, by its public facts. */
interface Problem {
  readonly code: string;
  readonly status: number;
  readonly message: string;
}

function isProblem(error: unknown): error is Error & Problem {
  return error instanceof Error && error.name === "RemoteProblem" && "code" in error;
}

/**
 * Prints what went wrong and returns the exit code: 1 refused, 2 usage, 3 unavailable, 70 a bug.
 *
 * With `--json` the error is one JSON object on standard error.
 */
export function reportError(error: unknown, io: CliIo, json: boolean): number {
  const { code, message, exit } = describe(error);
  io.stderr(
    json ? `${JSON.stringify({ error: code, message })}\n` : `symphony: ${code}: ${message}\n`,
  );
  return exit;
}

function describe(error: unknown): { code: string; message: string; exit: number } {
  if (error instanceof UsageError)
    return { code: "usage", message: error.message, exit: EXIT.usage };
  if (error instanceof SymphonyError) {
    const exit = error.class === "unavailable" ? EXIT.unavailable : EXIT.refused;
    return { code: error.code, message: error.message, exit };
  }
  if (isProblem(error)) {
    const exit = error.status >= 500 ? EXIT.unavailable : EXIT.refused;
    return { code: error.code, message: error.message, exit };
  }
  if (isUnreadableOption(error)) {
    return { code: "usage", message: error.message, exit: EXIT.usage };
  }
  if (isMissingFile(error)) {
    return { code: "usage", message: `${error.path}: expected a readable file`, exit: EXIT.usage };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "INTERNAL_UNEXPECTED", message, exit: EXIT.bug };
}

/** `parseArgs` met an option it does not know, or one without its value. */
function isUnreadableOption(error: unknown): error is Error {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    error.code.startsWith("ERR_PARSE_ARGS")
  );
}

function isMissingFile(error: unknown): error is Error & { readonly path: string } {
  return (
    error instanceof Error &&
    "code" in error &&
    (error.code === "ENOENT" || error.code === "EACCES" || error.code === "EISDIR") &&
    "path" in error
  );
}
