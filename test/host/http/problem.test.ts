import { expect, test } from "vitest";

import { problemOf } from "../../../host/http/problem.ts";
import {
  AppraisalError,
  ConflictError,
  LimitError,
  MalformedError,
  RefusedError,
  UnavailableError,
  VerificationError,
  type ErrorCode,
  type SymphonyError,
} from "../../../protocol/index.ts";

const unexpected = (): never => {
  throw new Error("expected no report");
};

interface Mapped {
  readonly code: ErrorCode;
  readonly error: new (details: { code: ErrorCode }, message: string) => SymphonyError;
  readonly status: number;
}

test.for<Mapped>([
  { code: "SCHEMA_ROW_MALFORMED", error: MalformedError, status: 400 },
  { code: "PROOF_COMMITMENT_MISMATCH", error: VerificationError, status: 403 },
  { code: "TEE_MEASUREMENT_MISMATCH", error: AppraisalError, status: 403 },
  { code: "POLICY_DECLINED", error: RefusedError, status: 403 },
  { code: "COORDINATION_CONFLICT", error: ConflictError, status: 409 },
  { code: "SCHEMA_TOO_LARGE", error: LimitError, status: 413 },
  { code: "POLICY_LIMIT_EXCEEDED", error: LimitError, status: 429 },
  { code: "DELIVERY_NOT_READY", error: UnavailableError, status: 503 },
  { code: "AUTH_UNKNOWN_ACTOR", error: RefusedError, status: 401 },
  { code: "AUTH_SIGNATURE_INVALID", error: RefusedError, status: 401 },
  { code: "AUTH_TOKEN_INVALID", error: RefusedError, status: 401 },
  { code: "PROOF_SIGNATURE_INVALID", error: VerificationError, status: 401 },
  { code: "EXECUTION_TASK_UNKNOWN", error: RefusedError, status: 404 },
])("[CB-2] $code of its class is $status, with its code", ({ code, error, status }) => {
  expect(problemOf(new error({ code }, "a: expected b, got c"), unexpected)).toEqual({
    type: `urn:symphony:error:${code}`,
    title: code,
    status,
    code,
    detail: "a: expected b, got c",
  });
});

test("public details come along as far as JSON carries them, and replace nothing", () => {
  const error = new MalformedError(
    {
      ...{ code: "SCHEMA_MALFORMED", field: "a", line: 3, ok: true },
      ...{ bytes: Uint8Array.of(1), list: [1], none: null },
      ...{ status: 200, detail: "all is well", type: "x", title: "y" },
    },
    "a: expected b",
  );
  expect(problemOf(error, unexpected)).toEqual({
    type: "urn:symphony:error:SCHEMA_MALFORMED",
    ...{
      title: "SCHEMA_MALFORMED",
      status: 400,
      code: "SCHEMA_MALFORMED",
      detail: "a: expected b",
    },
    ...{ field: "a", line: 3, ok: true },
  });
});

test.for([
  { statusCode: 413, code: "SCHEMA_TOO_LARGE" },
  { statusCode: 400, code: "SCHEMA_MALFORMED" },
  { statusCode: 415, code: "SCHEMA_MALFORMED" },
])("[CB-2] the framework's own $statusCode has a code", ({ statusCode, code }) => {
  const error = Object.assign(new Error("secret words"), { statusCode });
  const problem = problemOf(error, unexpected);
  expect(problem).toMatchObject({
    ...{ status: statusCode, code, title: code },
    type: `urn:symphony:error:${code}`,
  });
  expect(JSON.stringify(problem)).not.toContain("secret words");
});

test.for([
  { title: "a bug", error: new TypeError("secret words") },
  { title: "something thrown", error: "secret words" },
  {
    title: "a server's own failure",
    error: Object.assign(new Error("secret words"), { statusCode: 503 }),
  },
])(
  "$title is a 500 with an identifier that the operator gets too, and nothing else",
  ({ error }) => {
    const reports: [string, unknown][] = [];
    const problem = problemOf(error, (id, reported) => reports.push([id, reported]));
    expect(problem).toMatchObject({ status: 500, code: "INTERNAL_UNEXPECTED" });
    expect(JSON.stringify(problem)).not.toContain("secret words");
    expect(reports).toEqual([[problem["error_id"], error]]);
  },
);
