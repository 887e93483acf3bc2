/** The SCP error families (SCP core spec, part 8). Every code begins with one of them. */
export const ERROR_FAMILIES = [
  "SCHEMA",
  "VERSION",
  "AUTH",
  "CONSENT",
  "POLICY",
  "EXECUTION",
  "PROOF",
  "TEE",
  "VERIFY",
  "COORDINATION",
  "DERIVATION",
  "COMPOSITION",
  "PRIVACY_BUDGET",
  "SETTLEMENT",
  "REWARD",
  "PAYOUT",
  "DELIVERY",
  "GOVERNANCE",
  "INTERNAL",
] as const;

export type ErrorFamily = (typeof ERROR_FAMILIES)[number];

/** What a caller can do about an error. */
export const ERROR_CLASSES = [
  "malformed",
  "verification",
  "appraisal",
  "refused",
  "conflict",
  "limit",
  "unavailable",
] as const;

export type ErrorClass = (typeof ERROR_CLASSES)[number];

/** A code and the public facts beside it. Values are public: no secret, plaintext or record value. */
export interface ErrorDetails {
  readonly code: ErrorCode;
  readonly [fact: string]: unknown;
}

/**
 * The one base of every error Symphony throws on purpose.
 *
 * The class says what the caller can do, `code` what happened, `message` is for a person
 * (`subject: expected X, got Y`). `details` holds public facts only.
 */
export abstract class SymphonyError extends Error {
  abstract readonly class: ErrorClass;
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(details: ErrorDetails, message: string, options?: ErrorOptions) {
    super(message, options);
    const { code, ...facts } = details;
    this.name = new.target.name;
    this.code = code;
    this.details = facts;
  }
}

/** Bytes or JSON that do not have the expected shape. */
export class MalformedError extends SymphonyError {
  readonly class = "malformed";
}

/** A signature, proof, chain or binding that does not hold. */
export class VerificationError extends SymphonyError {
  readonly class = "verification";
}

/** Authentic claims that a policy does not accept. */
export class AppraisalError extends SymphonyError {
  readonly class = "appraisal";
}

/** A well-formed request that its receiver does not grant. */
export class RefusedError extends SymphonyError {
  readonly class = "refused";
}

/** A request at odds with the present state. */
export class ConflictError extends SymphonyError {
  readonly class = "conflict";
}

/** A bound on size, count or rate was exceeded. */
export class LimitError extends SymphonyError {
  readonly class = "limit";
}

/** Something needed cannot be reached now; trying again later can help. */
export class UnavailableError extends SymphonyError {
  readonly class = "unavailable";
}

import type { ErrorCode } from "./error-codes.ts";
export type { ErrorCode } from "./error-codes.ts";
