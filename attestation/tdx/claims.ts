/** What only a TDX quote says. */
export interface TdxClaims {
  readonly format: "tdx";
  /** REPORTDATA, 64 bytes. */
  readonly reportData: Uint8Array;
}
