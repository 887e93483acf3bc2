import { randomUUID } from "node:crypto";

import { SymphonyError, type ErrorClass } from "#protocol";

/** A problem as RFC 9457 spells it, with the SCP code and its public details. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly [fact: string]: unknown;
}

const STATUS: Readonly<Record<ErrorClass, number>> = {
  malformed: 400,
  verification: 403,
  appraisal: 403,
  refused: 403,
  conflict: 409,
  limit: 413,
  unavailable: 503,
};

const UNAUTHENTICATED = new Set([
  "AUTH_UNKNOWN_ACTOR",
  "AUTH_SIGNATURE_INVALID",
  "AUTH_TOKEN_INVALID",
  "PROOF_SIGNATURE_INVALID",
]);

/** Codes that say that something public is not there. */
const ABSENT = new Set([
  "EXECUTION_TASK_UNKNOWN",
  "GOVERNANCE_POLICY_UNKNOWN",
  "GOVERNANCE_PROPOSAL_UNKNOWN",
]);

function statusOf(error: SymphonyError): number {
  if (UNAUTHENTICATED.has(error.code)) return 401;
  if (ABSENT.has(error.code)) return 404;
  if (error.code === "POLICY_LIMIT_EXCEEDED") return 429;
  return STATUS[error.class];
}

/**
 * The one place where errors become HTTP.
 *
 * Anything that is no {@link SymphonyError} is a 500 with an opaque identifier; `report` gets the identifier and the
 * error, the caller the identifier alone.
 */
export function problemOf(error: unknown, report: (id: string, error: unknown) => void): Problem {
  if (error instanceof SymphonyError) {
    return {
      type: `urn:symphony:error:${error.code}`,
      title: error.code,
      status: statusOf(error),
      code: error.code,
      detail: error.message,
      ...publicDetails(error.details),
    };
  }
  const status = fastifyStatus(error);
  if (status !== undefined) {
    const code = status === 413 ? "SCHEMA_TOO_LARGE" : "SCHEMA_MALFORMED";
    return {
      type: `urn:symphony:error:${code}`,
      title: code,
      status,
      code,
      detail: status === 413 ? "body: expected a smaller one" : "body: expected a readable one",
    };
  }
  const id = randomUUID();
  report(id, error);
  return {
    type: "urn:symphony:error:INTERNAL_UNEXPECTED",
    title: "INTERNAL_UNEXPECTED",
    status: 500,
    code: "INTERNAL_UNEXPECTED",
    detail: `an unexpected error; its identifier is ${id}`,
    error_id: id,
  };
}

/** Details that JSON can carry; the reserved members of a problem stay as they are. */
function publicDetails(details: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const reserved = new Set(["type", "title", "status", "code", "detail"]);
  return Object.fromEntries(
    Object.entries(details).filter(
      ([name, value]) =>
        !reserved.has(name) && ["string", "number", "boolean"].includes(typeof value),
    ),
  );
}

/** Status of a request the server framework refused before a handler ran: body too large, unreadable or of no known type. */
function fastifyStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined;
  const { statusCode } = error;
  return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500
    ? statusCode
    : undefined;
}
