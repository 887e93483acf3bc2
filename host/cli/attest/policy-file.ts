import {
  ATTESTATION_PLATFORMS,
  verifyPolicy,
  type AppraisalPolicy,
  type Expected,
} from "#attestation";
import { z } from "zod";

import { expected, hexBytes, maximum, policyText, register, whole } from "./expected.ts";
import { snpSection } from "./policy-snp.ts";
import { tdxSection } from "./policy-tdx.ts";
import { readAuthored } from "../authored-file.ts";

/** The largest policy file. */
export const POLICY_FILE_BYTES_MAX = 1024 * 1024;

const REFERENCES_MAX = 1024;
const REVOKED_MAX = 16_384;

const validity = { validFromMs: whole, validUntilMs: whole };
const reference = z.union(
  [
    z.strictObject({ pcr0: register, pcr1: register, pcr2: register, ...validity }),
    z.strictObject({ measurement: register, ...validity }),
    z.strictObject({
      mrtd: register,
      rtmr0: register,
      rtmr1: register,
      rtmr2: register,
      rtmr3: register,
      ...validity,
    }),
  ],
  {
    error:
      "expected validFromMs, validUntilMs and either pcr0, pcr1, pcr2 or measurement or mrtd, rtmr0 to rtmr3",
  },
);

/**
 * A policy file: `AppraisalPolicy` field by field, bytes as lower-case hex. Every field is required. Only `judgedAtMs`
 * is not in it: it is the time of the verification.
 */
export const policyFileSchema = z.strictObject({
  platforms: z
    .array(z.enum(ATTESTATION_PLATFORMS))
    .min(1, { error: "expected at least one platform" })
    .max(ATTESTATION_PLATFORMS.length),
  measurements: z
    .array(reference)
    .min(1, { error: "expected at least one measurement" })
    .max(REFERENCES_MAX),
  revokedMeasurements: z.array(register).max(REVOKED_MAX),
  revokedIdentities: z.array(policyText).max(REVOKED_MAX),
  nonce: expected(hexBytes),
  userData: expected(hexBytes),
  publicKey: expected(hexBytes),
  maxAgeMs: maximum,
  nitro: z.strictObject({ pcr3: expected(register), pcr8: expected(register) }).nullable(),
  snp: snpSection.nullable(),
  tdx: tdxSection.nullable(),
});

/** A policy as its file has it: bytes as hex. */
export type PolicyFileText = z.input<typeof policyFileSchema>;

/** What a policy file says; the time is still to be given. */
export type PolicyFile = Omit<AppraisalPolicy, "judgedAtMs">;

/**
 * Reads a policy file and refuses one that says nothing somewhere.
 *
 * @param nonce - What the nonce must be, in place of the file's expectation; null leaves that.
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED, SCHEMA_CONFIG_MALFORMED
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 */
export async function readPolicy(path: string, nonce: Uint8Array | null): Promise<PolicyFile> {
  const bound = { subject: "policy", bytesMax: POLICY_FILE_BYTES_MAX };
  const file: PolicyFile = await readAuthored(path, policyFileSchema, bound);
  const expectedNonce: Expected<Uint8Array> = nonce === null ? file.nonce : { equals: nonce };
  const policy = { ...file, nonce: expectedNonce };
  verifyPolicy({ ...policy, judgedAtMs: 0 });
  return policy;
}
