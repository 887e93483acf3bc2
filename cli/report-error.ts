import { SymphonyError } from "#protocol";

import { EXIT, UsageError, type CliIo } from "./io.ts";

/** A refusal by a server, by its public facts. */
interface Problem {
  readonly code: string;
  readonly status: number;
  readonly message: string;
}

/** What is told of an error, and the exit code it gives. */
interface Told {
  readonly code: string;
  readonly message: string;
  readonly exit: number;
}

/** The disk or what is allotted of it is full: the same command may work later. */
const FULL = ["ENOSPC", "EDQUOT"];

/** A path that was named on the command line and cannot be used as it is. */
const UNUSABLE = ["ENOENT", "EACCES", "EPERM", "EISDIR", "ENOTDIR", "EROFS", "ELOOP"];

/**
 * Prints what went wrong and returns the exit code: 1 refused, 2 usage, 3 unavailable, 70 a bug.
 *
 * With `isJson` the error is one JSON object on standard error. Only a bug shows where it was.
 */
export function reportError(error: unknown, io: Pick<CliIo, "stderr">, isJson: boolean): number {
  const { code, message, exit } = describe(error);
  io.stderr(
    isJson ? `${JSON.stringify({ error: code, message })}\n` : `symphony: ${code}: ${message}\n`,
  );
  return exit;
}

function describe(error: unknown): Told {
  if (error instanceof SymphonyError) {
    const exit = error.class === "unavailable" ? EXIT.unavailable : EXIT.refused;
    return { code: error.code, message: error.message, exit };
  }
  if (isProblem(error)) {
    const exit = error.status >= 500 ? EXIT.unavailable : EXIT.refused;
    return { code: error.code, message: error.message, exit };
  }
  if (error instanceof UsageError) return usage(error.message);
  return (
    describeSystem(error) ?? {
      code: "INTERNAL_UNEXPECTED",
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      exit: EXIT.bug,
    }
  );
}

/** An error that Node gives a code, where that code tells whose fault it was. */
function describeSystem(error: unknown): Told | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const { code, message } = error;
  if (typeof code !== "string") return undefined;
  // `parseArgs` met an option it does not know, or one without its value.
  if (code.startsWith("ERR_PARSE_ARGS")) return usage(message);
  if (FULL.includes(code)) return { code: "unavailable", message, exit: EXIT.unavailable };
  if (code !== "EEXIST" && !UNUSABLE.includes(code)) return undefined;
  // A folder that is read as a file is told of without its path.
  const path = "path" in error ? String(error.path) : "file";
  const expected = code === "EEXIST" ? "no file there yet" : `a path that can be used, got ${code}`;
  return usage(`${path}: expected ${expected}`);
}

function usage(message: string): Told {
  return { code: "usage", message, exit: EXIT.usage };
}

function isProblem(error: unknown): error is Error & Problem {
  return error instanceof Error && error.name === "RemoteProblem" && "code" in error;
}
