import { createHash } from "node:crypto";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  AMD_ARK_GENOA,
  AMD_ARK_MILAN,
  AMD_ARK_TURIN,
  appraisalFailures,
  appraiseEvidence,
  parseAnchor,
  parseSnpReport,
  verifyEvidence,
  verifyReportReplay,
  verifySnpReport,
  type SnpEvidence,
  type TrustAnchor,
} from "../../attestation/index.ts";
import { verifyPath } from "../../attestation/path.ts";
import { AMD_PROFILE } from "../../attestation/profile.ts";
import { productLineOfCpu } from "../../attestation/snp/product.ts";
import { SymphonyError, decodeCbor, encodeCbor, fromHex, hex } from "../../protocol/index.ts";
import { policyOf } from "../vectors/attestation/evaluate.ts";
import { isPresent, loadBases, readReference } from "../vectors/attestation/load.ts";

const BASES = loadBases();
const ABSENT = !isPresent(["shared:sev-snp/index.json"]);
const WITHOUT = "the folder SYMPHONY_SHARED is absent";

/** A stored base as the verifier takes it. */
function stored(name: string) {
  const base = BASES.get(name);
  if (base === undefined || base.at === null) throw new Error(`${name}: expected a base`);
  const part = (field: string): Uint8Array => readReference(base.parts[field] ?? "");
  const bound = "binding/nonce" in base.parts;
  const evidence: SnpEvidence = {
    document: part("document"),
    endorsements: [0, 1, 2].map((position) => part(`endorsements/${position}`)),
    binding: bound
      ? {
          nonce: part("binding/nonce"),
          userData: part("binding/userData"),
          publicKey: part("binding/publicKey"),
        }
      : null,
  };
  const anchor = readReference(base.anchors[0]?.certificate ?? "");
  const anchors: readonly TrustAnchor[] = [{ platform: "amd-sev-snp", certificate: anchor }];
  return { evidence, anchors, at: base.at, policy: policyOf(base, { policy: {} }) };
}

function claimsOf(name: string) {
  const { evidence, anchors, at } = stored(name);
  return verifySnpReport(evidence, anchors, at);
}

describe("roots", () => {
  test.for([
    ["Milan", AMD_ARK_MILAN, "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"],
    ["Genoa", AMD_ARK_GENOA, "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"],
    ["Turin", AMD_ARK_TURIN, "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"],
  ] as const)("carries AMD's root of %s under its published fingerprint", ([, ark, sha256]) => {
    expect(createHash("sha256").update(ark.certificate).digest("hex")).toBe(sha256);
    expect(parseAnchor(ark.certificate)).toEqual(ark);
  });
});

