/**
 * Who keeps the data keys of a Vault's batches: a key service that releases them to attested enclaves only.
 *
 * What it is given is already encrypted under a secret of the Vault, so the service alone can open nothing.
 */
export interface KeyCustody {
  /** Encrypts a wrapped data key for storage beside its batch. @throws UnavailableError TEE_KMS_UNAVAILABLE */
  protect(wrapped: Uint8Array): Promise<Uint8Array>;
  /**
   * Opens `blob` for the enclave that `attestationDocument` is about.
   *
   * @returns CMS EnvelopedData to the recipient key in the document; only that enclave can open it.
   * @throws RefusedError TEE_KMS_REFUSED, UnavailableError TEE_KMS_UNAVAILABLE
   */
  release(blob: Uint8Array, attestationDocument: Uint8Array): Promise<Uint8Array>;
}
