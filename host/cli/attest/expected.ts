import { fromHex } from "#protocol";
import { z } from "zod";

const LISTED_MAX = 64;
const BYTES_MAX = 1024;
const TEXT_MAX = 256;

/** Why something is not judged: a sentence for whoever reviews the policy. */
const reason = z.string().min(1, { error: "expected a reason" }).max(TEXT_MAX);
const unchecked = z.strictObject({ unchecked: reason });

/** Bytes in a policy file: lower-case hex, at least one byte. */
export const hexBytes = hexText(`lower-case hex of 1 to ${BYTES_MAX} bytes`, {
  min: 1,
  max: BYTES_MAX,
}).transform(fromHex);

/** A 384-bit register: 96 lower-case hex digits. */
export const register = hexText("96 lower-case hex digits", { min: 48, max: 48 });

/** A whole number from 0 on. */
export const whole = z.int({ error: "expected a whole number" }).min(0, {
  error: "expected a whole number from 0 on",
});

/** What a field must be, as `Expected` of the attestation module spells it. */
export function expected<T>(value: z.ZodType<T>) {
  return z.union(
    [
      z.strictObject({ equals: value }),
      z.strictObject({
        anyOf: z
          .array(value)
          .min(1, { error: "expected at least one value" })
          .max(LISTED_MAX, { error: `expected at most ${LISTED_MAX} values` }),
      }),
      unchecked,
    ],
    { error: `expected {"equals": ...}, {"anyOf": [...]} or {"unchecked": "a reason"}` },
  );
}

/** The least a field must be, or a reason why that is not judged. */
export function minimum<T>(value: z.ZodType<T>) {
  return z.union([z.strictObject({ atLeast: value }), unchecked], {
    error: `expected {"atLeast": ...} or {"unchecked": "a reason"}`,
  });
}

/** The most a field may be, or a reason why that is not judged. */
export const maximum = z.union([z.strictObject({ atMost: whole }), unchecked], {
  error: `expected {"atMost": ...} or {"unchecked": "a reason"}`,
});

/** Text of a policy file, such as an identifier. */
export const policyText = z
  .string({ error: "expected text" })
  .min(1, { error: "expected text of at least one character" })
  .max(TEXT_MAX, { error: `expected at most ${TEXT_MAX} characters` });

/** Lower-case hex of `min` to `max` bytes; `what` names it in messages. */
export function hexText(
  what: string,
  { min, max }: { readonly min: number; readonly max: number },
) {
  const error = `expected ${what}`;
  return z.string({ error }).regex(new RegExp(`^(?:[0-9a-f]{2}){${min},${max}}$`), { error });
}
