import { hash } from "node:crypto";

import { MalformedError, concat } from "#protocol";

import type { Certificate } from "./certificate.ts";
import type { CertificateProfile } from "./profile.ts";

/** Certificates as they are presented, DER, and the profile they are read by: what an entry is found under. */
export interface PresentedChain {
  readonly chain: readonly Uint8Array[];
  readonly profile: CertificateProfile;
}

interface Entry {
  readonly profile: CertificateProfile;
  readonly certificates: readonly Certificate[];
}

/**
 * Chains of which `verifyPath` found that each certificate issued the next; the oldest unused one makes room.
 *
 * An entry is a fact about bytes: it says nothing of trust or time, so anchors and validity are judged on every use.
 * It is found by a digest over every byte of the chain, and only `verifyPath` puts one in.
 */
export class ChainCache {
  readonly #entries = new Map<string, Entry>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    Object.freeze(this);
  }

  /** Chains held now. */
  get size(): number {
    return this.#entries.size;
  }

  /** The certificates of this chain if they were verified under this profile, else null. For `verifyPath` only. */
  static recall(
    cache: ChainCache,
    { chain, profile }: PresentedChain,
  ): Entry["certificates"] | null {
    const key = keyOf(chain);
    const entry = cache.#entries.get(key);
    if (entry === undefined || entry.profile !== profile) return null;
    cache.#entries.delete(key);
    cache.#entries.set(key, entry);
    return entry.certificates;
  }

  /** Keeps what was verified. For `verifyPath` only. */
  static remember(
    cache: ChainCache,
    { chain, profile }: PresentedChain,
    certificates: readonly Certificate[],
  ): void {
    cache.#entries.set(keyOf(chain), { profile, certificates });
    const [oldest] = cache.#entries.keys();
    if (oldest !== undefined && cache.#entries.size > cache.#entriesMax) {
      cache.#entries.delete(oldest);
    }
  }
}

/** Most chains one cache may hold, about 20 KiB each: 80 MiB. */
export const CHAIN_CACHE_ENTRIES_MAX = 4096;

/**
 * A memory of verified chains, for a caller that sees many documents of one enclave: each but the first then costs
 * one signature. Handed to verifiers in `JudgedAt`; what they accept does not depend on it.
 *
 * @param entriesMax - Chains to hold, 1 to {@link CHAIN_CACHE_ENTRIES_MAX}.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function createChainCache({ entriesMax }: { readonly entriesMax: number }): ChainCache {
  if (!Number.isInteger(entriesMax) || entriesMax < 1 || entriesMax > CHAIN_CACHE_ENTRIES_MAX) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", field: "entriesMax" },
      `chain cache: expected 1 to ${CHAIN_CACHE_ENTRIES_MAX} entries, got ${entriesMax}`,
    );
  }
  return new ChainCache(entriesMax);
}

/** Each certificate after its length, so that the same bytes cut elsewhere are another chain. */
function keyOf(chain: readonly Uint8Array[]): string {
  const parts = chain.flatMap((der) => [lengthOf(der), der]);
  return hash("sha256", concat(...parts), "base64");
}

/** Four octets, big endian. */
function lengthOf({ length }: Uint8Array): Uint8Array {
  return Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length);
}
