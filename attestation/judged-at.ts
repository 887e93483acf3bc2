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
