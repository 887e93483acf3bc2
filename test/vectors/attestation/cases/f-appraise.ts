import type { SnpBase } from "./f-bases.ts";
import {
  GENOA,
  MILAN,
  TURIN,
  isRecord,
  nested,
  resigned,
  withSnp,
  type Json,
  type SnpCase,
} from "./f-case.ts";

const REFUSED = { stage: "appraise", code: "TEE_CONFIGURATION_REFUSED" } as const;
const TCB_REFUSED = { stage: "appraise", code: "TEE_TCB_REFUSED" } as const;
const ANY = { unchecked: "to show what refuses it" };

/** Evidence that is authentic, and that the policy does not accept. */
export function appraiseCases(): readonly SnpCase[] {
  return [
    ...debugCases(),
    ...tcbCases(),
    ...versionCases(),
    ...bitCases(),
    ...signerCases(),
    ...bytesCases(),
    ...commonCases(),
  ];
}

function debugCases(): readonly SnpCase[] {
  const debug = { stage: "appraise", code: "TEE_DEBUG_REFUSED", check: "snp-debug" } as const;
  return [
    {
      title: "a guest that may be debugged, Milan",
      base: MILAN.name,
      document: resigned(MILAN, { 0x0a: "5b" }),
      ...debug,
    },
    {
      title: "a guest that may be debugged, Genoa",
      base: GENOA.name,
      document: resigned(GENOA, { 0x0a: "ae" }),
      ...debug,
    },
    {
      title: "a guest that may be debugged, Turin",
      base: TURIN.name,
      document: resigned(TURIN, { 0x0a: "0b" }),
      ...debug,
    },
    {
      title: "a genuine report of a guest that may be debugged",
      source: "damaged",
      base: "snp-genuine",
      swap: {
        document: "shared:sev-snp/google/milan-report.bin",
        "endorsements/2": "shared:sev-snp/google/milan-vcek.der",
      },
      policy: {
        measurements: [
          {
            measurement:
              "b07af9620f3b839b47996422ddec6058338951d984e312115131ea82705eaf5b6bdf8a9ece31a5a608eb0cf2e4872b01",
            validFromMs: 0,
            validUntilMs: 4_000_000_000_000,
          },
        ],
        snp: {
          reportData: ANY,
          productLines: { Milan: ANY, Genoa: null, Turin: null },
          firmware: ANY,
        },
      },
      ...debug,
    },
  ];
}

/** Each base's TCB versions have their lowest levels in different components, so each minimum is about one of them. */
function tcbCases(): readonly SnpCase[] {
  const raised = (
    title: string,
    base: SnpBase,
    level: Readonly<Record<string, Json>>,
    check: string,
  ): SnpCase => {
    const minimum = { bootloader: 4, tee: 1, snp: 22, microcode: 213 };
    const fmc = base.line === "Turin" ? 1 : null;
    const productLines = { [base.line]: { atLeast: { fmc, ...minimum, ...level } } };
    return {
      ...withSnp(title, base, { productLines: nested(base, "productLines", productLines) }),
      ...TCB_REFUSED,
      check,
    };
  };
  return [
    ...[MILAN, GENOA, TURIN].flatMap((base) => [
      raised(
        `an old boot loader installed, ${base.line}`,
        base,
        { bootloader: 5 },
        "snp-tcb-current",
      ),
      raised(`an old TEE reported, ${base.line}`, base, { tee: 2 }, "snp-tcb-reported"),
      raised(`an old SNP firmware committed, ${base.line}`, base, { snp: 23 }, "snp-tcb-committed"),
      raised(
        `an old microcode at launch, ${base.line}`,
        base,
        { microcode: 214 },
        "snp-tcb-launch",
      ),
    ]),
    raised("an old FMC at launch", TURIN, { fmc: 2 }, "snp-tcb-launch"),
    raised("an old FMC everywhere", TURIN, { fmc: 3 }, "snp-tcb-fmc"),
    ...[MILAN, TURIN].flatMap((base) => [
      raised(
        `an old boot loader everywhere, ${base.line}`,
        base,
        { bootloader: 8 },
        "snp-tcb-bootloader",
      ),
      raised(`an old TEE everywhere, ${base.line}`, base, { tee: 10 }, "snp-tcb-tee"),
      raised(`an old SNP firmware everywhere, ${base.line}`, base, { snp: 25 }, "snp-tcb-snp"),
      raised(
        `an old microcode everywhere, ${base.line}`,
        base,
        { microcode: 221 },
        "snp-tcb-microcode",
      ),
    ]),
    ...[MILAN, GENOA, TURIN].map((base) => ({
      ...withSnp(`a product line that is not accepted: ${base.line}`, base, {
        productLines: { Milan: ANY, Genoa: ANY, Turin: ANY, [base.line]: null },
      }),
      ...REFUSED,
      check: "snp-product-line",
    })),
  ];
}

