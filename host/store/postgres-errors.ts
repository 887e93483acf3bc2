import { SymphonyError, UnavailableError } from "#protocol";
import { z } from "zod";

const serverError = z.object({ code: z.string().length(5), severity: z.string() });

/** Why the database cannot serve, by SQLSTATE or its class. postgresql.org/docs/current/errcodes-appendix.html */
const REASONS: ReadonlyMap<string, string> = new Map([
  ["08", "the connection is lost"],
  ["25", "the transaction was rolled back or may not write"],
  ["28", "the login is refused"],
  ["3D000", "there is no such database"],
  ["40", "the transaction was rolled back"],
  ["42501", "permission denied"],
  ["53", "the server is out of memory, connections or disk"],
  ["53100", "the disk is full"],
  ["55P03", "a lock is held by somebody else"],
  ["57", "the server stopped or cancelled the statement"],
  ["58", "the server's disk reported an error"],
  ["XX", "the database is damaged"],
]);

/** Classes after which the session may be gone. */
const LOST: readonly string[] = ["08", "57P", "58", "XX"];
/** Classes with which the server refuses a COMMIT for certain. */
const REFUSED: readonly string[] = ["23", "40", "53"];

/**
 * What callers of a store shall see of `cause`: faults of server and connection become INTERNAL_STORE_UNAVAILABLE and
 * say which; everything else, a broken constraint for one, stays what it is.
 */
export function translatePostgresError(name: string, cause: unknown): unknown {
  if (cause instanceof SymphonyError) return cause;
  const code = sqlState(cause);
  const reason =
    code === undefined
      ? "the connection is lost"
      : (REASONS.get(code) ?? REASONS.get(code.slice(0, 2)));
  if (reason === undefined) return cause;
  return postgresUnavailable(name, reason, cause);
}

/** The error of a database that cannot be used. `cause` may name hosts; it is not part of the message. */
export function postgresUnavailable(
  name: string,
  reason: string,
  cause?: unknown,
): UnavailableError {
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", store: name, reason },
    `store ${name}: expected a database to read and write, got: ${reason}`,
    { cause },
  );
}

/** Whether the session, and with it the lock, may be gone; or, after COMMIT, whether it may have worked all the same. */
export function isPostgresFatal(cause: unknown, ending: boolean): boolean {
  const original = cause instanceof UnavailableError ? cause.cause : cause;
  const code = sqlState(original);
  if (ending) return code === undefined || !startsWithOneOf(code, REFUSED);
  if (code === undefined) return cause instanceof UnavailableError && original instanceof Error;
  return startsWithOneOf(code, LOST);
}

function startsWithOneOf(code: string, classes: readonly string[]): boolean {
  return classes.some((one) => code.startsWith(one));
}

/** Undefined for what the server did not say, such as a connection that broke. */
function sqlState(cause: unknown): string | undefined {
  const parsed = serverError.safeParse(cause);
  return parsed.success ? parsed.data.code : undefined;
}
