/** What a released count is protected by; the fields of a `CountRelease` that do not depend on the count. */
export interface CountPrivacy {
  /** Cardinality threshold of the result; at least 1. */
  readonly k: number;
  readonly epsilonMicro: number;
  readonly deltaPico: number;
  /** L1 distance that one subject can move everything that is released. */
  readonly sensitivity: number;
}

/**
 * How far one subject moves the counts of all Vaults together.
 *
 * A subject may be in every participating Vault. In each it moves one count by one; and where it is the one that lifts
 * a Vault's own result to the local threshold, it brings the whole result with it: `localMin` subjects at once. For
 * a union of deduplicated subjects the subject itself is one and the same in all Vaults. That holds only where every
 * Vault links by what identifies the subject; a person with another link in each Vault is one more in each of them.
 *
 * @param localMin - The policy's local cardinality threshold; 0 and 1 never withhold anything.
 */
export function countSensitivity(args: {
  readonly vaults: number;
  readonly localMin: number;
  readonly deduplicated: boolean;
}): number {
  const local = Math.max(1, args.localMin);
  return args.deduplicated ? 1 + args.vaults * (local - 1) : args.vaults * local;
}
