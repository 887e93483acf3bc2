import { verify } from "node:crypto";

import { VerificationError, encodeCbor } from "#protocol";

import type { AttestationPlatform, TrustAnchor } from "../anchor.ts";
import { verifyPath } from "../path.ts";
import { COSE_PROTECTED_HEADER, parseNitroDocument, type NitroDocument } from "./document.ts";

/**
 * At which time the chain is judged. `live`: at `nowMs` and at the document's signed time, for a session now.
 * `replay`: at the document's signed time alone, for archived evidence, whose leaf lived three hours.
 */
export type JudgedAt =
  { readonly mode: "live"; readonly nowMs: number } | { readonly mode: "replay" };

/**
 * Claims that a Nitro Secure Module signed under a pinned root. Only `verifyNitroDocument` makes one.
 *
 * Authentic is not accepted: `appraiseEvidence` decides that.
 */
class VerifiedEvidence {
  readonly #document: NitroDocument;
  /** From the anchor that matched, never from the document. */
  readonly platform: AttestationPlatform;

  constructor(document: NitroDocument, platform: AttestationPlatform) {
    this.#document = document;
    this.platform = platform;
    Object.freeze(this);
  }

  /** `i-<instance>-enc<enclave>`. */
  get moduleId(): string {
    return this.#document.moduleId;
  }

  /** The signed time, milliseconds since 1970, by the platform's clock. */
  get timestampMs(): number {
    return this.#document.timestampMs;
  }

  /** Values of 48 bytes, by index in [0, 32). */
  get pcrs(): ReadonlyMap<number, Uint8Array> {
    return new Map(
      Array.from(this.#document.pcrs, ([index, pcr]): [number, Uint8Array] => [index, pcr.slice()]),
    );
  }

  get publicKey(): Uint8Array | null {
    return this.#document.publicKey?.slice() ?? null;
  }

  get userData(): Uint8Array | null {
    return this.#document.userData?.slice() ?? null;
  }

  get nonce(): Uint8Array | null {
    return this.#document.nonce?.slice() ?? null;
  }

  /** The raw evidence, a copy. */
  get document(): Uint8Array {
    return this.#document.document.slice();
  }

  /** The certificates, DER, root first, leaf last; copies. */
  get endorsements(): readonly Uint8Array[] {
    return [...this.#document.cabundle, this.#document.certificate].map((item) => item.slice());
  }
}

export type { VerifiedEvidence };

/**
 * Verifies that a Nitro Secure Module signed `document` and that its certificates chain to `anchors`.
 *
 * Checks, in this order: size, COSE_Sign1 shape and ES384, certificate path, signature over the received
 * bytes. Does not judge PCRs, nonce or user data; that is `appraiseEvidence`. Does no I/O and keeps no cache.
 * High-s signatures are accepted, as ECDSA does: never key anything on a document's or signature's hash.
 *
 * @param document - COSE_Sign1 as the NSM returned it; at most 12 288 bytes.
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When the chain is judged. No default.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE
 * @throws {@link VerificationError} TEE_CHAIN_UNTRUSTED, TEE_CERTIFICATE_EXPIRED,
 * TEE_CERTIFICATE_NOT_YET_VALID, TEE_SIGNATURE_INVALID, TEE_POLICY_EMPTY, TEE_PLATFORM_REFUSED
 * @see AWS NSM API, docs/attestation_process.md § 3 (validation order)
 * @see RFC 9052 § 4.4 (what is signed), RFC 5280 § 6.1 (path validation)
 */
export function verifyNitroDocument(
  document: Uint8Array,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedEvidence {
  const parsed = parseNitroDocument(document);
  const instantsMs = at.mode === "live" ? [at.nowMs, parsed.timestampMs] : [parsed.timestampMs];
  const { anchor, leaf } = verifyPath(
    [...parsed.cabundle, parsed.certificate],
    anchors,
    instantsMs,
  );
  const signed = encodeCbor([
    "Signature1",
    COSE_PROTECTED_HEADER,
    new Uint8Array(0),
    parsed.payload,
  ]);
  const key = { key: leaf.publicKey, dsaEncoding: "ieee-p1363" } as const;
  if (!verify("sha384", signed, key, parsed.signature)) {
    throw new VerificationError(
      { code: "TEE_SIGNATURE_INVALID", moduleId: parsed.moduleId },
      "document: expected the signature of its leaf certificate's key, got another one",
    );
  }
  return new VerifiedEvidence(parsed, anchor.platform);
}
