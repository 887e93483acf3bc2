import {
  emptyPolicy,
  expectedValues,
  malformedPolicy,
  verifyExpected,
  verifyExpectedBytes,
  type Expected,
} from "../expected.ts";
import { TD_ATTRIBUTES } from "./attributes.ts";
import type { TdAttributes } from "./claims.ts";
import type { TcbStatus } from "./tcb.ts";

/** A status that a policy may accept. */
export type AcceptableTcbStatus = Exclude<TcbStatus, "Revoked" | "NotSupported">;

/**
 * What a TDX quote must say beside its measurement.
 *
 * Whatever this says, debug, reserved attributes and the statuses Revoked and NotSupported are refused.
 */
export interface TdxExpectations {
  /** At least one. `["UpToDate"]` is the strict policy. */
  readonly tcbStatuses: readonly AcceptableTcbStatus[];
  /** The least TCB evaluation data number: collateral from before a TCB recovery is refused though it is current. */
  readonly tcbEvaluationDataNumber: { readonly atLeast: number } | { readonly unchecked: string };
  readonly attributes: Readonly<Record<keyof TdAttributes, Expected<boolean>>>;
  /** XFAM, 16 lower-case hex digits, as the quote has it (little endian). */
  readonly xfam: Expected<string>;
  /** Measurement of the TDX module, 96 lower-case hex digits. */
  readonly mrSeam: Expected<string>;
  /** What the host said of configuration and owner at start, 96 lower-case hex digits each. */
  readonly mrConfigId: Expected<string>;
  readonly mrOwner: Expected<string>;
  readonly mrOwnerConfig: Expected<string>;
  /** Service TDs bound to this one, such as a migration TD, 96 lower-case hex digits; a TDX 1.0 report has none. */
  readonly mrServiceTd: Expected<string>;
  /** REPORTDATA as it stands, for quotes that bind something else than `reportDataOf`. */
  readonly reportData: Expected<Uint8Array>;
}

const ACCEPTABLE: ReadonlySet<string> = new Set<AcceptableTcbStatus>([
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
]);
const XFAM_DIGITS = 16;
const MEASURE_DIGITS = 96;
const MEASURES = ["mrSeam", "mrConfigId", "mrOwner", "mrOwnerConfig", "mrServiceTd"] as const;

/**
 * Refuses expectations that say nothing or cannot be met.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function verifyTdxExpectations(expectations: TdxExpectations): void {
  const { tcbStatuses, tcbEvaluationDataNumber, attributes, xfam, reportData } = expectations;
  if (tcbStatuses.length === 0) throw emptyPolicy("tcbStatuses");
  for (const status of tcbStatuses) {
    if (!ACCEPTABLE.has(status)) throw malformedPolicy("tcbStatuses", "statuses to accept");
  }
  if ("unchecked" in tcbEvaluationDataNumber) {
    verifyExpected("tcbEvaluationDataNumber", tcbEvaluationDataNumber);
  } else if (!Number.isSafeInteger(tcbEvaluationDataNumber.atLeast)) {
    throw malformedPolicy("tcbEvaluationDataNumber", "a whole number");
  }
  for (const name of TD_ATTRIBUTES) verifyExpected(name, attributes[name]);
  verifyHex("xfam", xfam, XFAM_DIGITS);
  for (const name of MEASURES) verifyHex(name, expectations[name], MEASURE_DIGITS);
  verifyExpectedBytes("reportData", reportData);
}

function verifyHex(field: string, expected: Expected<string>, digits: number): void {
  verifyExpected(field, expected);
  for (const value of expectedValues(expected) ?? []) {
    if (value.length !== digits || !/^[0-9a-f]*$/.test(value)) {
      throw malformedPolicy(field, `${digits} lower-case hex digits`);
    }
  }
}
