import { AppraisalError, equalBytes, hex, sha256, sha384, utf8, type ErrorCode } from "#protocol";

import type { VerifiedEvidence } from "./nitro/verify.ts";
import { verifyPolicy, type AppraisalPolicy, type Expected, type Measurement } from "./policy.ts";
import type { AttestationReport } from "./report.ts";

/** One reason why evidence was not accepted. Values are public: full PCRs, digests of other fields. */
export interface AppraisalFailure {
  readonly code: ErrorCode;
  readonly expected: string;
  readonly actual: string;
}

/** How far a platform's clock may run ahead of ours: 30 s. A document from later than that is refused. */
export const CLOCK_AHEAD_MS_MAX = 30_000;

const PCR_BYTES = 48;
const ZERO_PCR = "00".repeat(PCR_BYTES);

/**
 * Appraises authentic evidence against `policy`; runs every check and reports every failure.
 *
 * Debug enclaves are those with PCR 0, 1 or 2 zero (PCR 4 never is); no policy accepts one. PCR 4 must be
 * the measurement of the instance id in `module_id`, which must be an enclave's.
 *
 * @returns The report to archive: evidence, endorsements, and what they say.
 * @throws {@link AppraisalError} with the first failure's code, all of them in `details.failures`:
 * TEE_PLATFORM_REFUSED, TEE_DEBUG_REFUSED, TEE_IDENTITY_MISMATCH, TEE_PLATFORM_REVOKED,
 * TEE_MEASUREMENT_REVOKED, TEE_MEASUREMENT_MISMATCH, TEE_NONCE_MISMATCH, TEE_USER_DATA_MISMATCH,
 * TEE_PUBLIC_KEY_MISMATCH, TEE_DOCUMENT_STALE; or TEE_POLICY_EMPTY.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 * @see RFC 9334 § 4 (appraisal); AWS user guide, "Where to get an enclave's measurements" (debug mode)
 */
export function appraiseEvidence(
  evidence: VerifiedEvidence,
  policy: AppraisalPolicy,
): AttestationReport {
  verifyPolicy(policy);
  const measurement = measurementOf(evidence);
  const failures = [
    appraisePlatform(evidence, policy),
    appraiseDebug(measurement),
    appraiseIdentity(evidence),
    appraiseRevokedIdentity(evidence, policy),
    appraiseRevokedMeasurement(measurement, policy),
    appraiseMeasurement(measurement, policy),
    appraiseField("TEE_NONCE_MISMATCH", policy.nonce, evidence.nonce),
    appraiseField("TEE_USER_DATA_MISMATCH", policy.userData, evidence.userData),
    appraiseField("TEE_PUBLIC_KEY_MISMATCH", policy.publicKey, evidence.publicKey),
    appraiseAge(evidence.timestampMs, policy),
  ].filter((failure) => failure !== null);
  const [first] = failures;
  if (first !== undefined) {
    throw new AppraisalError(
      { code: first.code, failures },
      `evidence: expected ${first.expected}, got ${first.actual}`,
    );
  }
  return {
    platform: evidence.platform,
    enclave_identity: evidence.moduleId,
    measurement,
    nonce: evidence.nonce,
    user_data: evidence.userData,
    public_key: evidence.publicKey,
    time_ms: evidence.timestampMs,
    evidence: evidence.document,
    endorsements: [...evidence.endorsements],
  };
}

function measurementOf(evidence: VerifiedEvidence): Measurement {
  const { pcrs } = evidence;
  const pcr = (index: number): string => hex(pcrs.get(index) ?? new Uint8Array(0));
  return { pcr0: pcr(0), pcr1: pcr(1), pcr2: pcr(2) };
}

function appraisePlatform(
  { platform }: VerifiedEvidence,
  { platforms }: AppraisalPolicy,
): AppraisalFailure | null {
  if (platforms.includes(platform)) return null;
  return fail("TEE_PLATFORM_REFUSED", `platform ${platforms.join(" or ")}`, platform);
}

function appraiseDebug({ pcr0, pcr1, pcr2 }: Measurement): AppraisalFailure | null {
  const zero = [pcr0, pcr1, pcr2].findIndex((pcr) => pcr === ZERO_PCR);
  if (zero < 0) return null;
  return fail("TEE_DEBUG_REFUSED", `PCR${zero} of a production enclave`, "zero (debug mode)");
}

