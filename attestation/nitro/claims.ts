/** What only a Nitro document says. */
export interface NitroClaims {
  readonly format: "nitro";
  /** `i-<instance>-enc<enclave>`. */
  readonly moduleId: string;
  /** The signed time, milliseconds since 1970, by the platform's clock. */
  readonly timestampMs: number;
  /** Values of 48 bytes, by index in [0, 32). */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}
