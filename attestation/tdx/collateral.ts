/** What Intel says of a platform beside its certificates, as its service returned it: untrusted until verified. */
export interface Collateral {
  /** JSON text with `tcbInfo` and `signature`, byte for byte. */
  readonly tcbInfo: Uint8Array;
  /** JSON text with `enclaveIdentity` and `signature`, byte for byte. */
  readonly qeIdentity: Uint8Array;
  /** Certificates of the TCB signing key, DER, root first. */
  readonly tcbSigningChain: readonly Uint8Array[];
  /** Revocation list of the PCK issuer, DER. */
  readonly pckCrl: Uint8Array;
  /** Revocation list of the root, DER. */
  readonly rootCrl: Uint8Array;
}
