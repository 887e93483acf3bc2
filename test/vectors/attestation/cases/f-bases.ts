import { fromHex, hex, utf8 } from "../../../../protocol/index.ts";
import { reportDataOf } from "../../../../attestation/index.ts";
import {
  PSS_WITHOUT_TRAILER,
  PSS_WITH_TRAILER,
  SNP_NOW,
  filler,
  forgeArk,
  forgeAsk,
  forgeLeaf,
  forgeReport,
  leafValues,
  u32,
  type LeafValues,
  type ReportPatch,
} from "../../../attestation/snp-forge.ts";
import type { Base } from "../schema.ts";

/** Forged evidence that is good, and all it was made of, so that cases can make it anew with one thing changed. */
export interface SnpBase {
  readonly name: string;
  readonly line: "Milan" | "Genoa" | "Turin";
  readonly report: ReportPatch;
  /** The name of the ASK or ASVK. */
  readonly authority: string;
  readonly leaf: LeafValues;
  readonly document: Uint8Array;
  /** ARK, ASK or ASVK, VCEK or VLEK. */
  readonly endorsements: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly json: Base;
}

const BINDING = {
  nonce: utf8("a nonce of this session"),
  userData: utf8("digest of the manifest"),
  publicKey: utf8("a public key"),
};

/** Each TCB version has the lowest level of one component, so that each minimum is about one of them. */
const TCB = {
  Milan: {
    current: "04090000000018dc",
    reported: "07010000000018dc",
    committed: "07090000000016dc",
    launch: "07090000000018d5",
    minimum: { fmc: null, bootloader: 4, tee: 1, snp: 22, microcode: 213 },
  },
  Turin: {
    current: "02040918000000dc",
    reported: "02070118000000dc",
    committed: "02070916000000dc",
    launch: "01070918000000d5",
    minimum: { fmc: 1, bootloader: 4, tee: 1, snp: 22, microcode: 213 },
  },
};
const POLICY_BITS = [
  ["smtAllowed", 16],
  ["migrationAgentAllowed", 18],
  ["singleSocketRequired", 20],
  ["cxlAllowed", 21],
  ["aes256XtsRequired", 22],
  ["raplDisableRequired", 23],
  ["ciphertextHidingRequired", 24],
  ["pageSwapDisabled", 25],
] as const;
const PLATFORM_BITS = [
  ["smtEnabled", 0],
  ["tsmeEnabled", 1],
  ["eccEnabled", 2],
  ["raplDisabled", 3],
  ["ciphertextHidingEnabled", 4],
  ["aliasCheckComplete", 5],
  ["iommuWriteSafe", 6],
  ["tioEnabled", 7],
] as const;

/** What makes one base differ from the others. */
interface Plan {
  readonly name: string;
  readonly title: string;
  readonly line: SnpBase["line"];
  readonly version: number;
  readonly guestPolicy: number;
  readonly platformInfo: number;
  readonly keys: number;
  readonly vmpl: number;
  readonly cpu: string;
  readonly chipId: string;
  readonly cspId: string | null;
  readonly mitigations: string;
  readonly bound: boolean;
  /** The level of the microcode reported, in hex. */
  readonly microcode: string;
}