function versionCases(): readonly SnpCase[] {
  const firmware = (title: string, major: number, minor: number, build: number): SnpCase => ({
    ...withSnp(title, MILAN, { firmware: { atLeast: { major, minor, build } } }),
    ...TCB_REFUSED,
    check: "snp-firmware",
  });
  const abi = (title: string, major: number, minor: number): SnpCase => ({
    ...withSnp(title, MILAN, { abi: { atLeast: { major, minor } } }),
    ...REFUSED,
    check: "snp-abi",
  });
  return [
    firmware("committed firmware of an older major version", 2, 0, 0),
    firmware("committed firmware of an older minor version", 1, 58, 0),
    firmware("committed firmware of an older build", 1, 57, 25),
    abi("a guest that runs on an older major ABI", 32, 0),
    abi("a guest that runs on an older minor ABI", 31, 2),
    {
      ...withSnp("a guest of an older security version", MILAN, { guestSvn: { atLeast: 8 } }),
      ...REFUSED,
      check: "snp-guest-svn",
    },
  ];
}

function bitCases(): readonly SnpCase[] {
  const opposite = (base: SnpBase, field: string, check: string): readonly SnpCase[] => {
    const section = base.json.policy?.["snp"];
    const bits = isRecord(section) ? section[field] : undefined;
    if (!isRecord(bits)) throw new Error(`${field}: expected bits in the policy`);
    return Object.entries(bits).map(([bit, expected]) => {
      const equals = isRecord(expected) ? expected["equals"] !== true : true;
      return {
        ...withSnp(`${bit} is ${!equals} in ${base.line}'s ${field}`, base, {
          [field]: { ...bits, [bit]: { equals } },
        }),
        ...REFUSED,
        check,
      };
    });
  };
  return [MILAN, GENOA].flatMap((base) => [
    ...opposite(base, "guestPolicy", "snp-guest-policy"),
    ...opposite(base, "platformInfo", "snp-platform-info"),
  ]);
}

function signerCases(): readonly SnpCase[] {
  return [
    {
      ...withSnp("a VCEK where a VLEK is required", MILAN, { signingKey: { equals: "VLEK" } }),
      ...REFUSED,
      check: "snp-signing-key-kind",
    },
    {
      ...withSnp("a VLEK where a VCEK is required", GENOA, { signingKey: { equals: "VCEK" } }),
      ...REFUSED,
      check: "snp-signing-key-kind",
    },
    {
      ...withSnp("another cloud provider", GENOA, { cspId: { equals: "example-clou" } }),
      ...REFUSED,
      check: "snp-csp-id-expected",
    },
    {
      ...withSnp("privilege level 3 where 0 is required", GENOA, { vmpl: { equals: 0 } }),
      ...REFUSED,
      check: "snp-vmpl",
    },
    {
      ...withSnp("privilege level 1 where 0 or 2 is required", TURIN, { vmpl: { anyOf: [0, 2] } }),
      ...REFUSED,
      check: "snp-vmpl",
    },
    {
      ...withSnp("the chip's key masked", GENOA, { chipKeyMasked: { equals: false } }),
      ...REFUSED,
      check: "snp-chip-key-masked",
    },
    {
      ...withSnp("the chip's key not masked", MILAN, { chipKeyMasked: { equals: true } }),
      ...REFUSED,
      check: "snp-chip-key-masked",
    },
    {
      ...withSnp("the chip's id hidden", GENOA, { chipIdMasked: { equals: false } }),
      ...REFUSED,
      check: "snp-chip-id-masked",
    },
    {
      ...withSnp("the chip's id not hidden", TURIN, { chipIdMasked: { equals: true } }),
      ...REFUSED,
      check: "snp-chip-id-masked",
    },
  ];
}

