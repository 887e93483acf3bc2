import { z } from "zod";

import { MalformedError, VerificationError, encodeCbor, equalBytes } from "#protocol";

import { ATTESTATION_PLATFORMS, type TrustAnchor } from "./anchor.ts";
import { appraiseEvidence } from "./appraise.ts";
import { CERTIFICATE_BYTES_MAX } from "./certificate.ts";
import {
  CABUNDLE_MAX,
  NITRO_DOCUMENT_BYTES_MAX,
  OPTIONAL_FIELD_BYTES_MAX,
} from "./nitro/document.ts";
import { verifyNitroDocument } from "./nitro/verify.ts";
import type { AppraisalPolicy } from "./policy.ts";

const bytesUpTo = (max: number) =>
  z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= max,
    `expected at most ${max} bytes`,
  );
const pcrHex = z.string().regex(/^[0-9a-f]{96}$/);
const optionalField = bytesUpTo(OPTIONAL_FIELD_BYTES_MAX).nullable();

/**
 * Shape of an AttestationReport: what was appraised, with the raw evidence it came from (TT-1, TT-2).
 *
 * A plain object for canonical CBOR. The summary fields are convenience: only `evidence` is authentic, so
 * whoever receives a report calls `verifyReportReplay`.
 */
export const attestationReportSchema = z.strictObject({
  platform: z.enum(ATTESTATION_PLATFORMS),
  /** The module id. */
  enclave_identity: z.string().min(1).max(128),
  measurement: z.strictObject({ pcr0: pcrHex, pcr1: pcrHex, pcr2: pcrHex }),
  nonce: optionalField,
  user_data: optionalField,
  public_key: optionalField,
  /** The document's signed time, milliseconds since 1970. */
  time_ms: z.int().positive(),
  /** The attestation document, as the platform returned it. */
  evidence: bytesUpTo(NITRO_DOCUMENT_BYTES_MAX),
  /** Certificates, DER, root first, leaf last. */
  endorsements: z
    .array(bytesUpTo(CERTIFICATE_BYTES_MAX))
    .min(2)
    .max(CABUNDLE_MAX + 1),
});

/** See {@link attestationReportSchema}. */
export type AttestationReport = z.infer<typeof attestationReportSchema>;

/**
 * Verifies an archived report again from its evidence alone: parse, verify at the document's signed time,
 * appraise under `policy`, and compare every field with what the evidence says.
 *
 * @param report - Untrusted; its shape is judged here.
 * @returns The report as derived from the evidence.
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED when it is no report.
 * @throws {@link VerificationError} PROOF_COMMITMENT_MISMATCH when a field is not what the evidence says; and
 * all errors of `verifyNitroDocument` and `appraiseEvidence`.
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
  const evidence = verifyNitroDocument(parsed.data.evidence, anchors, { mode: "replay" });
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
