import { MalformedError } from "#protocol";

/**
 * Takes what both databases keep as it is: null, integers in the safe range, text without U+0000, bytes; and booleans
 * as 0 and 1.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED
 */
export function parameterOf(value: unknown): null | number | string | Uint8Array {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value === null || value instanceof Uint8Array) return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  if (typeof value === "string" && !value.includes("\0")) return value;
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", type: typeof value },
    `store parameter: expected null, an integer, text without U+0000 or bytes, got another ${typeof value}`,
  );
}
