import {
  appraisalFailures,
  type AppraisalFailure,
  type AppraisalPolicy,
  type VerifiedEvidence,
} from "#attestation";
import { hex, sha256, type ErrorCode } from "#protocol";

import { date, duration } from "./view.ts";

/** What a policy says of one thing: `null` when it does not judge it. */
export interface PolicyCheck {
  /** The path in the policy file, or what is judged whatever it says. */
  readonly check: string;
  readonly ok: boolean | null;
  /** Set when it does not hold. */
  readonly code: ErrorCode | null;
  readonly expected: string;
  /** Set when it does not hold. */
  readonly actual: string | null;
}

const BYTES_SHOWN_MAX = 64;
const UNCHECKED = { unchecked: "left out to see what depends on it" };

/**
 * Each thing that `policy` judges of `evidence`, with what it expects and what came. The decision is
 * `appraisalFailures`'; which failures belong to an expectation is found by leaving that expectation out.
 *
 * @throws as `appraisalFailures`
 */
export function policyChecks(
  evidence: VerifiedEvidence,
  policy: AppraisalPolicy,
): readonly PolicyCheck[] {
  const failures = appraisalFailures(evidence, policy);
  const left = new Set(failures.map(keyOf));
  const checks: PolicyCheck[] = [];
  for (const { path, value } of expectationsOf(policy, [])) {
    if (isOfAnotherFormat(path, evidence)) continue;
    if ("unchecked" in value) {
      const expected = `not judged: ${String(value["unchecked"])}`;
      checks.push({ check: path.join("."), ok: null, code: null, expected, actual: null });
      continue;
    }
    const others = appraisalFailures(evidence, withoutExpectation(policy, path));
    const still = new Set(others.map(keyOf));
    const own = failures.filter((failure) => !still.has(keyOf(failure)));
    for (const failure of own) left.delete(keyOf(failure));
    checks.push(...checksOf(path.join("."), { value, own, evidence, policy }));
  }
  const rest = failures.filter((failure) => left.has(keyOf(failure)));
  return [...fixedChecks(evidence, policy, rest), ...checks];
}

interface Judged {
  readonly value: Readonly<Record<string, unknown>>;
  readonly own: readonly AppraisalFailure[];
  readonly evidence: VerifiedEvidence;
  readonly policy: AppraisalPolicy;
}

function checksOf(check: string, { value, own, evidence, policy }: Judged): readonly PolicyCheck[] {
  if (own.length === 0) {
    const age = check === "maxAgeMs" ? ageOf(evidence, policy) : null;
    const expected = describeExpectation(check, value) + (age === null ? "" : `; it is ${age}`);
    return [{ check, ok: true, code: null, expected, actual: null }];
  }
  return own.map((failure) => {
    const bytes = boundBytes(check, evidence);
    const expected = describeExpectation(check, value);
    const actual = bytes ?? (check === "maxAgeMs" ? ageOf(evidence, policy) : null);
    const name = own.length > 1 ? `${check} (${failure.field})` : check;
    return {
      check: name,
      ok: false,
      code: failure.code,
      expected,
      actual: actual ?? failure.actual,
    };
  });
}

const SECTIONS: readonly string[] = ["nitro", "snp", "tdx"];

function isOfAnotherFormat([name = ""]: readonly string[], { claims }: VerifiedEvidence): boolean {
  return SECTIONS.includes(name) && name !== claims.format;
}

/** What is judged whatever the policy says of its expectations; and every failure that none of those explains. */
function fixedChecks(
  evidence: VerifiedEvidence,
  policy: AppraisalPolicy,
  failures: readonly AppraisalFailure[],
): readonly PolicyCheck[] {
  const { platforms, revokedIdentities, revokedMeasurements } = policy;
  const fixed: readonly (readonly [ErrorCode, string, string])[] = [
    ["TEE_PLATFORM_REFUSED", "platforms", platforms.join(" or ")],
    ["TEE_DEBUG_REFUSED", "debug", "a production enclave or guest"],
    ["TEE_PLATFORM_REVOKED", "revokedIdentities", `none of ${revokedIdentities.length} listed`],
    [
      "TEE_MEASUREMENT_REVOKED",
      "revokedMeasurements",
      `none of ${revokedMeasurements.length} listed`,
    ],
    ["TEE_MEASUREMENT_MISMATCH", "measurements", `one of ${policy.measurements.length} listed`],
    ...identity(evidence),
    ...tcbStatuses(evidence, policy),
  ];
  const holding = fixed
    .filter(([code]) => !failures.some((failure) => failure.code === code))
    .map(([, check, expected]): PolicyCheck => ({
      check,
      ok: true,
      code: null,
      expected,
      actual: null,
    }));
  return [
    ...holding,
    ...failures.map((failure) =>
      failure.code === "TEE_MEASUREMENT_MISMATCH"
        ? asCheck(failure, nameOfMeasurement(failure))
        : asCheck(failure, fixed.find(([code]) => code === failure.code)?.[1]),
    ),
  ];
}

