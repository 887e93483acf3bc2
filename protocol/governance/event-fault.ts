import { VerificationError } from "../errors.ts";

/** What an event is refused with that does not follow from the state: the field at fault, never more. */
export function eventFault(field: string, expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "GOVERNANCE_EVENT_INVALID", field, expected, actual: got },
    `governance event ${field}: expected ${expected}, got ${got}`,
  );
}
