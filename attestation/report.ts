import { z } from "zod";

import { ATTESTATION_PLATFORMS } from "./anchor.ts";
import type { VerifiedEvidence } from "./evidence.ts";
import { OPTIONAL_FIELD_BYTES_MAX } from "./nitro/document.ts";
import { ENDORSEMENTS_MAX, EVIDENCE_BYTES_MAX } from "./verify.ts";

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