describe("genuine evidence", () => {
  const vcekChain = (folder: string, report: string, leaf: string): SnpEvidence => ({
    document: readReference(`shared:sev-snp/${folder}/${report}`),
    endorsements: [
      readReference("shared:roots/amd-ark-milan.pem"),
      readReference("shared:roots/amd-ask-milan.pem"),
      readReference(`shared:sev-snp/${folder}/${leaf}`),
    ],
    binding: null,
  });

  test("[TT-2] accepts a genuine report of Milan under AMD's root, and says what it says", (context) => {
    context.skip(ABSENT, WITHOUT);
    const evidence = vcekChain("virtee", "milan-report.hex", "milan-vcek.der");
    const verified = verifySnpReport(evidence, [AMD_ARK_MILAN], {
      mode: "replay",
      recordedMs: 1_680_636_223_000,
    });
    expect(verified).toMatchObject({ platform: "amd-sev-snp", timestampMs: null, isBound: false });
    expect(verified.identity).toMatch(/^d49554ec717f4e5b.{112}$/);
    expect(verified.measurement).toEqual({
      measurement:
        "7a1e5c266c0108dbc9bb94fa926951320940915d0aafb42464bd88b579ea158d3e1a0dc39b2c60bd95b9c480cd81841f",
    });
    expect(verified.claims).toMatchObject({
      version: 2,
      productLine: "Milan",
      signingKey: "VCEK",
      vmpl: 0,
      cpu: null,
      cspId: null,
      reportedTcb: { fmc: null, bootloader: 3, tee: 0, snp: 8, microcode: 115 },
      guestPolicy: { abiMajor: 0, abiMinor: 0, smtAllowed: true, debugAllowed: false },
      platformInfo: { smtEnabled: true, tsmeEnabled: false },
    });
    expect(
      verified.expiries.map(({ notAfterMs }) => new Date(notAfterMs).getUTCFullYear()),
    ).toEqual([2045, 2045, 2030]);
  });

  test("[TT-1] a genuine report of a debugged guest is authentic and refused", (context) => {
    context.skip(ABSENT, WITHOUT);
    const evidence = vcekChain("google", "milan-report.bin", "milan-vcek.der");
    const at = { mode: "live", nowMs: 1_664_067_328_000 } as const;
    const verified = verifySnpReport(evidence, [AMD_ARK_MILAN], at);
    expect(verified.claims.guestPolicy.debugAllowed).toBe(true);
    const { policy } = stored("snp-genuine");
    const codes = appraisalFailures(verified, policy).map(({ code }) => code);
    expect(codes).toContain("TEE_DEBUG_REFUSED");
  });

  test.for([
    ["ASK of Milan", "amd-ark-milan", "amd-ask-milan"],
    ["ASVK of Milan", "amd-ark-milan", "amd-asvk-milan"],
    ["ASK of Genoa", "amd-ark-genoa", "amd-ask-genoa"],
    ["ASVK of Genoa", "amd-ark-genoa", "amd-asvk-genoa"],
    ["ASK of Turin", "amd-ark-turin", "amd-ask-turin"],
    ["ASVK of Turin", "amd-ark-turin", "amd-asvk-turin"],
  ] as const)("the genuine %s is an authority, and so no leaf", ([, ark, ask], context) => {
    context.skip(ABSENT, WITHOUT);
    const root = readReference(`shared:roots/${ark}.pem`);
    const path = () =>
      verifyPath({
        chain: [root, readReference(`shared:roots/${ask}.pem`)],
        profile: AMD_PROFILE,
        anchors: [parseAnchor(root)],
        platforms: ["amd-sev-snp"],
        instantsMs: [1_790_000_000_000],
      });
    expect(path).toThrow(/no authority/);
  });

  test("the genuine VCEK of Turin, which has no trailer field, chains to AMD's root", (context) => {
    context.skip(ABSENT, WITHOUT);
    const { leaf } = verifyPath({
      chain: [
        AMD_ARK_TURIN.certificate,
        readReference("shared:roots/amd-ask-turin.pem"),
        readReference("shared:sev-snp/virtee/turin-vcek.der"),
      ],
      profile: AMD_PROFILE,
      anchors: [AMD_ARK_TURIN],
      platforms: ["amd-sev-snp"],
      instantsMs: [1_740_000_000_000],
    });
    expect(hex(leaf.extensions.get("2b060104019c780104") ?? fromHex(""))).toBe("1e550a8ee5cf9f4d");
  });
});

describe("claims", () => {
  test("every field of a version 5 report is told in words", () => {
    const { identity, claims } = claimsOf("snp-turin");
    expect(identity).toBe(`7071727374757677${"00".repeat(56)}`);
    expect(claims).toMatchObject({
      version: 5,
      guestSvn: 7,
      productLine: "Turin",
      cpu: { family: 0x1a, model: 2, stepping: 1 },
      currentTcb: { fmc: 2, bootloader: 4, tee: 9, snp: 24, microcode: 220 },
      reportedTcb: { fmc: 2, bootloader: 7, tee: 1, snp: 24, microcode: 220 },
      committedTcb: { fmc: 2, bootloader: 7, tee: 9, snp: 22, microcode: 220 },
      launchTcb: { fmc: 1, bootloader: 7, tee: 9, snp: 24, microcode: 213 },
      currentFirmware: { major: 1, minor: 58, build: 25 },
      committedFirmware: { major: 1, minor: 57, build: 24 },
      launchMitigations: 0x28_27_26_25_24_23_22_21n,
      currentMitigations: 0x30_2f_2e_2d_2c_2b_2a_29n,
      authorKeyEnabled: false,
    });
    expect(hex(claims.reportId)).toMatch(/^6162.*7f80$/);
    expect(hex(claims.reportIdMa)).toBe("ff".repeat(32));
    expect(Object.keys(claims)).not.toContain("signed");
  });

  test("a hidden chip is named by its cloud provider, an open one by its id", () => {
    expect(claimsOf("snp-genoa").identity).toBe("vlek:example-cloud");
    expect(claimsOf("snp-milan").identity).toBe(hex(claimsOf("snp-milan").claims.chipId));
    expect(claimsOf("snp-bergamo").identity).toBe(hex(claimsOf("snp-bergamo").claims.chipId));
    expect(claimsOf("snp-bergamo").claims.cspId).toBe("c".repeat(64));
    expect(claimsOf("snp-milan").claims.authorKeyEnabled).toBe(true);
  });

  test("[TT-1] a bound report carries nonce, user data and key; an unbound one none", () => {
    const bound = claimsOf("snp-milan");
    expect(bound.isBound).toBe(true);
    expect(new TextDecoder().decode(bound.nonce ?? undefined)).toBe("a nonce of this session");
    const unbound = claimsOf("snp-turin");
    expect(unbound).toMatchObject({ isBound: false, nonce: null, userData: null, publicKey: null });
  });

  test("bytes given are not kept", () => {
    const { evidence, anchors, at } = stored("snp-milan");
    const before = verifySnpReport(evidence, anchors, at);
    const measurement = hex(before.claims.measurement);
    evidence.document.fill(0);
    before.claims.measurement.fill(0);
    expect(hex(before.claims.measurement)).toBe(measurement);
    expect(hex(before.document)).toContain(measurement);
  });

  test.for([
    [0x19, 0x00, "Milan"],
    [0x19, 0x0f, "Milan"],
    [0x19, 0x10, "Genoa"],
    [0x19, 0x1f, "Genoa"],
    [0x19, 0xa0, "Genoa"],
    [0x19, 0xaf, "Genoa"],
    [0x1a, 0x00, "Turin"],
    [0x1a, 0x1f, "Turin"],
    [0x19, 0x20, null],
    [0x19, 0x9f, null],
    [0x19, 0xb0, null],
    [0x1a, 0x20, null],
  ] as const)("family %i, model %i is of %s", ([family, model, line]) => {
    expect(productLineOfCpu({ family, model })).toBe(line);
  });
});

