import { VerificationError } from "#protocol";

import type { ChainCache } from "./chain-cache.ts";

/**
 * At which time endorsements are judged.
 *
 * `live`: at `nowMs`, and at the evidence's signed time where it has one, for a session now.
 * `replay`: for archived evidence, whose certificates may have lived three hours: at its signed time alone, or, where
 * the platform signs no time (SNP, TDX), at `recordedMs`, the time it was recorded. Nitro does not look at
 * `recordedMs`; without it SNP and TDX evidence is refused. `recordedMs` is as good as the log it comes from.
 *
 * `chainCache`, from `createChainCache`, saves the signatures of a chain verified before. It changes no decision.
 */
export type JudgedAt = (
  | { readonly mode: "live"; readonly nowMs: number }
  | { readonly mode: "replay"; readonly recordedMs?: number }
) & { readonly chainCache?: ChainCache | undefined };

/**
 * The times at which endorsements of evidence that signs its own time are judged, milliseconds since 1970.
 *
 * @throws {@link VerificationError} TEE_POLICY_EMPTY for no mode that there is.
 */
export function instantsOf(at: JudgedAt, signedMs: number): readonly number[] {
  switch (at.mode) {
    case "live":
      return [at.nowMs, signedMs];
    case "replay":
      return [signedMs];
    default:
      throw unsaid("mode", "live or replay");
  }
}

/**
 * The time at which evidence without a time of its own is judged, milliseconds since 1970.
 *
 * @throws {@link VerificationError} TEE_POLICY_EMPTY for a replay without `recordedMs`.
 */
export function instantOf(at: JudgedAt): number {
  if (at.mode === "live") return at.nowMs;
  if (at.mode === "replay" && at.recordedMs !== undefined) return at.recordedMs;
  throw unsaid("recordedMs", "the time the evidence was recorded at");
}

function unsaid(field: string, expected: string): VerificationError {
  return new VerificationError(
    { code: "TEE_POLICY_EMPTY", field },
    `time of judgement ${field}: expected ${expected}, got none`,
  );
}
