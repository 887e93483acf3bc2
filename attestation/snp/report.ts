import { MalformedError, equalBytes } from "#protocol";

/** The size of every report version, in bytes (56860 revision 1.58, Table 23). */
export const SNP_REPORT_BYTES = 0x4a0;
/** The report's versions that are understood. Version 4 exists and AMD does not document it. */
export const SNP_REPORT_VERSIONS: readonly number[] = [2, 3, 5];

/** The guest policy: what the guest's owner demanded and allowed at launch (56860 § 4.3, Table 9). */
export interface SnpGuestPolicy {
  /** The least firmware ABI that the guest may run on. */
  readonly abiMajor: number;
  readonly abiMinor: number;
  readonly smtAllowed: boolean;
  readonly migrationAgentAllowed: boolean;
  readonly debugAllowed: boolean;
  readonly singleSocketRequired: boolean;
  readonly cxlAllowed: boolean;
  readonly aes256XtsRequired: boolean;
  readonly raplDisableRequired: boolean;
  readonly ciphertextHidingRequired: boolean;
  readonly pageSwapDisabled: boolean;
}

/** What the firmware says of its platform (56860 Table 24); bit 6 has come after revision 1.58. */
export interface SnpPlatformInfo {
  readonly smtEnabled: boolean;
  readonly tsmeEnabled: boolean;
  readonly eccEnabled: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHidingEnabled: boolean;
  /** The firmware looked for aliased memory since the last boot (CVE-2024-21944). */
  readonly aliasCheckComplete: boolean;
  readonly iommuWriteSafe: boolean;
  readonly tioEnabled: boolean;
}

