import {
  appraiseEvidence,
  verifyNitroDocument,
  type AppraisalPolicy,
  type AttestationReport,
  type NitroMeasurement,
  type TrustAnchor,
} from "../../attestation/index.ts";

/** A policy without its time, which is known only when a document is there. */
export type EnclavePolicy = Omit<AppraisalPolicy, "judgedAtMs">;

/** What an enclave of `image` must say to whoever sent it `nonce`. Every field is decided; nothing is left out. */
export function policyFor(image: NitroMeasurement, nonce: Uint8Array): EnclavePolicy {
  return {
    platforms: ["aws-nitro"],
    measurements: [{ ...image, validFromMs: 0, validUntilMs: Date.UTC(2100, 0, 1) }],
    revokedMeasurements: [],
    revokedIdentities: [],
    nonce: { equals: nonce },
    userData: { unchecked: "nothing is bound there" },
    publicKey: { unchecked: "nothing is sealed to it here" },
    maxAgeMs: { atMost: 300_000 },
    nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "the image is not signed" } },
    snp: null,
    tdx: null,
  };
}

/**
 * Accepts `document` only from an enclave that `policy` describes, judged at `nowMs`.
 *
 * @param trust - The roots to trust, `[AWS_NITRO_ROOT_G1]` for AWS, and the time now.
 * @throws SymphonyError, whose code says why not.
 */
export function verifyEnclave(
  document: Uint8Array,
  policy: EnclavePolicy,
  trust: { readonly anchors: readonly TrustAnchor[]; readonly nowMs: number },
): AttestationReport {
  const { anchors, nowMs } = trust;
  const evidence = verifyNitroDocument(document, anchors, { mode: "live", nowMs });
  return appraiseEvidence(evidence, { ...policy, judgedAtMs: nowMs });
}