describe("archive", () => {
  test.for(["snp-milan", "snp-genoa", "snp-turin", "snp-bergamo", "snp-turin-dense"])(
    "[TT-2] a report of %s is archived, and appraised again as it was recorded",
    (name) => {
      const { evidence, anchors, at, policy } = stored(name);
      const verified = verifyEvidence({ format: "snp", ...evidence }, anchors, at);
      const archived = appraiseEvidence(verified, policy);
      const read = decodeCbor(encodeCbor(archived));
      expect(verifyReportReplay(read, anchors, policy)).toEqual(archived);
      const later = { ...archived, time_ms: archived.time_ms + 20 * 365 * 24 * 3_600_000 };
      expect(() => verifyReportReplay(later, anchors, policy)).toThrow(/certificate 2/);
    },
  );

  test("[TT-2] an archived report that was altered is refused", () => {
    const { evidence, anchors, at, policy } = stored("snp-turin");
    const archived = appraiseEvidence(verifySnpReport(evidence, anchors, at), policy);
    const REPORT_ID_AT = 0x140;
    const altered = { ...archived, evidence: archived.evidence.with(REPORT_ID_AT, 0) };
    expect(() => verifyReportReplay(altered, anchors, policy)).toThrow(/signature/);
    const [ark, ask] = archived.endorsements;
    const other = stored("snp-turin-dense").evidence.endorsements[2];
    const swapped = { ...archived, endorsements: [ark, ask, other] };
    expect(() => verifyReportReplay(swapped, anchors, policy)).toThrow(/certificate 2/);
  });

  test("[TT-2] an archived report without its binding is refused", () => {
    const { evidence, anchors, at, policy } = stored("snp-milan");
    const archived = appraiseEvidence(verifySnpReport(evidence, anchors, at), policy);
    const other = { ...archived, nonce: null };
    expect(() => verifyReportReplay(other, anchors, policy)).toThrow(/report_data/);
    const unbound = { ...archived, bound: false };
    expect(() => verifyReportReplay(unbound, anchors, policy)).toThrow(/nonce/);
  });
});

