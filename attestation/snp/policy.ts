import {
  emptyPolicy,
  malformedPolicy,
  verifyExpected,
  verifyExpectedBytes,
  verifyOneForm,
  verifyReason,
  type Expected,
} from "../expected.ts";
import { SNP_PRODUCT_LINES, type SnpProductLine } from "./product.ts";
import type { SnpFirmware, SnpGuestPolicy, SnpPlatformInfo } from "./report.ts";
import type { SnpTcb } from "./tcb.ts";

/** The least a field must be. There is no "unset"; "anything" is written with its reason. */
export type Minimum<T> = { readonly atLeast: T } | { readonly unchecked: string };

/** The bits of the guest policy that a verifier may choose about. Debug is none of them. */
export type SnpGuestPolicyBit = Exclude<
  keyof SnpGuestPolicy,
  "abiMajor" | "abiMinor" | "debugAllowed"
>;

/** What an SEV-SNP report must say beside its measurement. Debug is refused whatever this says. */
export interface SnpExpectations {
  /**
   * The least TCB of each product line, for the current, reported, committed and launch TCB alike; null refuses the
   * line. `fmc` is a number for Turin and null for the others.
   */
  readonly productLines: Readonly<Record<SnpProductLine, Minimum<SnpTcb> | null>>;
  /** The least committed firmware, so that no older one can return. */
  readonly firmware: Minimum<SnpFirmware>;
  /** The least ABI that the guest policy demands. */
  readonly abi: Minimum<{ readonly major: number; readonly minor: number }>;
  readonly guestSvn: Minimum<number>;
  readonly guestPolicy: Readonly<Record<SnpGuestPolicyBit, Expected<boolean>>>;
  readonly platformInfo: Readonly<Record<keyof SnpPlatformInfo, Expected<boolean>>>;
  readonly signingKey: Expected<"VCEK" | "VLEK">;
  /** The cloud provider of a VLEK; not judged for a VCEK. */
  readonly cspId: Expected<string>;
  readonly vmpl: Expected<number>;
  readonly chipKeyMasked: Expected<boolean>;
  /** Whether CHIP_ID is all zero, so that chips cannot be told apart and revoked; never so with a VCEK. */
  readonly chipIdMasked: Expected<boolean>;
  readonly familyId: Expected<Uint8Array>;
  readonly imageId: Expected<Uint8Array>;
  readonly hostData: Expected<Uint8Array>;
  /** SHA-384 of the keys that signed the ID block; all zero without them. */
  readonly idKeyDigest: Expected<Uint8Array>;
  readonly authorKeyDigest: Expected<Uint8Array>;
  /** REPORT_DATA as it stands, for reports that bind something else than `reportDataOf`. */
  readonly reportData: Expected<Uint8Array>;
}

/** The bits of the guest policy to appraise, as AMD spells them. */
export const GUEST_POLICY_BITS = [
  ["smtAllowed", "SMT"],
  ["migrationAgentAllowed", "MIGRATE_MA"],
  ["singleSocketRequired", "SINGLE_SOCKET"],
  ["cxlAllowed", "CXL_ALLOW"],
  ["aes256XtsRequired", "MEM_AES_256_XTS"],
  ["raplDisableRequired", "RAPL_DIS"],
  ["ciphertextHidingRequired", "CIPHERTEXT_HIDING_DRAM"],
  ["pageSwapDisabled", "PAGE_SWAP_DISABLE"],
] as const satisfies readonly (readonly [SnpGuestPolicyBit, string])[];
/** The bits of PLATFORM_INFO, as AMD spells them. */
export const PLATFORM_INFO_BITS = [
  ["smtEnabled", "SMT_EN"],
  ["tsmeEnabled", "TSME_EN"],
  ["eccEnabled", "ECC_EN"],
  ["raplDisabled", "RAPL_DIS"],
  ["ciphertextHidingEnabled", "CIPHERTEXT_HIDING_DRAM_EN"],
  ["aliasCheckComplete", "ALIAS_CHECK_COMPLETE"],
  ["iommuWriteSafe", "IOMMU_WRITE_SAFE"],
  ["tioEnabled", "TIO_EN"],
] as const satisfies readonly (readonly [keyof SnpPlatformInfo, string])[];

/**
 * Refuses expectations that say nothing or cannot be met, and those that are not there.
 *
 * @throws {@link AppraisalError} TEE_POLICY_EMPTY
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function verifySnpExpectations(expectations: SnpExpectations): void {
  const { productLines, firmware, abi, guestSvn, guestPolicy, platformInfo, ...others } =
    expectations;
  const { signingKey, cspId, vmpl, chipKeyMasked, chipIdMasked, ...bytes } = others;
  const { familyId, imageId, hostData, idKeyDigest, authorKeyDigest, reportData } = bytes;
  const all: typeof bytes = {
    familyId,
    imageId,
    hostData,
    idKeyDigest,
    authorKeyDigest,
    reportData,
  };
  if (SNP_PRODUCT_LINES.every((line) => productLines[line] === null)) {
    throw emptyPolicy("productLines");
  }
  for (const line of SNP_PRODUCT_LINES) verifyProductLine(line, productLines[line]);
  verifyMinimum("firmware", firmware, ({ major, minor, build }) => [major, minor, build]);
  verifyMinimum("abi", abi, ({ major, minor }) => [major, minor]);
  verifyMinimum("guestSvn", guestSvn, (svn) => [svn]);
  for (const [bit] of GUEST_POLICY_BITS) verifyExpected(`guestPolicy ${bit}`, guestPolicy[bit]);
  for (const [bit] of PLATFORM_INFO_BITS) verifyExpected(`platformInfo ${bit}`, platformInfo[bit]);
  verifyExpected("signingKey", signingKey);
  verifyExpected("cspId", cspId);
  verifyExpected("vmpl", vmpl);
  verifyExpected("chipKeyMasked", chipKeyMasked);
  verifyExpected("chipIdMasked", chipIdMasked);
  for (const [field, expected] of Object.entries(all)) verifyExpectedBytes(field, expected);
}

function verifyProductLine(line: SnpProductLine, minimum: Minimum<SnpTcb> | null): void {
  if (minimum === null) return;
  const levels = ({ fmc, bootloader, tee, snp, microcode }: SnpTcb): readonly number[] => {
    if ((fmc === null) === (line === "Turin")) {
      throw malformedPolicy(line, "fmc as a number for Turin and as null elsewhere");
    }
    return [fmc ?? 0, bootloader, tee, snp, microcode];
  };
  verifyMinimum(line, minimum, levels);
}

function verifyMinimum<T>(
  field: string,
  minimum: Minimum<T>,
  numbers: (value: T) => readonly number[],
): void {
  verifyOneForm(field, minimum);
  if ("unchecked" in minimum) {
    verifyReason(field, minimum);
    return;
  }
  if (!numbers(minimum.atLeast).every((value) => Number.isSafeInteger(value) && value >= 0)) {
    throw malformedPolicy(field, "whole numbers from 0 on");
  }
}
