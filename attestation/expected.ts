import { AppraisalError, MalformedError, equalBytes, hex, sha256, type ErrorCode } from "#protocol";

/** What a field must be. There is no "unset"; "anything" is written with its reason. */
export type Expected<T> =
  { readonly equals: T } | { readonly anyOf: readonly T[] } | { readonly unchecked: string };

/** One reason why evidence was not accepted. Values are public: full registers, digests of other fields. */
export interface AppraisalFailure {
  readonly code: ErrorCode;
  /** The field judged, as the evidence or the policy spells it. */
  readonly field: string;
  readonly expected: string;
  readonly actual: string;
}

/** Makes one failure. */
export function failure(
  code: ErrorCode,
  { field, expected, actual }: { field: string; expected: string; actual: string },
): AppraisalFailure {
  return { code, field, expected, actual };
}

/** The values `expected` lists, or null when it is unchecked. */
export function expectedValues<T>(expected: Expected<T>): readonly T[] | null {
  if ("unchecked" in expected) return null;
  return "equals" in expected ? [expected.equals] : expected.anyOf;
}

/** Judges bytes: compared whole and in constant time; an absent field never matches. Only digests are reported. */
export function appraiseBytes(
  { code, field }: { readonly code: ErrorCode; readonly field: string },
  expected: Expected<Uint8Array>,
  actual: Uint8Array | null,
): AppraisalFailure | null {
  const values = expectedValues(expected);
  if (values === null) return null;
  if (actual !== null && values.some((value) => equalBytes(value, actual))) return null;
  return failure(code, {
    field,
    expected: values.map(describeBytes).join(" or "),
    actual: actual === null ? "nothing" : describeBytes(actual),
  });
}

/** Judges a value with a public, exact form: text, number or boolean. An absent value never matches. */
export function appraiseValue<T extends string | number | boolean | bigint>(
  { code, field }: { readonly code: ErrorCode; readonly field: string },
  expected: Expected<T>,
  actual: T | null,
): AppraisalFailure | null {
  const values = expectedValues(expected);
  if (values === null || (actual !== null && values.includes(actual))) return null;
  return failure(code, {
    field,
    expected: values.join(" or "),
    actual: actual === null ? "nothing" : String(actual),
  });
}

/**
 * Refuses an expectation that says nothing, or says it in two ways of which only one would count.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY for no values or `unchecked` without a reason.
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function verifyExpected<T>(field: string, expected: Expected<T>): void {
  verifyOneForm(field, expected);
  if ("unchecked" in expected) verifyReason(field, expected);
  if (expectedValues(expected)?.length === 0) throw emptyPolicy(field);
}

/**
 * Refuses an expectation that is not judged and does not say why.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY
 */
export function verifyReason(field: string, { unchecked }: { readonly unchecked: string }): void {
  if (typeof unchecked !== "string" || unchecked.trim() === "") throw emptyPolicy(field);
}

/**
 * Refuses an expectation in no form or several: `{ equals, unchecked }` compiles.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function verifyOneForm(field: string, expected: object | undefined): void {
  if (Object.keys(expected ?? {}).length !== 1)
    throw malformedPolicy(field, "one form of expectation");
}

/** As {@link verifyExpected}, for bytes, where zero bytes say nothing either. */
export function verifyExpectedBytes(field: string, expected: Expected<Uint8Array>): void {
  verifyExpected(field, expected);
  if (expectedValues(expected)?.some((value) => value.length === 0)) throw emptyPolicy(field);
}

/** The error for a policy field that says nothing: TEE_POLICY_EMPTY. */
export function emptyPolicy(field: string): AppraisalError {
  return new AppraisalError(
    { code: "TEE_POLICY_EMPTY", field },
    `policy ${field}: expected at least one value or a reason, got none`,
  );
}

/** The error for a policy field of the wrong form: SCHEMA_CONFIG_MALFORMED. */
export function malformedPolicy(field: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_CONFIG_MALFORMED", field },
    `policy ${field}: expected ${expected}, got another value`,
  );
}

function describeBytes(bytes: Uint8Array): string {
  return `${bytes.length} bytes with SHA-256 ${hex(sha256(bytes))}`;
}