function bytesCases(): readonly SnpCase[] {
  const fields = [
    ["familyId", 0x10, 16, "snp-family-id"],
    ["imageId", 0x20, 16, "snp-image-id"],
    ["hostData", 0xc0, 32, "snp-host-data"],
    ["idKeyDigest", 0xe0, 48, "snp-id-key-digest"],
    ["authorKeyDigest", 0x110, 48, "snp-author-key-digest"],
    ["reportData", 0x50, 64, "snp-report-data"],
  ] as const;
  return fields.flatMap(([field, at, count, check]) => {
    const bytes = MILAN.report[at] ?? "";
    const last = bytes.slice(-2) === "ff" ? "fe" : "ff";
    const code = field === "reportData" ? "TEE_REPORT_DATA_MISMATCH" : REFUSED.code;
    const wrong = (title: string, value: string): SnpCase => ({
      ...withSnp(title, MILAN, { [field]: { equals: { $hex: value } } }),
      stage: "appraise",
      code,
      check,
    });
    return [
      wrong(`${field} that differs in its last byte`, bytes.slice(0, -2) + last),
      wrong(`the first ${count - 1} bytes of ${field}`, bytes.slice(0, -2)),
      wrong(`${field} of zeros`, "00".repeat(count)),
    ];
  });
}

/** What is judged of every format, with what this one has for it. */
function commonCases(): readonly SnpCase[] {
  const chip = (MILAN.report[0x1a0] ?? "").padEnd(128, "0");
  const turin = (TURIN.report[0x1a0] ?? "").padEnd(128, "0");
  const measurement = MILAN.report[0x90] ?? "";
  const revoked = {
    stage: "appraise",
    code: "TEE_PLATFORM_REVOKED",
    check: "revoked-identity",
  } as const;
  return [
    {
      title: "a chip that is revoked, Milan",
      base: MILAN.name,
      policy: { revokedIdentities: [chip] },
      ...revoked,
    },
    {
      title: "a chip that is revoked, Turin",
      base: TURIN.name,
      policy: { revokedIdentities: [turin] },
      ...revoked,
    },
    {
      title: "a cloud provider that is revoked",
      base: GENOA.name,
      policy: { revokedIdentities: ["vlek:example-cloud"] },
      ...revoked,
    },
    {
      title: "a chip that is revoked, under a VLEK that does not hide it",
      base: GENOA.name,
      document: resigned(GENOA, { 0x1a0: chip }),
      policy: { revokedIdentities: [chip], snp: { chipIdMasked: ANY } },
      ...revoked,
    },
    {
      title: "a measurement that is revoked",
      base: MILAN.name,
      policy: { revokedMeasurements: [measurement] },
      stage: "appraise",
      code: "TEE_MEASUREMENT_REVOKED",
      check: "revoked-measurement",
    },
    {
      title: "a measurement that is not accepted",
      base: TURIN.name,
      policy: {
        measurements: [
          { measurement: "00".repeat(48), validFromMs: 0, validUntilMs: 4_000_000_000_000 },
        ],
      },
      stage: "appraise",
      code: "TEE_MEASUREMENT_MISMATCH",
      check: "measurement",
    },
    {
      title: "a nonce wanted of a report that is bound to none",
      base: TURIN.name,
      policy: { nonce: { equals: { $hex: "00" } } },
      stage: "appraise",
      code: "TEE_NONCE_MISMATCH",
      check: "nonce",
    },
    {
      title: "the nonce of another session",
      base: MILAN.name,
      policy: { nonce: { equals: { $hex: "00" } } },
      stage: "appraise",
      code: "TEE_NONCE_MISMATCH",
      check: "nonce",
    },
    {
      title: "an age wanted, of which a report says nothing",
      base: MILAN.name,
      policy: { maxAgeMs: { atMost: 60_000 } },
      stage: "appraise",
      code: "TEE_DOCUMENT_STALE",
      check: "snp-age",
    },
  ];
}
