/** What only an SEV-SNP report says. */
export interface SnpClaims {
  readonly format: "snp";
  /** REPORT_DATA, 64 bytes. */
  readonly reportData: Uint8Array;
}
