import { ATTESTATION_PLATFORMS, type AttestationPlatform } from "./anchor.ts";
import {
  emptyPolicy,
  malformedPolicy,
  verifyExpectedBytes,
  verifyOneForm,
  verifyReason,
  type Expected,
} from "./expected.ts";
import { verifyNitroExpectations, type NitroExpectations } from "./nitro/policy.ts";
import { verifySnpExpectations, type SnpExpectations } from "./snp/policy.ts";
import { verifyTdxExpectations, type TdxExpectations } from "./tdx/policy.ts";

/** What a Nitro image measures to: PCR 0, 1 and 2, each 96 lower-case hex digits (SHA-384). */
export interface NitroMeasurement {
  readonly pcr0: string;
  readonly pcr1: string;
  readonly pcr2: string;
}

/** What an SEV-SNP guest measures to at launch: MEASUREMENT, 96 lower-case hex digits. */
export interface SnpMeasurement {
  readonly measurement: string;
}

/** What a TDX guest measures to: MRTD and the four run-time registers, each 96 lower-case hex digits. */
export interface TdxMeasurement {
  readonly mrtd: string;
  readonly rtmr0: string;
  readonly rtmr1: string;
  readonly rtmr2: string;
  readonly rtmr3: string;
}

/** One of the three. The first register of each names the image: it is what revocation lists. */
export type Measurement = NitroMeasurement | SnpMeasurement | TdxMeasurement;

/** A measurement accepted from `validFromMs` up to, not including, `validUntilMs`. All registers must match it. */
export type ReferenceMeasurement = Measurement & {
  readonly validFromMs: number;
  readonly validUntilMs: number;
};

/**
 * What evidence must say to be accepted. Every field is required; debug is refused whatever it says.
 */
export interface AppraisalPolicy {
  /** At least one. */
  readonly platforms: readonly AttestationPlatform[];
  /** At least one. */
  readonly measurements: readonly ReferenceMeasurement[];
  /** First registers of images no longer accepted (PCR 0, MEASUREMENT, MRTD), lower-case hex; may be empty. */
  readonly revokedMeasurements: readonly string[];
  /**
   * Module ids, instance ids (which revoke every enclave of the instance), chip ids in hex, or TDX platform ids no
   * longer accepted; may be empty.
   */
  readonly revokedIdentities: readonly string[];
  readonly nonce: Expected<Uint8Array>;
  readonly userData: Expected<Uint8Array>;
  readonly publicKey: Expected<Uint8Array>;
  /** Greatest age at `judgedAtMs` by the platform's signed time, milliseconds. SNP and TDX sign none. */
  readonly maxAgeMs: { readonly atMost: number } | { readonly unchecked: string };
  /** The time at which reference values and age are judged, milliseconds since 1970. */
  readonly judgedAtMs: number;
  /** Each null where `platforms` has none of that kind, and only there. */
  readonly nitro: NitroExpectations | null;
  readonly snp: SnpExpectations | null;
  readonly tdx: TdxExpectations | null;
}

const REGISTER_HEX = /^[0-9a-f]{96}$/;
/** A Nitro instance or enclave, an SNP chip or VLEK, a TDX platform: in another form a revocation would match nothing. */
const IDENTITY =
  /^(?:i-[0-9a-f]{8,32}(?:-enc[0-9a-f]{16})?|[0-9a-f]{128}|vlek:[\x21-\x7e]{1,64}|[0-9a-f]{32})$/;
const REGISTER_SETS: readonly (readonly string[])[] = [
  ["pcr0", "pcr1", "pcr2"],
  ["measurement"],
  ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"],
];

/** The registers of a measurement by name, in the order of their definition. */
export function registersOf(measurement: Measurement): readonly (readonly [string, string])[] {
  const named = new Map<string, string | number>(Object.entries(measurement));
  const names = REGISTER_SETS.find(([first]) => first !== undefined && named.has(first)) ?? [];
  return names.map((name) => [name, `${named.get(name) ?? ""}`]);
}

/**
 * Refuses a policy that would accept anything by omission.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY for a field that is absent, an empty set, an expectation of zero bytes,
 * `unchecked` without a reason, or a platform without its expectations.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED for a value of the wrong form.
 */
export function verifyPolicy(policy: AppraisalPolicy): void {
  const { platforms, measurements, revokedMeasurements, revokedIdentities } = policy;
  const { nonce, userData, publicKey, maxAgeMs, judgedAtMs, nitro, snp, tdx } = policy;
  const sets = { platforms, measurements, revokedMeasurements, revokedIdentities };
  const others = { nonce, userData, publicKey, maxAgeMs, judgedAtMs, nitro, snp, tdx };
  const fields: Record<keyof AppraisalPolicy, unknown> = { ...sets, ...others };
  for (const [field, value] of Object.entries(fields)) {
    if (value === undefined) throw emptyPolicy(field);
  }
  if (platforms.length === 0) throw emptyPolicy("platforms");
  if (measurements.length === 0) throw emptyPolicy("measurements");
  for (const platform of platforms) {
    if (!ATTESTATION_PLATFORMS.includes(platform))
      throw malformedPolicy("platforms", "known names");
  }
  measurements.forEach(verifyReference);
  for (const register of revokedMeasurements) expectRegister("revokedMeasurements", register);
  for (const identity of revokedIdentities) {
    if (!IDENTITY.test(identity)) throw malformedPolicy("revokedIdentities", "identities");
  }
  verifyExpectedBytes("nonce", nonce);
  verifyExpectedBytes("userData", userData);
  verifyExpectedBytes("publicKey", publicKey);
  verifyOneForm("maxAgeMs", maxAgeMs);
  if ("atMost" in maxAgeMs) expectWhole("maxAgeMs", maxAgeMs.atMost);
  else verifyReason("maxAgeMs", maxAgeMs);
  expectWhole("judgedAtMs", judgedAtMs);
  verifySections(policy);
}

function verifySections({ platforms, nitro, snp, tdx }: AppraisalPolicy): void {
  const wanted = (names: readonly AttestationPlatform[]): boolean =>
    platforms.some((platform) => names.includes(platform));
  expectSection("nitro", nitro, wanted(["aws-nitro", "sim"]));
  expectSection("snp", snp, wanted(["amd-sev-snp"]));
  expectSection("tdx", tdx, wanted(["intel-tdx"]));
  if (nitro !== null) verifyNitroExpectations(nitro);
  if (snp !== null) verifySnpExpectations(snp);
  if (tdx !== null) verifyTdxExpectations(tdx);
}

function expectSection(field: string, section: object | null, wanted: boolean): void {
  if (section === null && wanted) throw emptyPolicy(field);
  if (section !== null && !wanted) throw malformedPolicy(field, "null without its platform");
}

function verifyReference(reference: ReferenceMeasurement): void {
  const registers = registersOf(reference);
  if (registers.length === 0) throw emptyPolicy("measurements");
  for (const [name, value] of registers) expectRegister(`measurements ${name}`, value);
  expectWhole("validFromMs", reference.validFromMs);
  expectWhole("validUntilMs", reference.validUntilMs);
}

function expectRegister(field: string, value: string): void {
  if (!REGISTER_HEX.test(value)) throw malformedPolicy(field, "96 lower-case hex digits");
}

function expectWhole(field: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw malformedPolicy(field, "a whole number from 0 on");
  }
}
