import { z } from "zod";

import { MalformedError, VerificationError, encodeCbor, equalBytes } from "#protocol";

import { ATTESTATION_PLATFORMS, type TrustAnchor } from "./anchor.ts";
import { appraiseEvidence } from "./appraise.ts";
import type { VerifiedEvidence } from "./evidence.ts";
import { OPTIONAL_FIELD_BYTES_MAX } from "./nitro/document.ts";
import type { AppraisalPolicy } from "./policy.ts";
import type { Collateral } from "./tdx/collateral.ts";
import { ENDORSEMENTS_MAX, EVIDENCE_BYTES_MAX, verifyEvidence, type Evidence } from "./verify.ts";

const CERTIFICATE_BYTES_MAX = 4096;
const COLLATERAL_BYTES_MAX = 256 * 1024;

const bytesUpTo = (max: number) =>
  z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= max,
    `expected at most ${max} bytes`,
  );
const register = z.string().regex(/^[0-9a-f]{96}$/);
const optionalField = bytesUpTo(OPTIONAL_FIELD_BYTES_MAX).nullable();
const certificates = z.array(bytesUpTo(CERTIFICATE_BYTES_MAX)).min(2).max(ENDORSEMENTS_MAX);

/**
 * Shape of an AttestationReport: what was appraised, with all that it takes to appraise it again in ten years: the raw
 * evidence, endorsements, collateral, and when each of them ended (TT-1, TT-2).
 *
 * A plain object for canonical CBOR. The summary fields are convenience: only `evidence` is authentic, so
 * whoever receives a report calls `verifyReportReplay`.
 */
export const attestationReportSchema = z.strictObject({
  platform: z.enum(ATTESTATION_PLATFORMS),
  /** The module id, chip id or platform id. */
  enclave_identity: z.string().min(1).max(128),
  measurement: z.union([
    z.strictObject({ pcr0: register, pcr1: register, pcr2: register }),
    z.strictObject({ measurement: register }),
    z.strictObject({
      mrtd: register,
      rtmr0: register,
      rtmr1: register,
      rtmr2: register,
      rtmr3: register,
    }),
  ]),
  nonce: optionalField,
  user_data: optionalField,
  public_key: optionalField,
  /** Whether REPORTDATA is the digest of the three above (`reportDataOf`); false on Nitro, which has the fields. */
  bound: z.boolean(),
  /** The time the endorsements were judged at, milliseconds since 1970: signed by Nitro, recorded for others. */
  time_ms: z.int().positive(),
  /** The evidence, as the platform returned it. */
  evidence: bytesUpTo(EVIDENCE_BYTES_MAX),
  /** Certificates, DER, root first, leaf last. */
  endorsements: certificates,
  collateral: z
    .strictObject({
      tcb_info: bytesUpTo(COLLATERAL_BYTES_MAX),
      qe_identity: bytesUpTo(COLLATERAL_BYTES_MAX),
      tcb_signing_chain: certificates,
      pck_crl: bytesUpTo(COLLATERAL_BYTES_MAX),
      root_crl: bytesUpTo(COLLATERAL_BYTES_MAX),
    })
    .nullable(),
  /** Until when each certificate and statement was good, milliseconds since 1970. */
  expiries: z
    .array(z.strictObject({ subject: z.string().min(1).max(64), not_after_ms: z.int() }))
    .min(1)
    .max(2 * ENDORSEMENTS_MAX),
});

/** See {@link attestationReportSchema}. */
export type AttestationReport = z.infer<typeof attestationReportSchema>;

/** The report of evidence that was appraised. */
export function reportOf(evidence: VerifiedEvidence): AttestationReport {
  const { collateral } = evidence;
  return {
    platform: evidence.platform,
    enclave_identity: evidence.identity,
    measurement: evidence.measurement,
    nonce: evidence.nonce,
    user_data: evidence.userData,
    public_key: evidence.publicKey,
    bound: evidence.isBound,
    time_ms: evidence.judgedAtMs,
    evidence: evidence.document,
    endorsements: [...evidence.endorsements],
    collateral:
      collateral === null
        ? null
        : {
            tcb_info: collateral.tcbInfo,
            qe_identity: collateral.qeIdentity,
            tcb_signing_chain: [...collateral.tcbSigningChain],
            pck_crl: collateral.pckCrl,
            root_crl: collateral.rootCrl,
          },
    expiries: evidence.expiries.map(({ subject, notAfterMs }) => ({
      subject,
      not_after_ms: notAfterMs,
    })),
  };
}

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

function evidenceOf(report: AttestationReport): Evidence {
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
