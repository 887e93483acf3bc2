import { SymphonyError, UnavailableError } from "#protocol";
import { z } from "zod";

const sqliteError = z.object({ code: z.literal("ERR_SQLITE_ERROR"), errcode: z.int() });
const systemError = z.object({ code: z.string(), syscall: z.string() });

/** Primary result codes of SQLite, low byte of `errcode`. sqlite.org/rescode.html */
const BUSY = 5;
const FULL = 13;
const CONSTRAINT = 19;
const REASONS: ReadonlyMap<number, string> = new Map([
  [3, "permission denied"],
  [BUSY, "the file is in use"],
  [8, "the file is read-only"],
  [10, "the disk reported an error"],
  [11, "the file is damaged"],
  [FULL, "the disk is full"],
  [14, "the file cannot be opened"],
  [26, "the file is not a store"],
]);

/** Whether SQLite says that another connection holds a lock. */
export function isBusy(cause: unknown): boolean {
  return primaryCode(cause) === BUSY;
}

/**
 * Whether a COMMIT that failed with `cause` may be on disk all the same: the disk has refused to say. A full disk has
 * said no.
 */
export function isUncertain(cause: unknown): boolean {
  const original = cause instanceof SymphonyError ? cause.cause : cause;
  const code = primaryCode(original);
  return code === undefined || ![BUSY, FULL, CONSTRAINT].includes(code);
}

/**
 * What callers of a store shall see of `cause`: faults of file and disk become INTERNAL_STORE_UNAVAILABLE and say
 * which; everything else, a broken constraint for one, stays what it is.
 */
export function translateStoreError(file: string, cause: unknown): unknown {
  if (cause instanceof SymphonyError) return cause;
  const code = primaryCode(cause);
  return code !== undefined && REASONS.has(code) ? storeUnavailable(file, cause) : cause;
}

/** The error of a store whose file cannot be used; names the reason, and `cause` keeps the rest. */
export function storeUnavailable(file: string, cause: unknown): UnavailableError {
  const system = systemError.safeParse(cause);
  const reason =
    REASONS.get(primaryCode(cause) ?? 0) ?? (system.success ? system.data.code : "unknown");
  return new UnavailableError(
    { code: "INTERNAL_STORE_UNAVAILABLE", file, reason },
    `store ${file}: expected a file to read and write, got: ${reason}`,
    { cause },
  );
}

function primaryCode(cause: unknown): number | undefined {
  const parsed = sqliteError.safeParse(cause);
  return parsed.success ? parsed.data.errcode % 256 : undefined;
}
