import { AppraisalError } from "#protocol";

import { isoTime } from "./der-time.ts";
import type { VerifiedEvidence } from "./evidence.ts";
import { appraiseBytes, failure, type AppraisalFailure } from "./expected.ts";
import { describeMismatch } from "./mismatch.ts";
import { appraiseNitro } from "./nitro/appraise.ts";
import { registersOf, verifyPolicy, type AppraisalPolicy, type Measurement } from "./policy.ts";
import { reportOf, type AttestationReport } from "./report.ts";
import { appraiseSnp } from "./snp/appraise.ts";
import { appraiseTdx } from "./tdx/appraise.ts";

/** How far a platform's clock may run ahead of ours: 30 s. A document from later than that is refused. */
export const CLOCK_AHEAD_MS_MAX = 30_000;

/**
 * Appraises authentic evidence against `policy`; runs every check and reports every failure.
 *
 * @returns The report to archive: evidence, endorsements, collateral, and what they say.
 * @throws {@link AppraisalError} with the first failure's code, all of them in `details.failures`:
 * TEE_PLATFORM_REFUSED, TEE_DEBUG_REFUSED, TEE_IDENTITY_MISMATCH, TEE_CONFIGURATION_REFUSED, TEE_TCB_REFUSED,
 * TEE_PLATFORM_REVOKED, TEE_MEASUREMENT_REVOKED, TEE_MEASUREMENT_MISMATCH, TEE_NONCE_MISMATCH,
 * TEE_USER_DATA_MISMATCH, TEE_PUBLIC_KEY_MISMATCH, TEE_REPORT_DATA_MISMATCH, TEE_DOCUMENT_STALE; or
 * TEE_POLICY_EMPTY.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 * @see RFC 9334 § 4 (appraisal)
 */
export function appraiseEvidence(
  evidence: VerifiedEvidence,
  policy: AppraisalPolicy,
): AttestationReport {
  const failures = appraisalFailures(evidence, policy);
  const [first] = failures;
  if (first !== undefined) {
    throw new AppraisalError(
      { code: first.code, failures },
      `evidence ${first.field}: expected ${first.expected}, got ${first.actual}`,
    );
  }
  return reportOf(evidence);
}

/**
 * All reasons why `policy` does not accept `evidence`; none when it does.
 *
 * @throws as {@link appraiseEvidence} for a policy that cannot be used.
 */
export function appraisalFailures(
  evidence: VerifiedEvidence,
  policy: AppraisalPolicy,
): readonly AppraisalFailure[] {
  verifyPolicy(policy);
  const { nonce, userData, publicKey } = policy;
  return [
    appraisePlatform(evidence, policy),
    ...appraiseClaims(evidence, policy),
    appraiseRevokedIdentity(evidence, policy),
    appraiseRevokedMeasurement(evidence, policy),
    ...(appraiseMeasurement(evidence, policy) ?? []),
    appraiseBytes({ code: "TEE_NONCE_MISMATCH", field: "nonce" }, nonce, evidence.nonce),
    appraiseBytes(
      { code: "TEE_USER_DATA_MISMATCH", field: "user_data" },
      userData,
      evidence.userData,
    ),
    appraiseBytes(
      { code: "TEE_PUBLIC_KEY_MISMATCH", field: "public_key" },
      publicKey,
      evidence.publicKey,
    ),
    appraiseAge(evidence.timestampMs, policy),
  ].filter((each) => each !== null);
}

function appraisePlatform(
  { platform }: VerifiedEvidence,
  { platforms }: AppraisalPolicy,
): AppraisalFailure | null {
  if (platforms.includes(platform)) return null;
  const expected = `platform ${platforms.join(" or ")}`;
  return failure("TEE_PLATFORM_REFUSED", { field: "platform", expected, actual: platform });
}

/** Evidence without expectations of its kind has been refused by its platform already. */
function appraiseClaims(
  { claims }: VerifiedEvidence,
  { nitro, snp, tdx }: AppraisalPolicy,
): readonly (AppraisalFailure | null)[] {
  switch (claims.format) {
    case "nitro":
      return nitro === null ? [] : appraiseNitro(claims, nitro);
    case "snp":
      return snp === null ? [] : appraiseSnp(claims, snp);
    case "tdx":
      return tdx === null ? [] : appraiseTdx(claims, tdx);
  }
}

function appraiseRevokedIdentity(
  { identity }: VerifiedEvidence,
  { revokedIdentities }: AppraisalPolicy,
): AppraisalFailure | null {
  const instanceId = identity.split("-enc")[0] ?? identity;
  if (!revokedIdentities.includes(identity) && !revokedIdentities.includes(instanceId)) return null;
  const expected = "an identity that is not revoked";
  return failure("TEE_PLATFORM_REVOKED", { field: "identity", expected, actual: identity });
}

function appraiseRevokedMeasurement(
  { measurement }: VerifiedEvidence,
  { revokedMeasurements }: AppraisalPolicy,
): AppraisalFailure | null {
  const [[field, actual] = ["measurement", ""]] = registersOf(measurement);
  if (!revokedMeasurements.includes(actual)) return null;
  const expected = `${field} that is not revoked`;
  return failure("TEE_MEASUREMENT_REVOKED", { field, expected, actual });
}

function appraiseMeasurement(
  { measurement }: VerifiedEvidence,
  policy: AppraisalPolicy,
): readonly AppraisalFailure[] | null {
  const { measurements, judgedAtMs } = policy;
  const current = measurements.filter(
    ({ validFromMs, validUntilMs }) => validFromMs <= judgedAtMs && judgedAtMs < validUntilMs,
  );
  const actual = describe(measurement);
  const accepted = current.map(describe);
  if (accepted.includes(actual)) return null;
  return describeMismatch(measurement, policy);
}

/** Injective: names are fixed and values hex, so equal text is equal measurements. */
function describe(measurement: Measurement): string {
  return registersOf(measurement)
    .map(([name, value]) => `${name.toUpperCase()} ${value}`)
    .join(" ");
}

function appraiseAge(timestampMs: number | null, policy: AppraisalPolicy): AppraisalFailure | null {
  const { maxAgeMs, judgedAtMs } = policy;
  const stale = (expected: string, actual: string): AppraisalFailure =>
    failure("TEE_DOCUMENT_STALE", { field: "timestamp", expected, actual });
  if (timestampMs === null) {
    return "unchecked" in maxAgeMs ? null : stale("a time signed by the platform", "none");
  }
  const ageMs = judgedAtMs - timestampMs;
  if (ageMs < -CLOCK_AHEAD_MS_MAX) {
    const latest = `a time at most ${CLOCK_AHEAD_MS_MAX} ms after ${isoTime(judgedAtMs)}`;
    return stale(latest, isoTime(timestampMs));
  }
  if ("unchecked" in maxAgeMs || ageMs <= maxAgeMs.atMost) return null;
  return stale(
    `an age of at most ${maxAgeMs.atMost} ms at ${isoTime(judgedAtMs)}`,
    `${ageMs} ms, signed at ${isoTime(timestampMs)}`,
  );
}