function identity({ claims }: VerifiedEvidence): readonly (readonly [ErrorCode, string, string])[] {
  if (claims.format !== "nitro") return [];
  return [["TEE_IDENTITY_MISMATCH", "module_id", "an enclave's, and PCR4 is of its instance"]];
}

/** The one set of a section: statuses that are no expectation each. */
function tcbStatuses(
  { claims }: VerifiedEvidence,
  { tdx }: AppraisalPolicy,
): readonly (readonly [ErrorCode, string, string])[] {
  if (claims.format !== "tdx" || tdx === null) return [];
  return [["TEE_TCB_REFUSED", "tdx.tcbStatuses", tdx.tcbStatuses.join(" or ")]];
}

/** A register that differs, or the whole when its time does. */
function nameOfMeasurement({ field }: AppraisalFailure): string {
  return field === "measurement" ? "measurements" : `measurements ${field}`;
}

function asCheck({ code, field, expected, actual }: AppraisalFailure, name?: string): PolicyCheck {
  return { check: name ?? field, ok: false, code, expected, actual };
}

interface Expectation {
  readonly path: readonly string[];
  readonly value: Readonly<Record<string, unknown>>;
}

const FORMS = ["equals", "anyOf", "atLeast", "atMost", "unchecked"] as const;

/** Every expectation of a policy, wherever it stands. */
function expectationsOf(node: object, path: readonly string[]): readonly Expectation[] {
  const entries = Object.entries(node).map(([name, value]: [string, unknown]) => ({ name, value }));
  if (path.length > 0 && entries.length === 1 && FORMS.some((form) => entries[0]?.name === form)) {
    return [{ path, value: Object.fromEntries(entries.map(({ name, value }) => [name, value])) }];
  }
  return entries.flatMap(({ name, value }) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? expectationsOf(value, [...path, name])
      : [],
  );
}

/** `node` with the expectation at `path` left out. */
function withoutExpectation<T extends object>(node: T, [name = "", ...rest]: readonly string[]): T {
  const inner: unknown = new Map(Object.entries(node)).get(name);
  const isLast = rest.length === 0 || typeof inner !== "object" || inner === null;
  return { ...node, [name]: isLast ? UNCHECKED : withoutExpectation(inner, rest) };
}

function describeExpectation(check: string, value: Readonly<Record<string, unknown>>): string {
  const { equals, anyOf, atLeast, atMost } = value;
  if (atLeast !== undefined) return `at least ${describe(atLeast)}`;
  if (atMost !== undefined) {
    return check === "maxAgeMs"
      ? `at most ${duration(Number(atMost))}`
      : `at most ${describe(atMost)}`;
  }
  if (Array.isArray(anyOf)) return anyOf.map(describe).join(" or ");
  return describe(equals);
}

function describe(value: unknown): string {
  if (value instanceof Uint8Array) return describeBytes(value);
  if (typeof value === "object" && value !== null) {
    const parts = Object.entries(value).filter(([, part]) => part !== null);
    return parts.map(([name, part]) => `${name} ${String(part)}`).join(" ");
  }
  return String(value);
}

function describeBytes(bytes: Uint8Array): string {
  return bytes.length <= BYTES_SHOWN_MAX
    ? hex(bytes)
    : `${bytes.length} bytes with SHA-256 ${hex(sha256(bytes))}`;
}

function boundBytes(check: string, evidence: VerifiedEvidence): string | null {
  const bound = {
    nonce: evidence.nonce,
    userData: evidence.userData,
    publicKey: evidence.publicKey,
  };
  const bytes = new Map(Object.entries(bound)).get(check);
  if (bytes === undefined) return null;
  return bytes === null ? "none" : describeBytes(bytes) || "0 bytes";
}

function ageOf({ timestampMs }: VerifiedEvidence, { judgedAtMs }: AppraisalPolicy): string | null {
  if (timestampMs === null) return null;
  return `${duration(judgedAtMs - timestampMs)}, signed ${date(timestampMs)}, judged at ${date(judgedAtMs)}`;
}

function keyOf({ code, field, expected }: AppraisalFailure): string {
  return [code, field, expected].join("\n");
}