function appraiseIdentity({ moduleId, pcrs }: VerifiedEvidence): AppraisalFailure | null {
  const code = "TEE_IDENTITY_MISMATCH";
  const match = /^(i-[0-9a-f]{8,32})-enc[0-9a-f]{16}$/.exec(moduleId);
  const instanceId = match?.[1];
  if (instanceId === undefined) return fail(code, "an enclave's module_id", moduleId);
  const expected = sha384(new Uint8Array(PCR_BYTES), utf8(instanceId));
  const actual = pcrs.get(4) ?? new Uint8Array(0);
  if (equalBytes(actual, expected)) return null;
  return fail(code, `PCR4 ${hex(expected)} of ${instanceId}`, hex(actual));
}

function appraiseRevokedIdentity(
  { moduleId }: VerifiedEvidence,
  { revokedModuleIds }: AppraisalPolicy,
): AppraisalFailure | null {
  const instanceId = moduleId.split("-enc")[0] ?? moduleId;
  if (!revokedModuleIds.includes(moduleId) && !revokedModuleIds.includes(instanceId)) return null;
  return fail("TEE_PLATFORM_REVOKED", "a module_id that is not revoked", moduleId);
}

function appraiseRevokedMeasurement(
  { pcr0 }: Measurement,
  { revokedMeasurements }: AppraisalPolicy,
): AppraisalFailure | null {
  if (!revokedMeasurements.includes(pcr0)) return null;
  return fail("TEE_MEASUREMENT_REVOKED", "PCR0 that is not revoked", pcr0);
}

function appraiseMeasurement(
  actual: Measurement,
  { measurements, judgedAtMs }: AppraisalPolicy,
): AppraisalFailure | null {
  const current = measurements.filter(
    ({ validFromMs, validUntilMs }) => validFromMs <= judgedAtMs && judgedAtMs < validUntilMs,
  );
  const accepted = current.some(
    ({ pcr0, pcr1, pcr2 }) => pcr0 === actual.pcr0 && pcr1 === actual.pcr1 && pcr2 === actual.pcr2,
  );
  if (accepted) return null;
  const expected = current.map(describe).join(" or ") || "a reference value valid now";
  return fail("TEE_MEASUREMENT_MISMATCH", expected, describe(actual));
}

function describe({ pcr0, pcr1, pcr2 }: Measurement): string {
  return `PCR0 ${pcr0} PCR1 ${pcr1} PCR2 ${pcr2}`;
}

/** Values are compared whole and in constant time; an absent field never matches. */
function appraiseField(
  code: ErrorCode,
  expected: Expected<Uint8Array>,
  actual: Uint8Array | null,
): AppraisalFailure | null {
  if ("unchecked" in expected) return null;
  const values = "equals" in expected ? [expected.equals] : expected.anyOf;
  if (actual !== null && values.some((value) => equalBytes(value, actual))) return null;
  return fail(code, values.map(digest).join(" or "), actual === null ? "nothing" : digest(actual));
}

function appraiseAge(timestampMs: number, policy: AppraisalPolicy): AppraisalFailure | null {
  const { maxAgeMs, judgedAtMs } = policy;
  const ageMs = judgedAtMs - timestampMs;
  if (ageMs < -CLOCK_AHEAD_MS_MAX) {
    const expected = `a time at most ${CLOCK_AHEAD_MS_MAX} ms after ${judgedAtMs}`;
    return fail("TEE_DOCUMENT_STALE", expected, `${timestampMs}`);
  }
  if ("unchecked" in maxAgeMs || ageMs <= maxAgeMs.atMost) return null;
  return fail("TEE_DOCUMENT_STALE", `an age of at most ${maxAgeMs.atMost} ms`, `${ageMs} ms`);
}

function digest(bytes: Uint8Array): string {
  return `${bytes.length} bytes with SHA-256 ${hex(sha256(bytes))}`;
}

function fail(code: ErrorCode, expected: string, actual: string): AppraisalFailure {
  return { code, expected, actual };
}
