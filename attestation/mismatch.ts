import { isoTime } from "./der-time.ts";
import { failure, type AppraisalFailure } from "./expected.ts";
import { registersOf, type AppraisalPolicy, type Measurement } from "./policy.ts";

const CODE = "TEE_MEASUREMENT_MISMATCH";

/**
 * Why `measurement` is not accepted, for the operator who has to find out: that it is listed, but for another time; or
 * else each register that differs from the reference value with the fewest that do. Never empty.
 */
export function describeMismatch(
  measurement: Measurement,
  { measurements, judgedAtMs }: AppraisalPolicy,
): readonly AppraisalFailure[] {
  const candidates = measurements.map((reference) => ({
    reference,
    differing: differingRegisters(measurement, reference),
  }));
  const windows = candidates
    .filter(({ differing }) => differing.length === 0)
    .map(({ reference: { validFromMs, validUntilMs } }) => window(validFromMs, validUntilMs));
  if (windows.length > 0) {
    const expected = `a time ${windows.join(" or ")}, when this measurement is accepted`;
    return [failure(CODE, { field: "measurement", expected, actual: isoTime(judgedAtMs) })];
  }
  const [nearest] = candidates.toSorted((a, b) => a.differing.length - b.differing.length);
  const nothing = { field: "measurement", expected: "a reference value", actual: "none" };
  return nearest?.differing ?? [failure(CODE, nothing)];
}

function differingRegisters(
  measurement: Measurement,
  reference: Measurement,
): readonly AppraisalFailure[] {
  const listed = new Map(registersOf(reference));
  return registersOf(measurement)
    .filter(([name, actual]) => listed.get(name) !== actual)
    .map(([name, actual]) =>
      failure(CODE, {
        field: name.toUpperCase(),
        expected: listed.get(name) ?? `a platform without ${name.toUpperCase()}`,
        actual: actual === "" ? "nothing" : actual,
      }),
    );
}

function window(validFromMs: number, validUntilMs: number): string {
  return `from ${isoTime(validFromMs)} until ${isoTime(validUntilMs)}`;
}
