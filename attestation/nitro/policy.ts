import {
  emptyPolicy,
  expectedValues,
  malformedPolicy,
  verifyExpected,
  type Expected,
} from "../expected.ts";

/** What a Nitro document must say beside its measurement. Debug is refused whatever this says. */
export interface NitroExpectations {
  /** PCR 3: SHA-384 of the parent instance's role, 96 lower-case hex digits. */
  readonly pcr3: Expected<string>;
  /** PCR 8: SHA-384 of the certificate that signed the image, 96 lower-case hex digits; never all zero. */
  readonly pcr8: Expected<string>;
}

const PCR_HEX = /^[0-9a-f]{96}$/;

/**
 * Refuses expectations that say nothing or cannot be met.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function verifyNitroExpectations({ pcr3, pcr8 }: NitroExpectations): void {
  for (const [field, expected] of Object.entries({ pcr3, pcr8 })) {
    verifyExpected(field, expected);
    for (const value of expectedValues(expected) ?? []) {
      if (!PCR_HEX.test(value)) throw malformedPolicy(field, "96 lower-case hex digits");
      if (/^0+$/.test(value)) throw emptyPolicy(field);
    }
  }
}