const PLANS: readonly Plan[] = [
  {
    name: "snp-milan",
    title: "a version 2 report of Milan, its VCEK, and what it is bound to",
    line: "Milan",
    version: 2,
    guestPolicy: 0x01_53_1f_01,
    platformInfo: 0x55,
    keys: 1,
    vmpl: 0,
    cpu: "000000",
    chipId: filler(0x40, 64),
    cspId: null,
    mitigations: "00",
    bound: true,
    microcode: "dc",
  },
  {
    name: "snp-genoa",
    title: "a version 3 report of Genoa under a VLEK, with the chip's id hidden",
    line: "Genoa",
    version: 3,
    guestPolicy: 0x02_a6_1f_01,
    platformInfo: 0xaa,
    keys: 0x06,
    vmpl: 3,
    cpu: "191101",
    chipId: "00",
    cspId: "example-cloud",
    mitigations: "00",
    bound: false,
    microcode: "dc",
  },
  {
    name: "snp-turin",
    title: "a version 5 report of Turin and its VCEK",
    line: "Turin",
    version: 5,
    guestPolicy: 0x00_03_1f_01,
    platformInfo: 0x0f,
    keys: 0,
    vmpl: 1,
    cpu: "1a0201",
    chipId: filler(0x70, 8),
    cspId: null,
    mitigations: filler(0x21, 16),
    bound: false,
    microcode: "dc",
  },
  {
    name: "snp-milan-later",
    title: "a version 5 report of Milan and its VCEK",
    line: "Milan",
    version: 5,
    guestPolicy: 0x00_02_1f_01,
    platformInfo: 0x20,
    keys: 0,
    vmpl: 2,
    cpu: "190102",
    chipId: filler(0x48, 64),
    cspId: null,
    mitigations: filler(0x31, 16),
    bound: false,
    microcode: "7f",
  },
  {
    name: "snp-bergamo",
    title: "a version 3 report of Bergamo under a VLEK with the longest name, the chip's id open",
    line: "Genoa",
    version: 3,
    guestPolicy: 0x00_03_1f_01,
    platformInfo: 0x01,
    keys: 0x04,
    vmpl: 0,
    cpu: "19a002",
    chipId: filler(0xd8, 64),
    cspId: "c".repeat(64),
    mitigations: "00",
    bound: false,
    microcode: "80",
  },
  {
    name: "snp-turin-dense",
    title: "a version 3 report of dense Turin under a VLEK",
    line: "Turin",
    version: 3,
    guestPolicy: 0x00_03_1f_01,
    platformInfo: 0x61,
    keys: 0x05,
    vmpl: 0,
    cpu: "1a1100",
    chipId: "00",
    cspId: "another-cloud",
    mitigations: "00",
    bound: false,
    microcode: "ff",
  },
];

/** The forged bases, by name. */
export const SNP_BASES: ReadonlyMap<string, SnpBase> = new Map(
  PLANS.map((plan) => [plan.name, makeBase(plan)]),
);

function makeBase(plan: Plan): SnpBase {
  const { name, line } = plan;
  const report = reportOf(plan);
  const authority = plan.cspId === null ? `SEV-${line}` : `SEV-VLEK-${line}`;
  const id = plan.cspId === null ? { hwId: fromHex(plan.chipId) } : { cspId: plan.cspId };
  const leaf = leafValues(line, tcbOf(plan).reported, id);
  const endorsements = [
    forgeArk(`ARK-${line}`),
    forgeAsk(authority, { issuer: `ARK-${line}` }),
    // A genuine VCEK of Turin leaves the trailer field out.
    forgeLeaf(leaf, {
      issuer: authority,
      algorithm: line === "Turin" ? PSS_WITHOUT_TRAILER : PSS_WITH_TRAILER,
    }),
  ] as const;
  const document = forgeReport([report]);
  return {
    name,
    line,
    report,
    authority,
    leaf,
    document,
    endorsements,
    json: jsonOf(plan, report),
  };
}

function tcbOf({ line, microcode }: Plan) {
  const tcb = TCB[line === "Turin" ? "Turin" : "Milan"];
  const least = Math.min(tcb.minimum.microcode, Number.parseInt(microcode, 16));
  return {
    ...tcb,
    reported: tcb.reported.slice(0, -2) + microcode,
    minimum: { ...tcb.minimum, microcode: least },
  };
}