describe("appraisal", () => {
  test("[TT-1] every failure is reported, with what was expected and what is", () => {
    const { policy } = stored("snp-turin");
    const { snp } = policy;
    if (snp === null) throw new Error("expected expectations");
    const failures = appraisalFailures(claimsOf("snp-turin"), {
      ...policy,
      revokedIdentities: [claimsOf("snp-turin").identity],
      snp: {
        ...snp,
        vmpl: { equals: 0 },
        productLines: {
          ...snp.productLines,
          Turin: { atLeast: { fmc: 2, bootloader: 0, tee: 0, snp: 0, microcode: 0 } },
        },
        guestPolicy: { ...snp.guestPolicy, smtAllowed: { equals: false } },
      },
    });
    expect(failures).toEqual([
      {
        code: "TEE_TCB_REFUSED",
        field: "launch_tcb",
        expected: "at least fmc 2 bootloader 0 tee 0 snp 0 microcode 0",
        actual: "fmc 1 bootloader 7 tee 9 snp 24 microcode 213",
      },
      {
        code: "TEE_CONFIGURATION_REFUSED",
        field: "policy SMT",
        expected: "false",
        actual: "true",
      },
      { code: "TEE_CONFIGURATION_REFUSED", field: "vmpl", expected: "0", actual: "1" },
      {
        code: "TEE_PLATFORM_REVOKED",
        field: "identity",
        expected: "an identity that is not revoked",
        actual: claimsOf("snp-turin").identity,
      },
    ]);
  });

  test("[TT-1] every bit is told by AMD's name for it", () => {
    const { policy } = stored("snp-milan");
    const { snp } = policy;
    if (snp === null) throw new Error("expected expectations");
    const { guestPolicy, platformInfo } = claimsOf("snp-milan").claims;
    const flags = (bits: object) =>
      Object.fromEntries(
        Object.entries(bits).map(([bit, value]) => [bit, { equals: value === false }]),
      );
    const failures = appraisalFailures(claimsOf("snp-milan"), {
      ...policy,
      snp: {
        ...snp,
        guestPolicy: { ...snp.guestPolicy, ...flags(guestPolicy) },
        platformInfo: { ...snp.platformInfo, ...flags(platformInfo) },
      },
    });
    expect(failures.map(({ field, actual }) => `${field} ${actual}`)).toEqual([
      "policy SMT true",
      "policy MIGRATE_MA false",
      "policy SINGLE_SOCKET true",
      "policy CXL_ALLOW false",
      "policy MEM_AES_256_XTS true",
      "policy RAPL_DIS false",
      "policy CIPHERTEXT_HIDING_DRAM true",
      "policy PAGE_SWAP_DISABLE false",
      "platform_info SMT_EN true",
      "platform_info TSME_EN false",
      "platform_info ECC_EN true",
      "platform_info RAPL_DIS false",
      "platform_info CIPHERTEXT_HIDING_DRAM_EN true",
      "platform_info ALIAS_CHECK_COMPLETE false",
      "platform_info IOMMU_WRITE_SAFE true",
      "platform_info TIO_EN false",
    ]);
  });

  test("a reason accepts any TCB, version and bit", () => {
    const { policy } = stored("snp-milan");
    const { snp } = policy;
    if (snp === null) throw new Error("expected expectations");
    const any = { unchecked: "a test" };
    const failures = appraisalFailures(claimsOf("snp-milan"), {
      ...policy,
      snp: {
        ...snp,
        productLines: { Milan: any, Genoa: null, Turin: null },
        firmware: any,
        abi: any,
        guestSvn: any,
        guestPolicy: { ...snp.guestPolicy, smtAllowed: any },
      },
    });
    expect(failures).toEqual([]);
  });
});

describe("any bytes", () => {
  const { evidence, anchors, at } = stored("snp-milan");
  const refusesTyped = (run: () => unknown): void => {
    try {
      run();
    } catch (error) {
      expect(error).toBeInstanceOf(SymphonyError);
    }
  };

  test("[TT-1] a report of any bytes is taken apart or refused with a typed error", () => {
    expect.hasAssertions();
    const edit = fc.tuple(fc.nat(evidence.document.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 6 }), fc.nat(3), (edits, cut) => {
        const document = evidence.document.slice(0, evidence.document.length - cut);
        for (const [place, byte] of edits) document[place] = byte;
        refusesTyped(() => parseSnpReport(document));
      }),
      { numRuns: 2000 },
    );
    expect(() => parseSnpReport(new Uint8Array(1184))).toThrow(SymphonyError);
    const { document } = stored("snp-turin").evidence;
    expect(() => parseSnpReport(document.with(0x49f, 1))).toThrow("[0x330, 0x4a0)");
  });

  test("[TT-1] an altered leaf certificate is refused with a typed error", () => {
    const [ark, ask, leaf] = evidence.endorsements;
    if (ark === undefined || ask === undefined || leaf === undefined) throw new Error("chain");
    fc.assert(
      fc.property(fc.nat(leaf.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
        const altered = leaf.with(place, (leaf[place] ?? 0) ^ change);
        const run = () =>
          verifySnpReport({ ...evidence, endorsements: [ark, ask, altered] }, anchors, at);
        expect(run).toThrow(SymphonyError);
      }),
      { numRuns: 200 },
    );
  });
});
