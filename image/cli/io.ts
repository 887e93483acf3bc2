import { SymphonyError } from "#protocol";

/** Where a command writes, and what it may ask of its surroundings. */
export interface ImageIo {
  /** The checkout. */
  readonly repositoryRoot: string;
  /** The user's home folder. */
  readonly home: string;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
}

/** Exit codes, the same as of every other command of `symphony`. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unavailable: 3, bug: 70 } as const;

/** Words that do not make a command. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Prints what went wrong, as one JSON object with `--json`. @returns the exit code */
export function reportError(error: unknown, io: ImageIo, isJson: boolean): number {
  const { code, message, exit } = describe(error);
  io.stderr(
    isJson ? `${JSON.stringify({ error: code, message })}\n` : `symphony: ${code}: ${message}\n`,
  );
  return exit;
}

function describe(error: unknown): { code: string; message: string; exit: number } {
  if (error instanceof SymphonyError) {
    const exit = error.class === "unavailable" ? EXIT.unavailable : EXIT.refused;
    return { code: error.code, message: error.message, exit };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (hasCode(error, (code) => code === "ENOSPC")) {
    return { code: "unavailable", message, exit: EXIT.unavailable };
  }
  if (isUsage(error)) return { code: "usage", message, exit: EXIT.usage };
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  return { code: "INTERNAL_UNEXPECTED", message: stack, exit: EXIT.bug };
}

const UNREADABLE = ["ENOENT", "EACCES", "EISDIR", "ENOTDIR"];

/** Our own error, one of `parseArgs`, or a path that cannot be read or written. */
function isUsage(error: unknown): boolean {
  return (
    error instanceof UsageError ||
    hasCode(error, (code) => code.startsWith("ERR_PARSE_ARGS") || UNREADABLE.includes(code))
  );
}

function hasCode(error: unknown, isIt: (code: string) => boolean): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return typeof error.code === "string" && isIt(error.code);
}

/** The files that a command takes. @throws UsageError for more, or fewer */
export function expectFiles<const Names extends readonly string[]>(
  positionals: readonly string[],
  names: Names,
): { readonly [Index in keyof Names]: string } {
  if (!hasAll(positionals, names)) {
    throw new UsageError(`expected ${names.join(" and ")}, got ${positionals.length} words`);
  }
  return positionals;
}

function hasAll<const Names extends readonly string[]>(
  words: readonly string[],
  names: Names,
): words is { readonly [Index in keyof Names]: string } {
  return words.length === names.length;
}
