import { VerificationError } from "../errors.ts";

/** Refuses an event of which `field` is not as it must be. @throws VerificationError GOVERNANCE_EVENT_INVALID */
export function require(holds: boolean, field: string, expected: string, got: string): void {
  if (!holds) throw eventFault(field, expected, got);
}

/** What an event is refused with that does not follow from the state: the field at fault, never more. */
export function eventFault(field: string, expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "GOVERNANCE_EVENT_INVALID", field, expected, actual: got },
    `governance event ${field}: expected ${expected}, got ${got}`,
  );
}
