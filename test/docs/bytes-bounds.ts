import { z } from "zod";

/** The sizes that a byte-string schema takes, read off its own refusals; undefined for a schema of something else. */
export function bytesBounds(
  schema: z.core.$ZodType,
): { readonly min: number; readonly max: number | null } | undefined {
  const huge: unknown = Object.defineProperty(Object.create(Uint8Array.prototype), "length", {
    value: Number.MAX_SAFE_INTEGER,
  });
  const refusal = z.core.safeParse(schema, huge);
  if (refusal.success) return { min: 0, max: null };
  const message = refusal.error.issues[0]?.message ?? "";
  const atMost = /^expected at most (\d+) bytes$/.exec(message)?.[1];
  if (atMost !== undefined) return { min: 0, max: Number(atMost) };
  const exactly = /^expected (\d+) bytes$/.exec(message)?.[1];
  return exactly === undefined ? undefined : { min: Number(exactly), max: Number(exactly) };
}
