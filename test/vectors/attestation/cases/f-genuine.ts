import { readReference } from "../load.ts";
import type { Base } from "../schema.ts";
import { flip, type SnpCase } from "./f-case.ts";

const NAME = "snp-genuine";
const REPORT = "shared:sev-snp/virtee/milan-report.hex";
/** In the life of the VCEK, which is from 2023-04-03 to 2030-04-03. */
const RECORDED_MS = 1_680_636_223_000;
const ANY = { unchecked: "another project's guest" };

/** A genuine report of Milan, which a policy accepts that says what is in it. */
export const GENUINE_BASE: Base = {
  title: "a genuine version 2 report of Milan and its VCEK",
  source: "captured",
  format: "snp",
  parts: {
    document: REPORT,
    "endorsements/0": "shared:roots/amd-ark-milan.pem",
    "endorsements/1": "shared:roots/amd-ask-milan.pem",
    "endorsements/2": "shared:sev-snp/virtee/milan-vcek.der",
  },
  anchors: [{ platform: "amd-sev-snp", certificate: "shared:roots/amd-ark-milan.pem" }],
  at: { mode: "replay", recordedMs: RECORDED_MS },
  policy: {
    platforms: ["amd-sev-snp"],
    measurements: [
      {
        measurement:
          "7a1e5c266c0108dbc9bb94fa926951320940915d0aafb42464bd88b579ea158d3e1a0dc39b2c60bd95b9c480cd81841f",
        validFromMs: 0,
        validUntilMs: RECORDED_MS + 1,
      },
    ],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: null,
    tdx: null,
    nonce: ANY,
    userData: ANY,
    publicKey: ANY,
    maxAgeMs: { unchecked: "SEV-SNP signs no time" },
    judgedAtMs: RECORDED_MS,
    snp: {
      productLines: {
        Milan: { atLeast: { fmc: null, bootloader: 3, tee: 0, snp: 8, microcode: 115 } },
        Genoa: null,
        Turin: null,
      },
      firmware: { atLeast: { major: 1, minor: 49, build: 0 } },
      abi: { atLeast: { major: 0, minor: 0 } },
      guestSvn: { atLeast: 0 },
      guestPolicy: {
        smtAllowed: { equals: true },
        migrationAgentAllowed: { equals: false },
        singleSocketRequired: { equals: false },
        cxlAllowed: { equals: false },
        aes256XtsRequired: { equals: false },
        raplDisableRequired: { equals: false },
        ciphertextHidingRequired: { equals: false },
        pageSwapDisabled: { equals: false },
      },
      platformInfo: {
        smtEnabled: { equals: true },
        tsmeEnabled: { equals: false },
        eccEnabled: { equals: false },
        raplDisabled: { equals: false },
        ciphertextHidingEnabled: { equals: false },
        aliasCheckComplete: { equals: false },
        iommuWriteSafe: { equals: false },
        tioEnabled: { equals: false },
      },
      signingKey: { equals: "VCEK" },
      cspId: { unchecked: "a VCEK has none" },
      vmpl: { equals: 0 },
      chipKeyMasked: { equals: false },
      chipIdMasked: { equals: false },
      familyId: { equals: { $hex: "00".repeat(16) } },
      imageId: { equals: { $hex: "00".repeat(16) } },
      hostData: { equals: { $hex: "00".repeat(32) } },
      idKeyDigest: { equals: { $hex: "00".repeat(48) } },
      authorKeyDigest: { equals: { $hex: "00".repeat(48) } },
      reportData: ANY,
    },
  },
};

/** Damage to genuine evidence; none where the shared folder is absent. */
export function genuineCases(): readonly SnpCase[] {
  const report = readReference(REPORT);
  const damaged = { base: NAME, source: "damaged" } as const;
  const forged = {
    stage: "verify",
    code: "TEE_SIGNATURE_INVALID",
    check: "snp-signature",
  } as const;
  const untrusted = { stage: "verify", code: "TEE_CHAIN_UNTRUSTED", check: null } as const;
  return [
    ...[0x04, 0x10, 0x50, 0xc0, 0x140, 0x2a0, 0x2e8].map((at) => ({
      ...damaged,
      title: `a bit of a genuine report flipped at 0x${at.toString(16)}`,
      document: flip(report, at),
      ...(at === 0x10 ? { policy: { snp: { familyId: ANY } } } : {}),
      ...(at === 0xc0 ? { policy: { snp: { hostData: ANY } } } : {}),
      ...forged,
    })),
    {
      ...damaged,
      title: "a genuine report with another chip's genuine VCEK",
      swap: { "endorsements/2": "shared:sev-snp/google/milan-vcek.der" },
      stage: "verify",
      code: "TEE_SIGNATURE_INVALID",
      check: null,
    },
    {
      ...damaged,
      title: "a genuine Milan VCEK under Genoa's ASK and ARK",
      swap: {
        "endorsements/0": "shared:roots/amd-ark-genoa.pem",
        "endorsements/1": "shared:roots/amd-ask-genoa.pem",
      },
      anchors: [{ platform: "amd-sev-snp", certificate: "shared:roots/amd-ark-genoa.pem" }],
      ...untrusted,
    },
    {
      ...damaged,
      title: "a genuine VCEK under the ASVK of its product line",
      swap: { "endorsements/1": "shared:roots/amd-asvk-milan.pem" },
      ...untrusted,
    },
    {
      ...damaged,
      title: "a genuine chain, and only the root of another product line trusted",
      anchors: [{ platform: "amd-sev-snp", certificate: "shared:roots/amd-ark-turin.pem" }],
      ...untrusted,
      check: "root-pinned",
    },
    {
      ...damaged,
      title: "a genuine chain in the order AMD serves it, leaf first",
      swap: {
        "endorsements/0": "shared:sev-snp/virtee/milan-vcek.der",
        "endorsements/2": "shared:roots/amd-ark-milan.pem",
      },
      ...untrusted,
    },
    {
      ...damaged,
      title: "a genuine report a day after its VCEK ended",
      at: { mode: "live", nowMs: Date.UTC(2030, 3, 5) },
      stage: "verify",
      code: "TEE_CERTIFICATE_EXPIRED",
      check: "certificate-not-after",
    },
    {
      ...damaged,
      title: "a genuine report a day before its VCEK began",
      at: { mode: "live", nowMs: Date.UTC(2023, 3, 2) },
      stage: "verify",
      code: "TEE_CERTIFICATE_NOT_YET_VALID",
      check: "certificate-not-before",
    },
  ];
}
