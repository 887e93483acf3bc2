import type { AttestationPlatform } from "./anchor.ts";
import type { NitroClaims } from "./nitro/claims.ts";
import type { Measurement } from "./policy.ts";
import type { SnpClaims } from "./snp/claims.ts";
import type { Collateral } from "./tdx/collateral.ts";
import type { TdxClaims } from "./tdx/claims.ts";

/** What only one evidence format says, tagged by its format. */
export type EvidenceClaims = NitroClaims | SnpClaims | TdxClaims;

/** A certificate, list or statement that evidence rests on, and the last millisecond it is good for. */
export interface Expiry {
  /** Such as `certificate 3` or `tcb_info`. */
  readonly subject: string;
  readonly notAfterMs: number;
}

/** What a verifier found authentic. */
export interface EvidenceParts<Claims extends EvidenceClaims> {
  /** From the anchor that matched, never from the evidence. */
  readonly platform: AttestationPlatform;
  /** What revocation names: a Nitro module id, an SNP chip id in hex, a TDX platform's PPID or FMSPC in hex. */
  readonly identity: string;
  /** The time the platform signed, milliseconds since 1970; null where it signs none (SNP, TDX). */
  readonly timestampMs: number | null;
  /** The time the certificates were judged at, for the archive, milliseconds since 1970. */
  readonly judgedAtMs: number;
  readonly measurement: Measurement;
  /** Bound values; on SNP and TDX authentic because REPORTDATA is their digest (`reportDataOf`), else null. */
  readonly nonce: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
  /** Whether the three above came beside the evidence, with their digest in it. */
  readonly isBound: boolean;
  /** The raw evidence as the platform returned it. */
  readonly document: Uint8Array;
  /** Certificates, DER, root first, leaf last. */
  readonly endorsements: readonly Uint8Array[];
  readonly collateral: Collateral | null;
  readonly expiries: readonly Expiry[];
  readonly claims: Claims;
}

/**
 * Claims that a platform signed under a pinned root. Only the verifiers of this module make one.
 *
 * Authentic is not accepted: `appraiseEvidence` decides that. What it hands out are copies.
 */
export class VerifiedEvidence<out Claims extends EvidenceClaims = EvidenceClaims> {
  readonly #parts: EvidenceParts<Claims>;

  constructor(parts: EvidenceParts<Claims>) {
    this.#parts = parts;
    Object.freeze(this);
  }

  get platform(): AttestationPlatform {
    return this.#parts.platform;
  }

  get identity(): string {
    return this.#parts.identity;
  }

  get timestampMs(): number | null {
    return this.#parts.timestampMs;
  }

  get judgedAtMs(): number {
    return this.#parts.judgedAtMs;
  }

  get measurement(): Measurement {
    return { ...this.#parts.measurement };
  }

  get nonce(): Uint8Array | null {
    return this.#parts.nonce?.slice() ?? null;
  }

  get userData(): Uint8Array | null {
    return this.#parts.userData?.slice() ?? null;
  }

  get publicKey(): Uint8Array | null {
    return this.#parts.publicKey?.slice() ?? null;
  }

  get isBound(): boolean {
    return this.#parts.isBound;
  }

  get document(): Uint8Array {
    return this.#parts.document.slice();
  }

  get endorsements(): readonly Uint8Array[] {
    return this.#parts.endorsements.map((item) => item.slice());
  }

  get collateral(): Collateral | null {
    return structuredClone(this.#parts.collateral);
  }

  get expiries(): readonly Expiry[] {
    return this.#parts.expiries;
  }

  get claims(): Claims {
    return structuredClone(this.#parts.claims);
  }
}
