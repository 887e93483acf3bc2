import type { ErrorCode } from "#protocol";

import { appraiseBytes, appraiseValue, failure, type AppraisalFailure } from "../expected.ts";
import type { SnpClaims } from "./claims.ts";
import {
  GUEST_POLICY_BITS,
  PLATFORM_INFO_BITS,
  type Minimum,
  type SnpExpectations,
} from "./policy.ts";
import { SNP_PRODUCT_LINES } from "./product.ts";
import type { SnpTcb } from "./tcb.ts";

type Failures = readonly (AppraisalFailure | null)[];

const REFUSED = "TEE_CONFIGURATION_REFUSED";

/**
 * Judges what only an SEV-SNP report says. Reports every failure. No policy accepts a guest that may be debugged.
 *
 * @see AMD publication 56860 § 4.3 (guest policy), Table 23 (report)
 */
export function appraiseSnp(claims: SnpClaims, expectations: SnpExpectations): Failures {
  return [
    appraiseDebug(claims),
    ...appraiseProductLine(claims, expectations),
    ...appraiseVersions(claims, expectations),
    ...appraiseGuestPolicy(claims, expectations),
    ...appraisePlatformInfo(claims, expectations),
    ...appraiseSigner(claims, expectations),
    ...appraiseOwner(claims, expectations),
  ];
}

function appraiseDebug({ guestPolicy }: SnpClaims): AppraisalFailure | null {
  if (!guestPolicy.debugAllowed) return null;
  return failure("TEE_DEBUG_REFUSED", {
    field: "policy DEBUG",
    expected: "a guest that may not be debugged",
    actual: "set",
  });
}

/** A product line without a minimum is not accepted; with one, each of the four TCB versions must reach it. */
function appraiseProductLine(claims: SnpClaims, { productLines }: SnpExpectations): Failures {
  const { productLine, currentTcb, reportedTcb, committedTcb, launchTcb } = claims;
  const minimum = productLines[productLine];
  if (minimum === null) {
    const expected = SNP_PRODUCT_LINES.filter((line) => productLines[line] !== null).join(" or ");
    return [failure(REFUSED, { field: "product line", expected, actual: productLine })];
  }
  if ("unchecked" in minimum) return [];
  return [
    appraiseTcb("current_tcb", minimum.atLeast, currentTcb),
    appraiseTcb("reported_tcb", minimum.atLeast, reportedTcb),
    appraiseTcb("committed_tcb", minimum.atLeast, committedTcb),
    appraiseTcb("launch_tcb", minimum.atLeast, launchTcb),
  ];
}

/** Levels count one by one: a newer component does not make up for an older one. */
function appraiseTcb(field: string, minimum: SnpTcb, actual: SnpTcb): AppraisalFailure | null {
  const isReached =
    (actual.fmc ?? 0) >= (minimum.fmc ?? 0) &&
    actual.bootloader >= minimum.bootloader &&
    actual.tee >= minimum.tee &&
    actual.snp >= minimum.snp &&
    actual.microcode >= minimum.microcode;
  if (isReached) return null;
  return failure("TEE_TCB_REFUSED", {
    field,
    expected: `at least ${describeTcb(minimum)}`,
    actual: describeTcb(actual),
  });
}

function describeTcb({ fmc, bootloader, tee, snp, microcode }: SnpTcb): string {
  const first = fmc === null ? "" : `fmc ${fmc} `;
  return `${first}bootloader ${bootloader} tee ${tee} snp ${snp} microcode ${microcode}`;
}

function appraiseVersions(
  claims: SnpClaims,
  { firmware, abi, guestSvn }: SnpExpectations,
): Failures {
  const { abiMajor: major, abiMinor: minor } = claims.guestPolicy;
  return [
    appraiseMinimum({ code: "TEE_TCB_REFUSED", field: "committed version" }, firmware, {
      actual: claims.committedFirmware,
      parts: (version) => [version.major, version.minor, version.build],
    }),
    appraiseMinimum({ code: REFUSED, field: "policy ABI" }, abi, {
      actual: { major, minor },
      parts: (version) => [version.major, version.minor],
    }),
    appraiseMinimum({ code: REFUSED, field: "guest_svn" }, guestSvn, {
      actual: claims.guestSvn,
      parts: (version) => [version],
    }),
  ];
}

function appraiseMinimum<T>(
  { code, field }: { readonly code: ErrorCode; readonly field: string },
  minimum: Minimum<T>,
  { actual, parts }: { readonly actual: T; readonly parts: (version: T) => readonly number[] },
): AppraisalFailure | null {
  if ("unchecked" in minimum) return null;
  const least = parts(minimum.atLeast);
  const found = parts(actual);
  const differs = found.findIndex((part, index) => part !== least[index]);
  if (differs < 0 || (found[differs] ?? 0) > (least[differs] ?? 0)) return null;
  return failure(code, {
    field,
    expected: `at least ${least.join(".")}`,
    actual: found.join("."),
  });
}

function appraiseGuestPolicy({ guestPolicy }: SnpClaims, expectations: SnpExpectations): Failures {
  return GUEST_POLICY_BITS.map(([bit, name]) =>
    appraiseValue(
      { code: REFUSED, field: `policy ${name}` },
      expectations.guestPolicy[bit],
      guestPolicy[bit],
    ),
  );
}

function appraisePlatformInfo(
  { platformInfo }: SnpClaims,
  expectations: SnpExpectations,
): Failures {
  return PLATFORM_INFO_BITS.map(([bit, name]) =>
    appraiseValue(
      { code: REFUSED, field: `platform_info ${name}` },
      expectations.platformInfo[bit],
      platformInfo[bit],
    ),
  );
}

function appraiseSigner(claims: SnpClaims, expectations: SnpExpectations): Failures {
  const { signingKey, cspId, chipKeyMasked, chipId, vmpl } = claims;
  const chipIdMasked = chipId.every((byte) => byte === 0);
  return [
    appraiseValue({ code: REFUSED, field: "signing_key" }, expectations.signingKey, signingKey),
    signingKey === "VCEK"
      ? null
      : appraiseValue({ code: REFUSED, field: "cspID" }, expectations.cspId, cspId),
    appraiseValue({ code: REFUSED, field: "vmpl" }, expectations.vmpl, vmpl),
    appraiseValue(
      { code: REFUSED, field: "mask_chip_key" },
      expectations.chipKeyMasked,
      chipKeyMasked,
    ),
    appraiseValue(
      { code: REFUSED, field: "masked chip_id" },
      expectations.chipIdMasked,
      chipIdMasked,
    ),
  ];
}

function appraiseOwner(claims: SnpClaims, expectations: SnpExpectations): Failures {
  const { familyId, imageId, hostData, idKeyDigest, authorKeyDigest, reportData } = expectations;
  return [
    appraiseBytes({ code: REFUSED, field: "family_id" }, familyId, claims.familyId),
    appraiseBytes({ code: REFUSED, field: "image_id" }, imageId, claims.imageId),
    appraiseBytes({ code: REFUSED, field: "host_data" }, hostData, claims.hostData),
    appraiseBytes({ code: REFUSED, field: "id_key_digest" }, idKeyDigest, claims.idKeyDigest),
    appraiseBytes(
      { code: REFUSED, field: "author_key_digest" },
      authorKeyDigest,
      claims.authorKeyDigest,
    ),
    appraiseBytes(
      { code: "TEE_REPORT_DATA_MISMATCH", field: "report_data" },
      reportData,
      claims.reportData,
    ),
  ];
}
