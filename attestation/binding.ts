import { createHash } from "node:crypto";

import { VerificationError, encodeCbor, equalBytes, hex } from "#protocol";

/**
 * Values that a session binds into evidence. A Nitro document has a field for each; SNP and TDX have 64 bytes of
 * REPORTDATA, so there the values travel beside the evidence and their digest is in it.
 */
export interface ReportBinding {
  readonly nonce: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly publicKey: Uint8Array | null;
}

const DOMAIN = "symphony/report-data/v1";

/** The 64 bytes that bind `binding`: SHA-512 over the domain and the three values, canonical CBOR. */
export function reportDataOf({ nonce, userData, publicKey }: ReportBinding): Uint8Array {
  const bytes = encodeCbor([DOMAIN, nonce, userData, publicKey]);
  return new Uint8Array(createHash("sha512").update(bytes).digest());
}

/**
 * Verifies that REPORTDATA is the digest of `binding`; null says that it is bound to something else.
 *
 * @throws {@link VerificationError} TEE_REPORT_DATA_MISMATCH
 */
export function verifyBinding(reportData: Uint8Array, binding: ReportBinding | null): void {
  if (binding === null) return;
  const expected = reportDataOf(binding);
  if (equalBytes(expected, reportData)) return;
  throw new VerificationError(
    { code: "TEE_REPORT_DATA_MISMATCH" },
    `report_data: expected ${hex(expected)}, the digest of the values bound, got ${hex(reportData)}`,
  );
}
