import type { SnpProductLine } from "./product.ts";
import type { SnpReportFields } from "./report.ts";
import type { SnpTcb } from "./tcb.ts";

/** What an SEV-SNP report says, in words, and what its key's certificates add. */
export interface SnpClaims extends SnpReportFields {
  readonly format: "snp";
  readonly productLine: SnpProductLine;
  /** The cloud provider that a VLEK was issued to; null for a VCEK. */
  readonly cspId: string | null;
  /** What is installed now. */
  readonly currentTcb: SnpTcb;
  /** What the host reports; the signing key is derived for it. */
  readonly reportedTcb: SnpTcb;
  /** What the platform can no longer be rolled back below. */
  readonly committedTcb: SnpTcb;
  /** What was installed when the guest was launched. */
  readonly launchTcb: SnpTcb;
}
