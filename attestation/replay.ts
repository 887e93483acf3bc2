import { z } from "zod";

import { MalformedError, VerificationError, encodeCbor, equalBytes } from "#protocol";

import type { TrustAnchor } from "./anchor.ts";
import { appraiseEvidence } from "./appraise.ts";
import type { AppraisalPolicy } from "./policy.ts";
import { attestationReportSchema, type AttestationReport } from "./report.ts";
import type { Collateral } from "./tdx/collateral.ts";
import { verifyEvidence, type Evidence } from "./verify.ts";

/**
 * Verifies an archived report again from its evidence alone: parse, verify at the time it was judged at, appraise
 * under `policy`, and compare every field with what the evidence says.
 *
 * Where the platform signs no time (SNP, TDX), `time_ms` is the report's own word: take reports from a signed log.
 *
 * @param report - Untrusted; its shape is judged here.
 * @returns The report as derived from the evidence.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED when it is no report.
 * @throws {@link VerificationError} PROOF_COMMITMENT_MISMATCH when a field is not what the evidence says; and
 * all errors of `verifyEvidence` and `appraiseEvidence`.
 */
export function verifyReportReplay(
  report: unknown,
  anchors: readonly TrustAnchor[],
  policy: AppraisalPolicy,
): AttestationReport {
  const parsed = attestationReportSchema.safeParse(report);
  if (!parsed.success) {
    throw new MalformedError(
      { code: "TEE_DOCUMENT_MALFORMED" },
      `attestation report: expected its fields, got ${z.prettifyError(parsed.error)}`,
    );
  }
  const evidence = verifyEvidence(evidenceOf(parsed.data), anchors, {
    mode: "replay",
    recordedMs: parsed.data.time_ms,
  });
  const derived = appraiseEvidence(evidence, policy);
  const claimed = new Map(Object.entries(parsed.data));
  for (const [field, value] of Object.entries(derived)) {
    const other = claimed.get(field) ?? null;
    if (!equalBytes(encodeCbor(value), encodeCbor(other))) {
      throw new VerificationError(
        { code: "PROOF_COMMITMENT_MISMATCH", field },
        `attestation report ${field}: expected what the evidence says, got another value`,
      );
    }
  }
  return derived;
}

/**
 * The evidence of a report, as untrusted as the report: what `verifyEvidence` takes.
 *
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED for a TDX report without collateral.
 */
export function evidenceOf(report: AttestationReport): Evidence {
  const { evidence, endorsements } = report;
  const binding = report.bound
    ? { nonce: report.nonce, userData: report.user_data, publicKey: report.public_key }
    : null;
  switch (report.platform) {
    case "aws-nitro":
    case "sim":
      return { format: "nitro", document: evidence };
    case "amd-sev-snp":
      return { format: "snp", document: evidence, endorsements, binding };
    case "intel-tdx":
      return { format: "tdx", document: evidence, collateral: collateralOf(report), binding };
  }
}

function collateralOf({ collateral }: AttestationReport): Collateral {
  if (collateral === null) {
    throw new MalformedError(
      { code: "TEE_DOCUMENT_MALFORMED", field: "collateral" },
      "attestation report collateral: expected it with a TDX quote, got none",
    );
  }
  return {
    tcbInfo: collateral.tcb_info,
    qeIdentity: collateral.qe_identity,
    tcbSigningChain: collateral.tcb_signing_chain,
    pckCrl: collateral.pck_crl,
    rootCrl: collateral.root_crl,
  };
}