/** A version of the SEV firmware. */
export interface SnpFirmware {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/** The fields of a report whose form does not depend on the product line. */
export interface SnpReportFields {
  readonly version: number;
  /** Set by the guest's owner in the ID block. */
  readonly guestSvn: number;
  readonly guestPolicy: SnpGuestPolicy;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  /** The privilege level the report was asked for at, in [0, 4); 0 is the highest. */
  readonly vmpl: number;
  readonly platformInfo: SnpPlatformInfo;
  readonly authorKeyEnabled: boolean;
  readonly chipKeyMasked: boolean;
  readonly signingKey: "VCEK" | "VLEK";
  readonly reportData: Uint8Array;
  readonly measurement: Uint8Array;
  readonly hostData: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  /** Of this guest while it lives, and of its migration agent. */
  readonly reportId: Uint8Array;
  readonly reportIdMa: Uint8Array;
  /** Family and model as CPUID gives them, extended parts added in; null in version 2. */
  readonly cpu: {
    readonly family: number;
    readonly model: number;
    readonly stepping: number;
  } | null;
  /** All zero when the host hides it. */
  readonly chipId: Uint8Array;
  readonly currentFirmware: SnpFirmware;
  readonly committedFirmware: SnpFirmware;
  /** Bits of mitigations that the platform had at launch and has now; null before version 5. */
  readonly launchMitigations: bigint | null;
  readonly currentMitigations: bigint | null;
}

/** A report taken apart. Nothing in it is authentic: `verifySnpReport` decides that. TCB versions are 8 bytes each. */
export interface SnpReport extends SnpReportFields {
  readonly currentTcb: Uint8Array;
  readonly reportedTcb: Uint8Array;
  readonly committedTcb: Uint8Array;
  readonly launchTcb: Uint8Array;
  /** The bytes the signature covers. */
  readonly signed: Uint8Array;
  /** 96 bytes, r then s, big endian. */
  readonly signature: Uint8Array;
  /** A copy of the whole report. */
  readonly document: Uint8Array;
}

/** SIGNATURE_ALGO of ECDSA P-384 with SHA-384 (56860 Table 139). */
const ECDSA_P384_SHA384 = 1;
const SIGNED_BYTES = 0x2a0;
const SCALAR_BYTES = 48;
const SIGNING_KEYS = ["VCEK", "VLEK"] as const;

const ZEROS = new Uint8Array(SNP_REPORT_BYTES);
/** Bytes that must be zero, as [start, end), in every version. Those from 0x2d0 on are not signed. */
const RESERVED: readonly (readonly [number, number])[] = [
  [0x4c, 0x50],
  [0x1eb, 0x1ec],
  [0x1ef, 0x1f0],
  [0x208, 0x2a0],
  [0x2d0, 0x2e8],
  [0x318, 0x330],
  [0x330, 0x4a0],
];

/**
 * Takes an attestation report apart and judges its shape. All integers are little endian.
 *
 *     offset size field                    56860 revision 1.58, Table 23
 *     000    4    VERSION                  2, 3 or 5
 *     004    4    GUEST_SVN
 *     008    8    POLICY                   Table 9: 7:0 ABI minor, 15:8 ABI major, 16 SMT, 17 one, 18 MIGRATE_MA,
 *                                          19 DEBUG, 20 SINGLE_SOCKET, 21 CXL_ALLOW, 22 MEM_AES_256_XTS,
 *                                          23 RAPL_DIS, 24 CIPHERTEXT_HIDING_DRAM, 25 PAGE_SWAP_DISABLE, others zero
 *     010    16   FAMILY_ID
 *     020    16   IMAGE_ID
 *     030    4    VMPL                     0 to 3; all ones when the host asked, which is refused
 *     034    4    SIGNATURE_ALGO           1
 *     038    8    CURRENT_TCB              § 2.2, Tables 3 and 4
 *     040    8    PLATFORM_INFO            Table 24: 0 SMT, 1 TSME, 2 ECC, 3 RAPL_DIS, 4 CIPHERTEXT_HIDING_DRAM,
 *                                          5 ALIAS_CHECK_COMPLETE, 6 IOMMU write safe, 7 TIO, others zero
 *     048    4    keys                     0 AUTHOR_KEY_EN, 1 MASK_CHIP_KEY, 4:2 SIGNING_KEY (0 VCEK, 1 VLEK, 7 none)
 *     04c    4    zero
 *     050    64   REPORT_DATA
 *     090    48   MEASUREMENT
 *     0c0    32   HOST_DATA
 *     0e0    48   ID_KEY_DIGEST
 *     110    48   AUTHOR_KEY_DIGEST
 *     140    32   REPORT_ID
 *     160    32   REPORT_ID_MA
 *     180    8    REPORTED_TCB
 *     188    3    CPUID family, model, stepping; zero in version 2
 *     18b    21   zero
 *     1a0    64   CHIP_ID
 *     1e0    8    COMMITTED_TCB
 *     1e8    4    CURRENT build, minor, major, zero
 *     1ec    4    COMMITTED build, minor, major, zero
 *     1f0    8    LAUNCH_TCB
 *     1f8    8    LAUNCH_MIT_VECTOR        zero before version 5
 *     200    8    CURRENT_MIT_VECTOR       zero before version 5
 *     208    152  zero
 *     2a0    72   R                        Table 141; at most 48 bytes long, so the last 24 are zero
 *     2e8    72   S
 *     330    368  zero
 *
 * Bits and bytes without a known meaning must be zero: a platform or guest that says more than this understands is
 * refused. So is a report that the host asked for instead of the guest, because no guest vouches for its REPORT_DATA.
 *
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED
 * @see AMD publication 56860, SEV Secure Nested Paging Firmware ABI Specification
 */
export function parseSnpReport(document: Uint8Array): SnpReport {
  if (document.length !== SNP_REPORT_BYTES) {
    throw fault("report", `${SNP_REPORT_BYTES} bytes`, `${document.length}`);
  }
  const report = Buffer.from(document);
  const copy = new Uint8Array(report);
  const bytes = (start: number, length: number): Uint8Array => copy.slice(start, start + length);
  const version = report.readUInt32LE(0x00);
  expectOne("version", SNP_REPORT_VERSIONS, version);
  expectOne("signature_algo", [ECDSA_P384_SHA384], report.readUInt32LE(0x34));
  for (const [start, end] of RESERVED) expectZero(report, start, end);
  if (version < 3) expectZero(report, 0x188, 0x18b);
  expectZero(report, 0x18b, 0x1a0);
  if (version < 5) expectZero(report, 0x1f8, 0x208);
  return {
    version,
    guestSvn: report.readUInt32LE(0x04),
    guestPolicy: parseGuestPolicy(report),
    familyId: bytes(0x10, 16),
    imageId: bytes(0x20, 16),
    vmpl: expectOne("vmpl", [0, 1, 2, 3], report.readUInt32LE(0x30)),
    currentTcb: bytes(0x38, 8),
    platformInfo: parsePlatformInfo(report),
    ...parseKeys(report.readUInt32LE(0x48)),
    reportData: bytes(0x50, 64),
    measurement: bytes(0x90, 48),
    hostData: bytes(0xc0, 32),
    idKeyDigest: bytes(0xe0, 48),
    authorKeyDigest: bytes(0x110, 48),
    reportId: bytes(0x140, 32),
    reportIdMa: bytes(0x160, 32),
    reportedTcb: bytes(0x180, 8),
    cpu:
      version < 3
        ? null
        : {
            family: report.readUInt8(0x188),
            model: report.readUInt8(0x189),
            stepping: report.readUInt8(0x18a),
          },
    chipId: bytes(0x1a0, 64),
    committedTcb: bytes(0x1e0, 8),
    currentFirmware: parseFirmware(report, 0x1e8),
    committedFirmware: parseFirmware(report, 0x1ec),
    launchTcb: bytes(0x1f0, 8),
    launchMitigations: version < 5 ? null : report.readBigUInt64LE(0x1f8),
    currentMitigations: version < 5 ? null : report.readBigUInt64LE(0x200),
    signed: bytes(0, SIGNED_BYTES),
    signature: parseSignature(report),
    document: copy,
  };
}

function parseGuestPolicy(report: Buffer): SnpGuestPolicy {
  const low = report.readUInt32LE(0x08);
  const flag = (bit: number): boolean => ((low >>> bit) & 1) === 1;
  if (!flag(17)) throw fault("policy", "bit 17 set", "it clear");
  if (low >>> 26 !== 0) throw fault("policy", "bits 31:26 clear", "others");
  if (report.readUInt32LE(0x0c) !== 0) throw fault("policy", "bits 63:32 clear", "others");
  return {
    abiMinor: low & 0xff,
    abiMajor: (low >>> 8) & 0xff,
    smtAllowed: flag(16),
    migrationAgentAllowed: flag(18),
    debugAllowed: flag(19),
    singleSocketRequired: flag(20),
    cxlAllowed: flag(21),
    aes256XtsRequired: flag(22),
    raplDisableRequired: flag(23),
    ciphertextHidingRequired: flag(24),
    pageSwapDisabled: flag(25),
  };
}

function parsePlatformInfo(report: Buffer): SnpPlatformInfo {
  const low = report.readUInt32LE(0x40);
  const flag = (bit: number): boolean => ((low >>> bit) & 1) === 1;
  if (low >>> 8 !== 0) throw fault("platform_info", "bits 31:8 clear", "others");
  if (report.readUInt32LE(0x44) !== 0) throw fault("platform_info", "bits 63:32 clear", "others");
  return {
    smtEnabled: flag(0),
    tsmeEnabled: flag(1),
    eccEnabled: flag(2),
    raplDisabled: flag(3),
    ciphertextHidingEnabled: flag(4),
    aliasCheckComplete: flag(5),
    iommuWriteSafe: flag(6),
    tioEnabled: flag(7),
  };
}

function parseKeys(
  keys: number,
): Pick<SnpReportFields, "authorKeyEnabled" | "chipKeyMasked" | "signingKey"> {
  const signingKey = SIGNING_KEYS[(keys >>> 2) & 7];
  if (signingKey === undefined) throw fault("signing_key", "VCEK or VLEK", "none or another");
  if (keys >>> 5 !== 0) throw fault("keys", "bits 31:5 clear", "others");
  return { authorKeyEnabled: (keys & 1) === 1, chipKeyMasked: (keys & 2) === 2, signingKey };
}

function parseFirmware(report: Buffer, at: number): SnpFirmware {
  return {
    build: report.readUInt8(at),
    minor: report.readUInt8(at + 1),
    major: report.readUInt8(at + 2),
  };
}

/** R and S as ECDSA writes them elsewhere: big endian, 48 bytes each. */
function parseSignature(report: Buffer): Uint8Array {
  const signature = new Uint8Array(2 * SCALAR_BYTES);
  signature.set(report.subarray(0x2a0, 0x2d0).toReversed());
  signature.set(report.subarray(0x2e8, 0x318).toReversed(), SCALAR_BYTES);
  return signature;
}

function expectOne(field: string, values: readonly number[], actual: number): number {
  if (!values.includes(actual)) throw fault(field, values.join(" or "), `${actual}`);
  return actual;
}

function expectZero(report: Buffer, start: number, end: number): void {
  const part = report.subarray(start, end);
  if (!equalBytes(part, ZEROS.subarray(0, part.length))) {
    const range = `[0x${start.toString(16)}, 0x${end.toString(16)})`;
    throw fault("report", `zero bytes in ${range}`, "others");
  }
}

function fault(field: string, expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_DOCUMENT_MALFORMED", field },
    `${field}: expected ${expected}, got ${got}`,
  );
}
