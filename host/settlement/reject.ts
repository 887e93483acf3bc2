import {
  AppraisalError,
  VerificationError,
  encodeCbor,
  equalBytes,
  type CborValue,
  type ErrorCode,
} from "#protocol";

/** A result that verification does not accept. Facts are public commitments and counts. */
export function rejected(subject: string, expected: string, got: string): AppraisalError {
  return new AppraisalError(
    { code: "VERIFY_RESULT_REJECTED", subject, expected, got },
    `${subject}: expected ${expected}, got ${got}`,
  );
}

/**
 * Refuses two values that differ in their canonical bytes.
 *
 * @throws {@link VerificationError} with `code`, PROOF_COMMITMENT_MISMATCH unless given, naming `subject`.
 */
export function expectSame(
  subject: string,
  expected: CborValue,
  actual: CborValue,
  code: ErrorCode = "PROOF_COMMITMENT_MISMATCH",
): void {
  if (equalBytes(encodeCbor(expected), encodeCbor(actual))) return;
  throw new VerificationError(
    { code, subject },
    `${subject}: expected the value it is bound to, got another`,
  );
}

/**
 * Refuses pairs of values that differ; each is named after `subject`.
 *
 * @throws VerificationError PROOF_COMMITMENT_MISMATCH for the first that does.
 */
export function expectAllSame(
  subject: string,
  pairs: Readonly<Record<string, readonly [expected: CborValue, actual: CborValue]>>,
): void {
  for (const [field, [expected, actual]] of Object.entries(pairs)) {
    expectSame(`${subject} ${field}`, expected, actual);
  }
}

/** Refuses `condition` that does not hold. @throws AppraisalError VERIFY_RESULT_REJECTED */
export function expectThat(
  condition: boolean,
  fault: { readonly subject: string; readonly expected: string; readonly got: string },
): void {
  if (!condition) throw rejected(fault.subject, fault.expected, fault.got);
}

/** The value at `key`, which must be there. @throws AppraisalError VERIFY_RESULT_REJECTED */
export function required<T>(value: T | undefined | null, subject: string): T {
  if (value === undefined || value === null) throw rejected(subject, "it to be there", "none");
  return value;
}