function reportOf(plan: Plan): ReportPatch {
  const tcb = tcbOf(plan);
  return {
    0x00: u32(plan.version),
    0x04: u32(7),
    0x08: u32(plan.guestPolicy),
    0x10: filler(0x10, 16),
    0x20: filler(0x20, 16),
    0x30: u32(plan.vmpl),
    0x34: u32(1),
    0x38: tcb.current,
    0x40: u32(plan.platformInfo),
    0x48: u32(plan.keys),
    0x50: plan.bound ? hex(reportDataOf(BINDING)) : filler(0x30, 64),
    0x90: filler(0x90, 48),
    0xc0: filler(0xc0, 32),
    0xe0: filler(0x11, 48),
    0x110: filler(0x51, 48),
    0x140: filler(0x61, 32),
    0x160: "ff".repeat(32),
    0x180: tcb.reported,
    0x188: plan.cpu,
    0x1a0: plan.chipId,
    0x1e0: tcb.committed,
    0x1e8: "193a0100",
    0x1ec: "18390100",
    0x1f0: tcb.launch,
    0x1f8: plan.mitigations,
  };
}

function jsonOf(plan: Plan, report: ReportPatch): Base {
  const { name, bound } = plan;
  const field = (at: number, count: number) => ({
    equals: { $hex: (report[at] ?? "").padEnd(2 * count, "0") },
  });
  return {
    title: plan.title,
    source: "synthetic",
    format: "snp",
    parts: {
      document: `${name}.bin`,
      "endorsements/0": `${name}-ark.der`,
      "endorsements/1": `${name}-authority.der`,
      "endorsements/2": `${name}-leaf.der`,
      ...(bound
        ? {
            "binding/nonce": `hex:${hex(BINDING.nonce)}`,
            "binding/userData": `hex:${hex(BINDING.userData)}`,
            "binding/publicKey": `hex:${hex(BINDING.publicKey)}`,
          }
        : {}),
    },
    anchors: [{ platform: "amd-sev-snp", certificate: `${name}-ark.der` }],
    at: bound ? { mode: "live", nowMs: SNP_NOW } : { mode: "replay", recordedMs: SNP_NOW },
    policy: {
      platforms: ["amd-sev-snp"],
      measurements: [
        { measurement: report[0x90] ?? "", validFromMs: 0, validUntilMs: SNP_NOW + 1 },
      ],
      revokedMeasurements: [],
      revokedIdentities: [],
      nitro: null,
      tdx: null,
      nonce: boundTo(bound, BINDING.nonce),
      userData: boundTo(bound, BINDING.userData),
      publicKey: boundTo(bound, BINDING.publicKey),
      maxAgeMs: { unchecked: "SEV-SNP signs no time" },
      judgedAtMs: SNP_NOW,
      snp: {
        ...expectations(plan),
        familyId: field(0x10, 16),
        imageId: field(0x20, 16),
        hostData: field(0xc0, 32),
        idKeyDigest: field(0xe0, 48),
        authorKeyDigest: field(0x110, 48),
        reportData: field(0x50, 64),
      },
    },
  };
}

function boundTo(bound: boolean, value: Uint8Array) {
  return bound ? { equals: { $hex: hex(value) } } : { unchecked: "report_data is given whole" };
}

function expectations(plan: Plan) {
  const { line, guestPolicy, platformInfo, chipId, cspId, keys, vmpl } = plan;
  const { minimum } = tcbOf(plan);
  const bits = (table: readonly (readonly [string, number])[], value: number) =>
    Object.fromEntries(table.map(([bit, at]) => [bit, { equals: ((value >>> at) & 1) === 1 }]));
  return {
    productLines: { Milan: null, Genoa: null, Turin: null, [line]: { atLeast: minimum } },
    firmware: { atLeast: { major: 1, minor: 57, build: 24 } },
    abi: { atLeast: { major: 31, minor: 1 } },
    guestSvn: { atLeast: 7 },
    guestPolicy: bits(POLICY_BITS, guestPolicy),
    platformInfo: bits(PLATFORM_BITS, platformInfo),
    signingKey: { equals: cspId === null ? "VCEK" : "VLEK" },
    cspId: cspId === null ? { unchecked: "a VCEK has none" } : { equals: cspId },
    vmpl: { equals: vmpl },
    chipKeyMasked: { equals: (keys & 2) === 2 },
    chipIdMasked: { equals: chipId === "00" },
  };
}
