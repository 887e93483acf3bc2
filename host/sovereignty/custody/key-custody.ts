import type { GovernanceState } from "#protocol";

/** The enclave that keys are released to, as the Vault's own record of an execution names it. */
export interface Recipient {
  /** Its evidence: an attestation document with an RSA-2048 public key. */
  readonly document: Uint8Array;
  /** Digest of its session manifest; the document's `user_data`. */
  readonly manifestDigest: Uint8Array;
  /** The governance that says which measurements are accepted, and which are revoked. */
  readonly governance: GovernanceState;
}

/**
 * Who keeps the data keys of a Vault's batches, and releases them to attested enclaves.
 *
 * What it is given is already encrypted under a secret of the Vault, so the custody alone can open nothing. What it
 * gives back, a *blob*, says itself which key of the custody it is under.
 */
export interface KeyCustody {
  /** Holds the keys themselves, and belongs into a backup of the Vault's keys; null where they are kept elsewhere. */
  readonly keyFile: string | null;
  /** The key that {@link protect} uses now. */
  currentKey(): string;
  /** The key that `blob` is under; null when it does not say. Reads no secret. */
  keyOf(blob: Uint8Array): string | null;
  /** Encrypts a wrapped data key for storage beside its batch. @throws UnavailableError TEE_KMS_UNAVAILABLE */
  protect(wrapped: Uint8Array): Promise<Uint8Array>;
  /**
   * Opens `blob` for the enclave that `recipient` is about.
   *
   * @returns CMS EnvelopedData to the recipient key in the document; only that enclave can open it.
   * @throws RefusedError TEE_KMS_REFUSED, UnavailableError TEE_KMS_UNAVAILABLE; VerificationError and AppraisalError
   * TEE_* when the custody itself judges the document and does not accept it.
   */
  release(blob: Uint8Array, recipient: Recipient): Promise<Uint8Array>;
  /**
   * Opens `blob` for the Vault itself, which needs it to rewrite a batch. The caller zeroes what it gets.
   *
   * @throws RefusedError TEE_KMS_REFUSED when the custody releases to enclaves only.
   */
  open(blob: Uint8Array): Promise<Uint8Array>;
  /** The same under the current key, in a new blob. @throws RefusedError TEE_KMS_REFUSED */
  rewrap(blob: Uint8Array): Promise<Uint8Array>;
  /**
   * Makes a new key the current one, durably, unless `from` is no longer the current one: then it was done before.
   * A custody whose keys are made elsewhere does nothing.
   */
  renew(from: string): Promise<void>;
  /** Destroys every key but the current one. @returns their names; none where keys are destroyed elsewhere. */
  retire(): Promise<readonly string[]>;
}
