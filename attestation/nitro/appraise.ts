import { equalBytes, hex, sha384, utf8 } from "#protocol";

import { appraiseValue, failure, type AppraisalFailure } from "../expected.ts";
import type { NitroClaims } from "./claims.ts";
import type { NitroExpectations } from "./policy.ts";

const PCR_BYTES = 48;
const ZERO_PCR = "00".repeat(PCR_BYTES);

/**
 * Judges what only a Nitro document says: debug, identity, role and signer. Reports every failure.
 *
 * Debug enclaves are those with PCR 0, 1 or 2 zero (PCR 4 never is); no policy accepts one. PCR 4 must be the
 * measurement of the instance id in `module_id`, which must be an enclave's.
 *
 * @see AWS user guide, "Where to get an enclave's measurements" (debug mode)
 */
export function appraiseNitro(
  claims: NitroClaims,
  { pcr3, pcr8 }: NitroExpectations,
): readonly (AppraisalFailure | null)[] {
  const pcr = (index: number): string | null => {
    const value = claims.pcrs.get(index);
    return value === undefined ? null : hex(value);
  };
  return [
    appraiseDebug([0, 1, 2].map(pcr)),
    appraiseIdentity(claims),
    appraiseValue({ code: "TEE_CONFIGURATION_REFUSED", field: "PCR3" }, pcr3, pcr(3)),
    appraiseValue({ code: "TEE_CONFIGURATION_REFUSED", field: "PCR8" }, pcr8, pcr(8)),
  ];
}

function appraiseDebug(pcrs: readonly (string | null)[]): AppraisalFailure | null {
  const zero = pcrs.indexOf(ZERO_PCR);
  if (zero < 0) return null;
  return failure("TEE_DEBUG_REFUSED", {
    field: `PCR${zero}`,
    expected: `PCR${zero} of a production enclave`,
    actual: "zero (debug mode)",
  });
}

function appraiseIdentity({ moduleId, pcrs }: NitroClaims): AppraisalFailure | null {
  const code = "TEE_IDENTITY_MISMATCH";
  const match = /^(i-[0-9a-f]{8,32})-enc[0-9a-f]{16}$/.exec(moduleId);
  const instanceId = match?.[1];
  if (instanceId === undefined) {
    return failure(code, {
      field: "module_id",
      expected: "an enclave's module_id",
      actual: moduleId,
    });
  }
  const expected = sha384(new Uint8Array(PCR_BYTES), utf8(instanceId));
  const actual = pcrs.get(4) ?? new Uint8Array(0);
  if (equalBytes(actual, expected)) return null;
  return failure(code, {
    field: "PCR4",
    expected: `PCR4 ${hex(expected)} of ${instanceId}`,
    actual: hex(actual),
  });
}
