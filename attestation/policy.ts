import { AppraisalError, MalformedError } from "#protocol";

import { ATTESTATION_PLATFORMS, type AttestationPlatform } from "./anchor.ts";

/** What a field must be. There is no "unset"; "anything" is written with its reason. */
export type Expected<T> =
  { readonly equals: T } | { readonly anyOf: readonly T[] } | { readonly unchecked: string };

/** What an image measures to: PCR 0, 1 and 2, each 96 lower-case hex digits (SHA-384). */
export interface Measurement {
  readonly pcr0: string;
  readonly pcr1: string;
  readonly pcr2: string;
}

/** A measurement accepted from `validFromMs` up to, not including, `validUntilMs`. */
export interface ReferenceMeasurement extends Measurement {
  readonly validFromMs: number;
  readonly validUntilMs: number;
}

/**
 * What evidence must say to be accepted. Every field is required; debug enclaves are refused whatever it says.
 */
export interface AppraisalPolicy {
  /** At least one. */
  readonly platforms: readonly AttestationPlatform[];
  /** At least one. PCR 0, 1 and 2 must all match the same entry. */
  readonly measurements: readonly ReferenceMeasurement[];
  /** PCR 0 of images no longer accepted, lower-case hex; may be empty. */
  readonly revokedMeasurements: readonly string[];
  /** Module ids no longer accepted, or instance ids, which revoke every enclave of that instance; may be empty. */
  readonly revokedModuleIds: readonly string[];
  readonly nonce: Expected<Uint8Array>;
  readonly userData: Expected<Uint8Array>;
  readonly publicKey: Expected<Uint8Array>;
  /** Greatest age of the document at `judgedAtMs`, milliseconds. */
  readonly maxAgeMs: { readonly atMost: number } | { readonly unchecked: string };
  /** The time at which reference values and age are judged, milliseconds since 1970. */
  readonly judgedAtMs: number;
}

const PCR_HEX = /^[0-9a-f]{96}$/;

/**
 * Refuses a policy that would accept anything by omission.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY for an empty set, an expectation of zero bytes, or
 * `unchecked` without a reason.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED for a value of the wrong form.
 */
export function verifyPolicy(policy: AppraisalPolicy): void {
  const { platforms, measurements, revokedMeasurements, revokedModuleIds } = policy;
  const { nonce, userData, publicKey, maxAgeMs, judgedAtMs } = policy;
  if (platforms.length === 0) throw empty("platforms");
  if (measurements.length === 0) throw empty("measurements");
  for (const platform of platforms) {
    if (!ATTESTATION_PLATFORMS.includes(platform)) throw malformed("platforms", "known names");
  }
  measurements.forEach(verifyReference);
  for (const pcr of revokedMeasurements) expectPcrHex("revokedMeasurements", pcr);
  if (revokedModuleIds.includes("")) throw malformed("revokedModuleIds", "non-empty text");
  verifyExpected("nonce", nonce);
  verifyExpected("userData", userData);
  verifyExpected("publicKey", publicKey);
  if ("atMost" in maxAgeMs) expectWhole("maxAgeMs", maxAgeMs.atMost);
  else if (maxAgeMs.unchecked === "") throw empty("maxAgeMs");
  expectWhole("judgedAtMs", judgedAtMs);
}

function verifyReference(reference: ReferenceMeasurement): void {
  const { pcr0, pcr1, pcr2, validFromMs, validUntilMs } = reference;
  for (const pcr of [pcr0, pcr1, pcr2]) expectPcrHex("measurements", pcr);
  expectWhole("validFromMs", validFromMs);
  expectWhole("validUntilMs", validUntilMs);
}

function verifyExpected(field: string, expected: Expected<Uint8Array>): void {
  if ("unchecked" in expected) {
    if (expected.unchecked === "") throw empty(field);
    return;
  }
  const values = "equals" in expected ? [expected.equals] : expected.anyOf;
  if (values.length === 0 || values.some((value) => value.length === 0)) throw empty(field);
}

function expectPcrHex(field: string, value: string): void {
  if (!PCR_HEX.test(value)) throw malformed(field, "96 lower-case hex digits");
}

function expectWhole(field: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw malformed(field, "a whole number from 0 on");
}

function empty(field: string): AppraisalError {
  return new AppraisalError(
    { code: "TEE_POLICY_EMPTY", field },
    `policy ${field}: expected at least one value or a reason, got none`,
  );
}

function malformed(field: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `policy ${field}: expected ${expected}, got another value`,
  );
}
