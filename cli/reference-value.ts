import type { ReferenceValue } from "#protocol";

/** How long an image is accepted when nobody says otherwise: a year. */
export const ACCEPTED_MS = 365 * 86_400_000;

/**
 * What governance puts into `attestation.reference_values` of a policy version, so that enclaves of one image are accepted
 * in `[fromMs, untilMs)`, Unix milliseconds.
 */
export function referenceValueOf(
  { pcr0, pcr1, pcr2 }: Readonly<Record<"pcr0" | "pcr1" | "pcr2", string>>,
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
): ReferenceValue {
  return { pcr0, pcr1, pcr2, valid_from_ms: fromMs, valid_until_ms: untilMs };
}
